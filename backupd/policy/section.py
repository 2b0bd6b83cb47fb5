"""What all sections of a policy have in common, and the texts that stand for a time or a size.

Every section is frozen and refuses keys that it does not know. Text stays text: a number, a truth
value or nothing where text is wanted is an error. Pure: no clock, network, files or environment.
"""

from __future__ import annotations

import re
from collections.abc import Sized
from datetime import timedelta
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
)

from backupd.schedule import check_expression


def _check_schedule(expression: str) -> str:
    """`expression` as it was written, if it fires at all. Raises ValueError."""
    check_expression(expression)
    return expression


Schedule = Annotated[str, AfterValidator(_check_schedule)]
"""A cron expression as it was written, checked when the policy is read."""


class Section(BaseModel):
    """One mapping of the policy: frozen, and no key goes unread."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )


_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SPAN = re.compile(r"(?:\d{1,6}[smhdw])+")
_SPAN_PART = re.compile(r"(\d{1,6})([smhdw])")
_SIZE = re.compile(r"(\d{1,15}) ?(?:([KMGT])(i?B)?)?", re.IGNORECASE)
_SIZE_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


Parts = TypeVar("Parts", bound=Sized)


def check_filled(parts: Parts) -> Parts:
    """`parts`, if there are any. Raises ValueError.

    Unlike pydantic's own limit this is checked last, so that a list whose only entry is wrong is
    not called empty as well.
    """
    if not parts:
        raise ValueError("is empty; name at least one")
    return parts


def parse_span(text: object) -> timedelta:
    """The time span that `30s`, `5m`, `2h`, `30d`, `1w` or `1h30m` stands for; `0` is none at all.

    Raises ValueError with a sentence for the person who wrote it.
    """
    if isinstance(text, timedelta):
        return text
    if text == "0" or (isinstance(text, int) and not isinstance(text, bool) and text == 0):
        return timedelta(0)
    if not isinstance(text, str) or not _SPAN.fullmatch(text):
        raise ValueError("is not a time span; write a number with its unit: 30s, 5m, 2h, 30d")
    parts = _SPAN_PART.findall(text)
    units = [unit for _, unit in parts]
    if units != sorted(set(units), key=lambda unit: -_UNIT_SECONDS[unit]):
        raise ValueError("is not a time span; write each unit once, the largest first: 1h30m")
    seconds = sum(int(count) * _UNIT_SECONDS[unit] for count, unit in parts)
    if seconds > 100 * 366 * 86400:
        raise ValueError("is longer than a hundred years")
    return timedelta(seconds=seconds)


def span_text(span: timedelta) -> str:
    """The shortest text that `parse_span` reads as this span of whole seconds."""
    left, parts = round(span.total_seconds()), []
    for unit, seconds in sorted(_UNIT_SECONDS.items(), key=lambda item: -item[1]):
        count, left = divmod(left, seconds) if unit != "w" else (0, left)
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts) or "0"


def parse_positive_span(text: object) -> timedelta:
    """As `parse_span`, but nothing is refused: a limit of no time at all helps nobody."""
    span = parse_span(text)
    if not span:
        raise ValueError("must be longer than nothing, such as 30s or 5m")
    return span


def parse_size(text: object) -> int:
    """The number of bytes that `16MiB`, `16M` or `16777216` stands for; units are powers of 1024.

    Raises ValueError; `MB` is refused since people mean two different sizes by it.
    """
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    match = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if match is None or (match[3] or "").lower() == "b":
        raise ValueError("is not a size; write bytes, or 16MiB, 1GiB")
    return int(match[1]) * _SIZE_UNITS[(match[2] or "").upper()]


def _check_absolute(path: Path) -> Path:
    # A service starts in /, a person anywhere: a relative path would name two places.
    if not path.is_absolute() or "\0" in str(path):
        raise ValueError("is not a full path; begin it with /")
    return path


_SPAN_SCHEMA = {"type": "string", "pattern": r"^(0|([0-9]+[smhdw])+)$", "examples": ["30s", "30d"]}
_SIZE_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 0},
        {"type": "string", "pattern": r"^[0-9]+ ?([KkMmGgTt]([iI][bB])?)?$"},
    ],
    "examples": ["16MiB"],
}

TimeSpan = Annotated[
    timedelta,
    BeforeValidator(parse_span),
    WithJsonSchema({"anyOf": [_SPAN_SCHEMA, {"const": 0}]}),  # a plain 0 is a number in YAML
]
PositiveSpan = Annotated[
    timedelta, BeforeValidator(parse_positive_span), WithJsonSchema(_SPAN_SCHEMA)
]
SizeBytes = Annotated[int, BeforeValidator(parse_size), WithJsonSchema(_SIZE_SCHEMA)]
WholeNumber = Annotated[int, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
AbsolutePath = Annotated[Path, AfterValidator(_check_absolute)]
