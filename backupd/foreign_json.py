"""JSON that somebody else wrote: an engine, or whoever can write to a store. Pure.

Python's own reader takes more than can be worked with: a document nested so deeply that the next
step through it overflows the stack, and halves of characters that no text can be encoded with.
"""

from __future__ import annotations

import json
import re
from typing import Any

DEEPEST = 64
"""Inspects of engines 20.10 to 28 are nested 8 deep."""

_MAY_BE_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(data: bytes | str) -> Any:
    """The document in `data`. Raises ValueError where that is none which can be worked with."""
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        document = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    _check_depth(document)
    if _MAY_BE_HALF.search(text):
        json.dumps(document, ensure_ascii=False).encode("utf-8")
    return document


def _check_depth(document: Any) -> None:
    level = [document]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _parts(outer)]
        if not level:
            return
    raise ValueError(f"it is nested deeper than {DEEPEST} levels")


def _parts(document: Any) -> Any:
    if isinstance(document, dict):
        return document.values()
    return document if isinstance(document, list) else ()
