"""Schedules on the days when clocks change, against cron told minute by minute.

Spring and autumn in six zones: by an hour at night, by half an hour, by two, and at midnight.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from backupd.schedule import Schedule
from backupd.timetable import Timetable
from tests.unit.cron_by_hand import moments, utc

CHANGES = {
    "Berlin, spring": ("Europe/Berlin", "2026-03-29T02:00+01:00"),
    "Berlin, autumn": ("Europe/Berlin", "2026-10-25T03:00+02:00"),
    "New York, spring": ("America/New_York", "2026-03-08T02:00-05:00"),
    "New York, autumn": ("America/New_York", "2026-11-01T02:00-04:00"),
    "Lord Howe, spring": ("Australia/Lord_Howe", "2026-10-04T02:00+10:30"),
    "Lord Howe, autumn": ("Australia/Lord_Howe", "2026-04-05T02:00+11:00"),
    "Cairo, spring": ("Africa/Cairo", "2026-04-24T00:00+02:00"),
    "Cairo, autumn": ("Africa/Cairo", "2026-10-30T00:00+03:00"),
    "Sao Paulo, spring": ("America/Sao_Paulo", "2018-11-04T00:00-03:00"),
    "Sao Paulo, autumn": ("America/Sao_Paulo", "2018-02-18T00:00-02:00"),
    "Troll, spring": ("Antarctica/Troll", "2026-03-29T01:00+00:00"),
    "Troll, autumn": ("Antarctica/Troll", "2026-10-25T03:00+02:00"),
}
EXPRESSIONS = (
    "30 2 * * *",
    "0 2 * * *",
    "0 0 * * *",
    "30 23 * * *",
    "15 0 * * *",
    "0,30 1-3 * * *",
    "0 2-20/3 * * *",
    "*/15 * * * *",
    "* * * * *",
    "0 * * * *",
    "0 */6 * * *",
    "30 */3 * * *",
    "*/20 2 * * *",
    "*/15 3 * * *",
    "*/30 1 * * 5",
    "*/15 0 * * 0,5",
    "10 0-2 * * 0,5,6",
    "0 3 1,25,29 * 0",
)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture(params=CHANGES)
def change(request: pytest.FixtureRequest) -> tuple[ZoneInfo, datetime]:
    """A zone, and when its clocks are changed."""
    zone, moment = CHANGES[request.param]
    return ZoneInfo(zone), utc(moment)


def fired(timetable: Timetable, start: datetime, end: datetime) -> list[datetime]:
    return list(itertools.takewhile(lambda due: due <= end, timetable.coming(start)))


def test_the_zones_change_their_clocks_when_these_tests_say(
    change: tuple[ZoneInfo, datetime],
) -> None:
    zone, moment = change

    before, after = (at.astimezone(zone).utcoffset() for at in (moment - HOUR / 60, moment))

    assert before != after


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_schedule_fires_when_cron_does(
    expression: str, change: tuple[ZoneInfo, datetime]
) -> None:
    zone, moment = change
    start, end = moment - 1.5 * DAY, moment + 1.5 * DAY
    schedule = Schedule.parse(expression, zone.key)

    actual = fired(Timetable(schedule), start, end)

    assert moments(expression, zone, start, end) == actual


@pytest.mark.parametrize("time", ["30 2", "0 0", "15 0", "30 1", "45 23"])
def test_a_daily_time_fires_once_on_each_day(time: str, change: tuple[ZoneInfo, datetime]) -> None:
    zone, moment = change
    first_day = moment.astimezone(zone).date() - DAY
    start = datetime(first_day.year, first_day.month, first_day.day, tzinfo=zone) - HOUR / 60
    timetable = Timetable(Schedule.parse(f"{time} * * *", zone.key))

    days = [due.astimezone(zone).date() for due in fired(timetable, start, start + 4 * DAY)]

    assert [first_day + n * DAY for n in range(4)] == days[:4]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_next_moment_is_the_same_from_wherever_one_asks(
    expression: str, change: tuple[ZoneInfo, datetime]
) -> None:
    zone, moment = change
    schedule = Schedule.parse(expression, zone.key)
    all_of_them = moments(expression, zone, moment - 4 * HOUR, moment + 1.5 * DAY)

    for minutes in range(-239, 240, 17):
        asked = moment + timedelta(minutes=minutes)
        expected = next((due for due in all_of_them if due > asked), None)
        assert expected in (None, schedule.next_after(asked)), asked


def test_a_delay_moves_each_moment_by_the_same_span(change: tuple[ZoneInfo, datetime]) -> None:
    zone, moment = change
    schedule = Schedule.parse("0,30 1-3 * * *", zone.key)
    delay = timedelta(minutes=47)
    start, end = moment - DAY, moment + DAY

    delayed = fired(Timetable(schedule, delay), start + delay, end + delay)

    assert [due + delay for due in fired(Timetable(schedule), start, end)] == delayed


def parts(lowest: int, highest: int) -> st.SearchStrategy[str]:
    """One field of a schedule."""
    number = st.integers(lowest, highest)
    # Of two different numbers: cronsim takes 5-5/2 for 5/2, which begins at 5 and goes on.
    pair = st.lists(number, min_size=2, max_size=2, unique=True).map(sorted)
    step = st.integers(1, max(2, highest // 2))
    term = st.one_of(
        number.map(str),
        pair.map(lambda ends: f"{ends[0]}-{ends[1]}"),
        st.tuples(pair, step).map(lambda both: f"{both[0][0]}-{both[0][1]}/{both[1]}"),
    )
    return st.one_of(
        st.just("*"),
        step.map(lambda each: f"*/{each}"),
        st.lists(term, min_size=1, max_size=3).map(",".join),
    )


expressions = st.tuples(
    parts(0, 59), parts(0, 23), st.just("*") | parts(1, 28), st.just("*"), parts(0, 7)
).map(" ".join)


@settings(max_examples=80, deadline=None)
@given(expressions, st.sampled_from(sorted(CHANGES)))
def test_any_schedule_fires_when_cron_does(expression: str, name: str) -> None:
    zone_name, text = CHANGES[name]
    zone, moment = ZoneInfo(zone_name), utc(text)
    start, end = moment - DAY / 2, moment + DAY / 2

    actual = fired(Timetable(Schedule.parse(expression, zone_name)), start, end)

    assert moments(expression, zone, start, end) == actual


def by_cronsim(expression: str, start: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    return (tick.astimezone(UTC) for tick in CronSim(expression, start.astimezone(zone)))


@settings(deadline=None)
@given(
    expressions,
    st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)),  # noqa: DTZ001  # made aware below
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]),
)
def test_any_schedule_fires_when_cronsim_says(
    expression: str, naive: datetime, zone_name: str
) -> None:
    start, zone = naive.replace(tzinfo=UTC), ZoneInfo(zone_name)
    if start.astimezone(zone).fold:
        start += 2 * HOUR  # inside the repeated hour cronsim begins with what has passed
    schedule = Schedule.parse(expression, zone_name)

    actual = list(itertools.islice(Timetable(schedule).coming(start), 40))

    assert list(itertools.islice(by_cronsim(expression, start, zone), 40)) == actual


@settings(deadline=None)
@given(expressions)
def test_any_schedule_can_be_put_in_words(expression: str) -> None:
    assert Schedule.parse(expression, "UTC").explain().endswith(", UTC time")
