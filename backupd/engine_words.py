"""The engine's own words in the wreck of a stream.

An engine that fails in the middle of a save or an export has already sent HTTP 200, so it writes
its error as JSON into the tar (moby `getImagesGet`; moby#19188, #45764). This finds it there, for
the message only: whether the tar is broken is decided without it. Pure.
"""

from __future__ import annotations

import json
import re

_LONGEST_QUOTE = 300
_OPENING = re.compile(rb'\{\s*"(errorDetail|error|message)"\s*:')
_DECODER = json.JSONDecoder()


def engine_words(tail: bytes) -> str | None:
    """The error that an engine wrote among the last bytes of a stream; None where there is none.

    One printable line of at most 300 characters. `errorDetail` counts anywhere, the plainer forms
    only as the very last thing: a backed-up file may hold JSON of its own, which is not to be told.
    """
    for opening in reversed(list(_OPENING.finditer(tail))):
        text = tail[opening.start() :].decode("utf-8", "replace")
        try:
            document, end = _DECODER.raw_decode(text)
        except (ValueError, RecursionError):
            continue
        is_last = not text[end:].strip("\0 \r\n")
        if is_last or opening[1] == b"errorDetail":
            words = printable(message_of(document))
            if words:
                return words
    return None


def printable(text: str) -> str:
    """`text` on one line, without control characters, at most 300 characters of it."""
    spaced = "".join(sign if sign.isprintable() else " " for sign in text)
    return " ".join(spaced.split())[:_LONGEST_QUOTE]


def message_of(document: object) -> str:
    """What an error document says: `error`, `errorDetail.message` or `message`."""
    if not isinstance(document, dict):
        return ""
    detail = document.get("errorDetail")
    candidates = (
        document.get("error"),
        detail.get("message") if isinstance(detail, dict) else None,
        document.get("message"),
    )
    return next((words for words in candidates if isinstance(words, str) and words), "")
