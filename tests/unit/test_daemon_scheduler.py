"""The scheduler: every moment that passed is handed over, and nothing is swallowed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from backupd.daemon.scheduler import LONGEST_GAP, Scheduler, TimetableTrigger
from backupd.schedule import Schedule
from backupd.timetable import Timetable

EACH_MINUTE = Timetable(Schedule.parse("* * * * *", "UTC"))
YEARLY = Timetable(Schedule.parse("@yearly", "UTC"))
MINUTE = timedelta(minutes=1)


class Due:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []

    def __call__(self, name: str, moments: Sequence[datetime]) -> None:
        self.told.append((name, len(moments)))


def late(scheduler: Scheduler, name: str, minutes: int) -> None:
    """Let the job have been due since so many minutes, as after a sleep of the machine."""
    since = datetime.now(UTC).replace(second=0, microsecond=0) - (minutes - 1) * MINUTE
    scheduler.modify_job(name, next_run_time=since)


def test_every_moment_that_passed_is_handed_over_at_once() -> None:
    due = Due()
    scheduler = Scheduler(due)
    scheduler.follow({"each": EACH_MINUTE, "yearly": YEARLY})
    late(scheduler, "each", 3)
    scheduler.turn()
    scheduler.turn()

    assert [("each", 3)] == due.told


def test_a_fault_of_whoever_is_told_comes_out() -> None:
    def broken(name: str, moments: Sequence[datetime]) -> None:
        raise RuntimeError(f"{name} cannot be told")

    scheduler = Scheduler(broken)
    scheduler.follow({"each": EACH_MINUTE})
    late(scheduler, "each", 1)

    with pytest.raises(RuntimeError, match="each cannot be told"):
        scheduler.turn()


def test_what_became_due_while_the_daemon_looked_for_missed_runs_is_not_lost() -> None:
    due = Due()
    scheduler = Scheduler(due)
    asked_at = datetime.now(UTC) - MINUTE
    scheduler.follow({"each": EACH_MINUTE, "yearly": YEARLY}, since=asked_at)
    scheduler.turn()

    assert [("each", 1)] == due.told


def test_a_timetable_that_stays_keeps_its_moment_at_a_reload() -> None:
    due = Due()
    scheduler = Scheduler(due)
    scheduler.follow({"each": EACH_MINUTE})
    late(scheduler, "each", 1)
    scheduler.follow({"each": EACH_MINUTE, "yearly": YEARLY})
    scheduler.turn()

    assert [("each", 1)] == due.told
    assert ["each", "yearly"] == [name for name, _ in scheduler.next_runs()]


def test_nothing_is_due_when_nothing_is_followed() -> None:
    scheduler = Scheduler(Due())
    scheduler.follow({})

    assert scheduler.turn() is None


def test_a_clock_that_starts_in_1970_does_not_count_every_minute_since() -> None:
    now = datetime(2026, 5, 6, 12, 0, tzinfo=UTC)
    following = TimetableTrigger(EACH_MINUTE).get_next_fire_time(
        datetime(1970, 1, 1, tzinfo=UTC), now
    )

    assert now - LONGEST_GAP + MINUTE == following
