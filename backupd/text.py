"""How values look on a screen. Names come from engines and buckets, so they are made harmless."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from rich.filesize import decimal


def shown(text: str) -> str:
    """`text` on one line, without control characters.

    No name may move the cursor, change colours or forge a line of ours.
    """
    if text.isprintable():  # nearly every one, and this costs next to nothing
        return text
    one_line = " ".join(text.splitlines())
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in one_line)


def shown_json(text: str) -> str:
    """The same JSON on its lines, with every sign escaped that could do what `shown` prevents."""
    return "".join(
        sign if sign.isprintable() or sign == "\n" else json.dumps(sign)[1:-1] for sign in text
    )


@lru_cache(maxsize=1024)
def size(size_bytes: int | None) -> str:
    """A size in the units of disks: 1.5 MB is 1,500,000 bytes."""
    # Kept, since what did not change has the same size in each of its backups.
    return "-" if size_bytes is None else decimal(size_bytes)


def moment(when: datetime, zone: ZoneInfo) -> str:
    """A time to the second in the reader's zone, with the zone's name."""
    local = when.astimezone(zone)
    return f"{local.isoformat(' ', 'seconds')[:19]} {local.tzname()}"


def span(duration: timedelta) -> str:
    """A duration as people say it."""
    seconds = duration.total_seconds()
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
