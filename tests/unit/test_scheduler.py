"""The real scheduler over the days when clocks change: each moment once, and in time.

Its library reads the clock itself, so these tests hand it one. Nothing is waited for: the clock
jumps as far as `turn` says that the loop may sleep.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import apscheduler.schedulers.base as library
import pytest

from backupd.daemon.scheduler import LONGEST_GAP, Scheduler
from backupd.schedule import Schedule
from backupd.timetable import Timetable
from tests.unit.cron_by_hand import moments, utc

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
START = datetime(2026, 5, 6, 12, 0, 30, tzinfo=UTC)
NIGHTLY = Timetable(Schedule.parse("0 3 * * *", "UTC"))
HOURLY = Timetable(Schedule.parse("0 * * * *", "UTC"))


class Clock:
    """Shows what it is told."""

    def __init__(self) -> None:
        self.now = START


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    shown = Clock()

    class Shown(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return shown.now.astimezone(tz)

    monkeypatch.setattr(library, "datetime", Shown)
    return shown


class Due:
    """Keeps what it is told, and when."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.moments: list[datetime] = []
        self.told_at: list[datetime] = []

    def __call__(self, name: str, moments: Sequence[datetime]) -> None:
        self.moments += [moment.astimezone(UTC) for moment in moments]
        self.told_at.append(self._clock.now)


def run_until(end: datetime, scheduler: Scheduler, clock: Clock) -> None:
    """Turn as the loop does, sleeping for as long as it may."""
    while clock.now < end:
        seconds = scheduler.turn()
        assert seconds is not None
        assert seconds > 0
        clock.now += timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("zone", "change"),
    [
        ("Europe/Berlin", "2026-03-29T02:00+01:00"),
        ("Europe/Berlin", "2026-10-25T03:00+02:00"),
        ("America/New_York", "2026-03-08T02:00-05:00"),
        ("America/New_York", "2026-11-01T02:00-04:00"),
        ("Australia/Lord_Howe", "2026-10-04T02:00+10:30"),
        ("Australia/Lord_Howe", "2026-04-05T02:00+11:00"),
        ("Africa/Cairo", "2026-04-24T00:00+02:00"),
        ("Africa/Cairo", "2026-10-30T00:00+03:00"),
    ],
)
@pytest.mark.parametrize(
    "expression",
    ["30 2 * * *", "30 0 * * *", "30 23 * * *", "*/15 * * * *", "0 * * * *", "@hourly"],
)
def test_each_moment_fires_once_and_in_time_when_clocks_change(
    expression: str, zone: str, change: str, clock: Clock
) -> None:
    begin, end = utc(change) - 1.4 * DAY, utc(change) + 1.6 * DAY
    clock.now, due = begin, Due(clock)
    scheduler = Scheduler(due)
    scheduler.follow({"job": Timetable(Schedule.parse(expression, zone))})

    run_until(end, scheduler, clock)

    written = "0 * * * *" if expression == "@hourly" else expression
    assert moments(written, ZoneInfo(zone), begin, end - timedelta(seconds=1)) == due.moments
    assert all(late < timedelta(seconds=1) for late in map(_difference, due.told_at, due.moments))


def _difference(told_at: datetime, due: datetime) -> timedelta:
    return told_at - due


def test_a_reload_at_the_very_moment_loses_nothing(clock: Clock) -> None:
    due = Due(clock)
    scheduler = Scheduler(due)
    scheduler.follow({"nightly": NIGHTLY, "other": HOURLY})
    clock.now = datetime(2026, 5, 7, 3, 0, 1, tzinfo=UTC)

    scheduler.follow({"nightly": NIGHTLY})
    scheduler.turn()

    assert [clock.now.replace(second=0)] == due.moments


def test_a_timetable_that_changed_begins_anew_at_a_reload(clock: Clock) -> None:
    due = Due(clock)
    scheduler = Scheduler(due)
    scheduler.follow({"nightly": NIGHTLY})
    clock.now = datetime(2026, 5, 7, 3, 0, 1, tzinfo=UTC)

    delayed = Timetable(NIGHTLY.schedule, MINUTE)
    scheduler.follow({"nightly": delayed})
    scheduler.turn()

    assert [] == due.moments
    assert [("nightly", clock.now.replace(minute=1, second=0))] == scheduler.next_runs()


def test_after_the_clock_was_set_back_the_next_moment_is_by_the_new_time(clock: Clock) -> None:
    scheduler = Scheduler(Due(clock))
    clock.now = START + 400 * DAY
    scheduler.follow({"nightly": NIGHTLY})
    clock.now = START

    scheduler.follow({"nightly": NIGHTLY})
    kept = scheduler.next_runs()
    scheduler.follow_anew({"nightly": NIGHTLY})
    anew = scheduler.next_runs()

    first = datetime(2026, 5, 7, 3, 0, tzinfo=UTC)
    assert ([("nightly", first + 400 * DAY)], [("nightly", first)]) == (kept, anew)


def test_a_clock_that_began_in_1970_tells_of_one_week_only(clock: Clock) -> None:
    due = Due(clock)
    scheduler = Scheduler(due)
    clock.now = datetime(1970, 1, 1, 0, 0, 30, tzinfo=UTC)
    scheduler.follow({"hourly": HOURLY})
    clock.now = START

    scheduler.turn()

    first, *others = due.moments
    week = itertools.takewhile(lambda at: at <= START, HOURLY.coming(START - LONGEST_GAP))
    assert (datetime(1970, 1, 1, 1, 0, tzinfo=UTC), list(week)) == (first, others)
    assert [("hourly", START.replace(hour=13, minute=0, second=0))] == scheduler.next_runs()


def test_the_loop_may_sleep_until_something_is_due(clock: Clock) -> None:
    scheduler = Scheduler(Due(clock))
    scheduler.follow({"nightly": NIGHTLY, "hourly": HOURLY})

    assert pytest.approx(59.5 * 60) == scheduler.turn()


def test_what_is_due_next_comes_first(clock: Clock) -> None:
    scheduler = Scheduler(Due(clock))
    scheduler.follow({"a": NIGHTLY, "b": HOURLY})

    assert ["b", "a"] == [name for name, _ in scheduler.next_runs()]
