"""The backups of one group in order, newest first, each with the calendar periods it lies in.

The ground that the retention rules walk on: time zones end here, so each backup is converted once
and not once for each rule. Pure: no clock, network or files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Generic, Protocol, TypeVar
from zoneinfo import ZoneInfo

PERIODS = ("hourly", "daily", "weekly", "monthly", "yearly")
"""The calendar periods, in the order in which `Entry.periods` numbers them."""


class Candidate(Protocol):
    """A backup as far as retention needs to know it."""

    @property
    def id(self) -> str:
        """Unique in its group; puts backups of one moment in a fixed order."""

    @property
    def taken_at(self) -> datetime:
        """The aware moment that the rules go by."""

    @property
    def pinned(self) -> bool:
        """Whether a person said that it stays."""

    @property
    def held(self) -> str | None:
        """Why it may not go at present, in words for a person; None if it may."""

    @property
    def good(self) -> bool:
        """Whether it counts for `minimum`: not one that failed a check."""


B = TypeVar("B", bound=Candidate)
B_co = TypeVar("B_co", bound=Candidate, covariant=True)


@dataclass(frozen=True, slots=True)
class Entry(Generic[B_co]):
    """A backup and its place in time."""

    backup: B_co
    moment: datetime
    """In UTC: local times of one zone compare as clock faces, wrongly in the repeated hour."""
    periods: tuple[int, ...]
    """For each of `PERIODS`, the running number of the one that the backup lies in."""


def entry_of(backup: B, zone: ZoneInfo) -> Entry[B]:
    """`backup` with its periods in `zone`. Raises ValueError when its moment has no time zone."""
    moment = in_utc(backup.taken_at)
    return Entry(backup, moment, period_numbers(moment, zone))


def newest_first(backups: Iterable[B], zone: ZoneInfo) -> list[Entry[B]]:
    """The backups in the order in which the rules look at them; those of one moment by id."""
    entries = [entry_of(backup, zone) for backup in backups]
    entries.sort(key=lambda entry: entry.moment, reverse=True)
    neighbours = zip(entries, islice(entries, 1, None), strict=False)
    if any(newer.moment == older.moment for newer, older in neighbours):
        entries.sort(key=lambda entry: entry.backup.id)
        entries.sort(key=lambda entry: entry.moment, reverse=True)
    return entries


def in_utc(moment: datetime) -> datetime:
    """`moment` in UTC. Raises ValueError for one without a zone: the machine's would apply."""
    if moment.tzinfo is None:
        raise ValueError(f"cannot place {moment} in time: it has no time zone; give it one")
    return moment.astimezone(UTC)


def period_numbers(moment: datetime, zone: ZoneInfo) -> tuple[int, ...]:
    """For each of `PERIODS`, which one clocks and calendars in `zone` show at `moment`.

    The numbers grow by one from each period to the next. Day 1 of the calendar, 1 January of the
    year 1, was a Monday, so counting days in sevens gives ISO weeks. The hour that clocks repeat in
    autumn shows twice and counts as one.
    """
    local = moment.astimezone(zone)
    day = local.toordinal()
    month = local.year * 12 + local.month - 1
    return (day * 24 + local.hour, day, (day - 1) // 7, month, local.year)


def heads(entries: Sequence[Entry[Candidate]], column: int, first: int = 0) -> Iterator[int]:
    """The places of the newest entry of each period in `column` of `PERIODS`, newest first.

    It ends before the periods whose number is below `first`.
    """
    previous = None
    for place, entry in enumerate(entries):
        number = entry.periods[column]
        if number != previous:
            if number < first:
                return
            previous = number
            yield place


def count_newer(entries: Sequence[Entry[Candidate]], cut: datetime) -> int:
    """How many entries are newer than `cut`; they are the first so many."""
    low, high = 0, len(entries)
    while low < high:
        middle = (low + high) // 2
        if entries[middle].moment > cut:
            low = middle + 1
        else:
            high = middle
    return low
