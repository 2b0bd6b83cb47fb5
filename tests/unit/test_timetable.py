"""What a schedule promises: its delay, what was missed, and whether a backup is fresh."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backupd.schedule import Schedule
from backupd.timetable import ATTEMPTS, Facts, Freshness, Timetable, delay_of, judge, missed
from tests.unit.cron_by_hand import utc

DAILY = Timetable(Schedule.parse("0 3 * * *", "UTC"))
BERLIN = Timetable(Schedule.parse("30 2 * * *", "Europe/Berlin"))
FRESH, LATE, UNKNOWN = Freshness.FRESH, Freshness.LATE, Freshness.UNKNOWN


def at(text: str) -> datetime:
    """A moment of May 2026: `2 03:00` is the second of the month."""
    day, _, time = text.partition(" ")
    return utc(f"2026-05-{int(day):02}T{time}+00:00")


@given(st.text(max_size=40), st.text(max_size=40), st.timedeltas(timedelta(0), timedelta(days=9)))
def test_a_delay_is_whole_seconds_within_the_jitter(host: str, job: str, jitter: timedelta) -> None:
    delay = delay_of(host, job, jitter)

    assert timedelta(0) <= delay <= jitter
    assert 0 == delay.microseconds


def test_a_delay_is_always_the_same() -> None:
    actual = [delay_of("web01", job, timedelta(hours=1)) for job in ("nightly", "weekly")]

    # Another rule would move every job of every fleet at an upgrade.
    assert [timedelta(minutes=17), timedelta(minutes=13, seconds=9)] == actual


def test_the_delays_of_a_fleet_fill_the_jitter_evenly() -> None:
    delays = [delay_of(f"host{n}", "nightly", timedelta(minutes=10)) for n in range(1000)]

    in_each_minute = [sum(d // timedelta(minutes=1) == m for d in delays) for m in range(10)]

    assert all(70 <= count <= 130 for count in in_each_minute)


def test_without_jitter_there_is_no_delay() -> None:
    assert timedelta(0) == delay_of("web01", "nightly", timedelta(0))


def test_a_delayed_moment_is_not_lost_when_asked_for_within_the_delay() -> None:
    late = Timetable(DAILY.schedule, timedelta(minutes=20))

    found = [late.next_after(at(text)) for text in ("2 02:59", "2 03:10", "2 03:19:59", "2 03:20")]

    assert [at("2 03:20")] * 3 + [at("3 03:20")] == found


@pytest.mark.parametrize(
    ("seen", "now", "expected"),
    [
        (None, "9 12:00", None),
        ("1 04:00", "1 12:00", None),
        ("1 04:00", "2 02:59:59", None),
        ("1 04:00", "2 03:00", "2 03:00"),
        ("1 04:00", "2 09:00", "2 03:00"),
        ("1 04:00", "9 09:00", "2 03:00"),
        ("2 03:00", "2 09:00", None),
        ("2 02:59:59", "2 09:00", "2 03:00"),
        ("9 12:00", "2 03:00", None),
    ],
)
def test_the_first_moment_without_a_run_is_missed(
    seen: str | None, now: str, expected: str | None
) -> None:
    actual = missed(DAILY, seen=at(seen) if seen else None, now=at(now))

    assert (at(expected) if expected else None) == actual


@pytest.mark.parametrize(("interruptions", "is_missed"), [(0, True), (2, True), (3, False)])
def test_a_run_that_was_interrupted_too_often_is_given_up(
    interruptions: int, is_missed: bool
) -> None:
    found = missed(DAILY, seen=at("1 04:00"), now=at("2 09:00"), interruptions=interruptions)

    assert 3 == ATTEMPTS
    assert is_missed == (found is not None)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        # The time that spring skips is due at 03:00, once.
        ("2026-03-28T03:00+01:00", "2026-03-29T03:00+02:00"),
        ("2026-03-29T03:00+02:00", None),
        # The time that autumn repeats is due the first time it is shown.
        ("2026-10-24T03:00+02:00", "2026-10-25T02:30+02:00"),
        ("2026-10-25T02:30+02:00", None),
        ("2026-10-25T02:10+01:00", None),
    ],
)
def test_days_on_which_clocks_change_miss_no_more_than_others(
    seen: str, expected: str | None
) -> None:
    day = datetime.fromisoformat(seen).date().replace(day=29 if "-03-" in seen else 25)
    now = datetime(day.year, day.month, day.day, 23, tzinfo=UTC)

    actual = missed(BERLIN, seen=utc(seen), now=now)

    assert (utc(expected) if expected else None) == actual


def facts(**moments: str) -> Facts:
    return Facts(**{name: at(text) for name, text in moments.items()})


@pytest.mark.parametrize(
    ("known", "now", "freshness", "outstanding"),
    [
        pytest.param(facts(), "9 12:00", UNKNOWN, None, id="nothing is known"),
        pytest.param(facts(failed_at="1 03:00"), "9 12:00", UNKNOWN, None, id="never taken up"),
        pytest.param(facts(since="1 12:00"), "2 02:59:59", FRESH, None, id="not yet due"),
        pytest.param(facts(since="1 12:00"), "2 03:00", FRESH, "2 03:00", id="due just now"),
        pytest.param(facts(since="1 12:00"), "2 03:04:59", FRESH, "2 03:00", id="still tolerated"),
        pytest.param(facts(since="1 12:00"), "2 03:05", LATE, "2 03:00", id="tolerated no more"),
        pytest.param(facts(good_until="2 03:30"), "3 02:59:59", FRESH, None, id="good, not due"),
        pytest.param(facts(good_until="2 03:30"), "3 03:05", LATE, "3 03:00", id="nothing began"),
        pytest.param(facts(good_until="2 03:00"), "3 02:00", FRESH, None, id="ended at due itself"),
        pytest.param(
            facts(since="2 12:00", good_until="1 03:30"), "3 02:00", FRESH, None, id="new schedule"
        ),
        pytest.param(
            facts(since="1 12:00", good_until="2 03:30"),
            "3 04:00",
            LATE,
            "3 03:00",
            id="good later",
        ),
        pytest.param(
            facts(good_until="1 03:30", running_since="2 03:01"),
            "3 02:59:59",
            FRESH,
            "2 03:00",
            id="goes on until the next",
        ),
        pytest.param(
            facts(good_until="1 03:30", running_since="2 03:01"),
            "3 03:00",
            LATE,
            "2 03:00",
            id="goes on for too long",
        ),
        pytest.param(
            facts(good_until="1 03:30", running_since="2 02:50"),
            "2 05:00",
            FRESH,
            "2 03:00",
            id="by hand, begun before it was due",
        ),
        pytest.param(
            facts(good_until="1 03:30", running_since="2 02:50"),
            "3 03:00",
            LATE,
            "2 03:00",
            id="by hand, for too long",
        ),
        pytest.param(
            facts(good_until="1 03:30", failed_at="2 03:00"),
            "2 03:01",
            LATE,
            "2 03:00",
            id="failed",
        ),
        pytest.param(
            facts(good_until="1 03:30", failed_at="2 02:00"),
            "2 03:01",
            FRESH,
            "2 03:00",
            id="failed by hand before it was due",
        ),
        pytest.param(
            facts(good_until="2 03:30", failed_at="2 09:00"),
            "2 12:00",
            FRESH,
            None,
            id="failed by hand after the good one",
        ),
        pytest.param(
            facts(good_until="2 09:00", failed_at="2 03:00"), "2 12:00", FRESH, None, id="recovered"
        ),
        pytest.param(facts(good_until="9 12:00"), "2 12:00", FRESH, None, id="clock set back"),
    ],
)
def test_a_job_is_as_fresh_as_its_schedule_says(
    known: Facts, now: str, freshness: Freshness, outstanding: str | None
) -> None:
    actual = judge(DAILY, known, at(now))

    assert (freshness, at(outstanding) if outstanding else None) == actual


def test_a_delay_is_part_of_what_is_promised() -> None:
    late = Timetable(DAILY.schedule, timedelta(hours=1))
    known = facts(good_until="1 04:30")

    found = [judge(late, known, at(text))[0] for text in ("2 03:30", "2 04:04:59", "2 04:05")]

    assert [FRESH, FRESH, LATE] == found


def test_a_backup_of_the_skipped_hour_is_due_after_it() -> None:
    known = Facts(good_until=utc("2026-03-28T03:00+01:00"))
    asked = ("2026-03-29T01:59+01:00", "2026-03-29T03:04+02:00", "2026-03-29T03:05+02:00")

    assert [FRESH, FRESH, LATE] == [judge(BERLIN, known, utc(text))[0] for text in asked]


def test_the_repeated_hour_asks_for_no_second_backup() -> None:
    known = Facts(good_until=utc("2026-10-25T02:35+02:00"))
    asked = ("2026-10-25T02:40+01:00", "2026-10-26T02:29+01:00", "2026-10-26T02:35+01:00")

    assert [FRESH, FRESH, LATE] == [judge(BERLIN, known, utc(text))[0] for text in asked]
