"""Durations as `restic` writes them: `14d`, `1y6m`, `36h`.

Calendar lengths, not seconds: how long `1m` is depends on the day that it is counted back from,
and `1d` has 23 or 25 hours when the clocks change. The policy and the retention rules use them.
Pure: no clock, network or files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_PART = re.compile(r"([0-9]+)([ymwdh])")
_LARGEST = 999_999
_DAWN = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Duration:
    """A length of time of at least one hour. Raises ValueError when empty or negative."""

    years: int = 0
    months: int = 0
    days: int = 0
    hours: int = 0

    def __post_init__(self) -> None:
        parts = (self.years, self.months, self.days, self.hours)
        if min(parts) < 0:
            raise ValueError("a duration cannot be negative; write one such as 14d, 1y6m or 36h")
        if max(parts) == 0:
            raise ValueError("a duration cannot be zero; write one such as 14d, or leave it out")

    @classmethod
    def parse(cls, text: str) -> Duration:
        """The duration that `text` spells: whole numbers of y, m, w, d and h, without spaces.

        Each unit stands at most once, in any order; a week becomes seven days. Raises ValueError
        with a sentence that quotes the text. `restic` takes the same, but for w, which it does
        not know, and for zero, negative and repeated parts, which it lets pass silently.
        """
        text = text.strip()
        parts = _PART.findall(text)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            raise ValueError(
                f"{text!r} is no duration; write whole numbers with y (years), m (months), "
                f"w (weeks), d (days) and h (hours), such as 14d, 1y6m or 36h"
            )
        amounts: dict[str, int] = {}
        for number, unit in parts:
            if unit in amounts:
                raise ValueError(f"{text!r} is no duration; it names the unit {unit} twice")
            if len(number.lstrip("0")) > len(str(_LARGEST)):
                raise ValueError(f"{text!r} is too long a duration; no number may pass {_LARGEST}")
            amounts[unit] = int(number)
        if not any(amounts.values()):
            raise ValueError(f"{text!r} lasts no time at all; write 1h or more, or leave it out")
        return cls(
            years=amounts.get("y", 0),
            months=amounts.get("m", 0),
            days=amounts.get("w", 0) * 7 + amounts.get("d", 0),
            hours=amounts.get("h", 0),
        )

    def __str__(self) -> str:
        """The text that `parse` reads back to an equal duration, largest unit first."""
        parts = ((self.years, "y"), (self.months, "m"), (self.days, "d"), (self.hours, "h"))
        return "".join(f"{number}{unit}" for number, unit in parts if number)

    def before(self, moment: datetime, zone: ZoneInfo) -> datetime:
        """The moment that lies this long before `moment` on the calendar of `zone`, in UTC.

        As `restic`, by the rules of Go's `time.AddDate`: years, months and days are taken off the
        local date at once, and a day that its month does not have runs on into the next (one
        month before 31 March is 31 February, so 3 March, or 2 March in a leap year). Hours are
        then taken off as real time. What lies before the year 1 is the year's first moment.
        """
        local = moment.astimezone(zone)
        months = (local.year - self.years) * 12 + local.month - 1 - self.months
        if months < 12:
            return _DAWN
        first = local.replace(year=months // 12, month=months % 12 + 1, day=1, tzinfo=None)
        try:
            wall = first + timedelta(days=local.day - 1 - self.days)
            return _instant(wall, zone) - timedelta(hours=self.hours)
        except OverflowError:
            return _DAWN


def _instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """The UTC moment at which clocks in `zone` show `wall`, chosen as Go's `time.Date` chooses.

    It differs from Python's `fold=0` for a time that clocks skip or show twice: the offset is
    looked up at the wall time read as UTC, then once more at the moment which that gives.
    """
    guess = wall - _offset(wall, zone)
    return (wall - _offset(guess, zone)).replace(tzinfo=UTC)


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    """How far clocks in `zone` are ahead of UTC at the naive UTC `moment`."""
    offset = moment.replace(tzinfo=UTC).astimezone(zone).utcoffset()
    assert offset is not None  # noqa: S101  # every ZoneInfo has one
    return offset
