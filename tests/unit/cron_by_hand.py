"""Cron as its manual tells it, minute by minute: slow, plain, and made of nothing that we ship.

Fields are texts of numbers, `*`, ranges, lists and steps; names and `@daily` are left to the tests
that know their numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
_LIMITS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def moments(expression: str, zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    """All moments after `start` and up to `end` at which Debian's cron runs such a job, in UTC.

    What cron(8) of Debian says of clocks that change by less than three hours: a job with a `*` in
    minute or hour follows the new time at once; any other that was skipped is run when the clock
    jumps forward, and is not run again when it jumps back.
    """
    fields = expression.split()
    follows_clock = fields[0].startswith("*") or fields[1].startswith("*")
    either_day = not fields[2].startswith("*") and not fields[4].startswith("*")
    numbers = [_numbers(field, limits) for field, limits in zip(fields, _LIMITS, strict=True)]
    found = []
    for moment, walls in _minutes(zone, start, end):
        shown = [] if not follows_clock and _is_repeated(moment, zone) else [walls[-1]]
        wanted = shown if follows_clock else [*walls[:-1], *shown]
        if any(_fits(numbers, either_day, wall) for wall in wanted):
            found.append(moment)
    return found


def _minutes(
    zone: ZoneInfo, start: datetime, end: datetime
) -> Iterator[tuple[datetime, list[datetime]]]:
    """Each minute with what the clock on the wall shows; before it, what was skipped just then."""
    moment = start.replace(second=0, microsecond=0)
    before = _wall(moment, zone)
    while moment < end:
        moment += MINUTE
        wall = _wall(moment, zone)
        skipped = int((wall - before) / MINUTE) - 1
        yield moment, [before + MINUTE * (n + 1) for n in range(skipped)] + [wall]
        before = wall


def _wall(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _is_repeated(moment: datetime, zone: ZoneInfo) -> bool:
    return moment.astimezone(zone).fold == 1


def _fits(fields: list[set[int]], either_day: bool, wall: datetime) -> bool:
    minutes, hours, days, months, weekdays = fields
    if wall.minute not in minutes or wall.hour not in hours or wall.month not in months:
        return False
    fits = (wall.day in days, not weekdays.isdisjoint({wall.isoweekday(), wall.isoweekday() % 7}))
    return any(fits) if either_day else all(fits)


def _numbers(field: str, limits: tuple[int, int]) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        term, _, step = part.partition("/")
        low, _, high = term.partition("-")
        first, last = limits if term == "*" else (int(low), int(high or low))
        if step and "-" not in term and term != "*":
            last = limits[1]
        found.update(range(first, last + 1, int(step or 1)))
    return found


def utc(text: str) -> datetime:
    """The moment that an ISO 8601 text with an offset names."""
    return datetime.fromisoformat(text).astimezone(UTC)
