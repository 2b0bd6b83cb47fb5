"""Durations: how they are written, and how they count back on a calendar."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backupd.duration import Duration
from tests.unit.retention_cases import BERLIN, LORD_HOWE, NEW_YORK, UTC_ZONE, zones


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("14d", Duration(days=14)),
        ("36h", Duration(hours=36)),
        ("1y6m14d36h", Duration(1, 6, 14, 36)),
        ("6m1y", Duration(years=1, months=6)),
        ("2w", Duration(days=14)),
        ("1w1d", Duration(days=8)),
        ("1y0m", Duration(years=1)),
        (" 7d ", Duration(days=7)),
        ("007d", Duration(days=7)),
    ],
)
def test_a_duration_is_read_as_restic_reads_it_and_weeks_too(text: str, expected: Duration) -> None:
    actual = Duration.parse(text)

    assert expected == actual


@pytest.mark.parametrize(
    "text",
    [
        "",
        "d",
        "14",
        "14 d",
        "1y 6m",
        "-3d",
        "3D",
        "1.5d",
        "14days",
        "1M",
        "10s",
        "d14",
        "٣d",
        "1y;",
    ],
)
def test_what_is_no_duration_is_refused_with_an_example_of_one(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration; write whole numbers with y"):
        Duration.parse(text)


@pytest.mark.parametrize("text", ["0d", "0y0m0d0h", "0w"])
def test_a_duration_of_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="lasts no time at all"):
        Duration.parse(text)


def test_a_unit_that_stands_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="names the unit d twice"):
        Duration.parse("1d2h3d")


def test_an_absurdly_long_duration_is_refused() -> None:
    with pytest.raises(ValueError, match="too long a duration"):
        Duration.parse("1" * 5000 + "d")


def test_a_duration_cannot_be_built_negative() -> None:
    with pytest.raises(ValueError, match="cannot be negative"):
        Duration(days=3, hours=-1)


def test_a_duration_cannot_be_built_empty() -> None:
    with pytest.raises(ValueError, match="cannot be zero"):
        Duration()


parts = st.integers(0, 999_999)


@given(st.tuples(parts, parts, parts, parts).filter(any))
def test_a_written_duration_reads_back_the_same(amounts: tuple[int, int, int, int]) -> None:
    duration = Duration(*amounts)

    actual = Duration.parse(str(duration))

    assert duration == actual


def before(text: str, moment: str, zone: ZoneInfo) -> str:
    """What lies `text` before the local time `moment`, as local time with its offset."""
    start = datetime.fromisoformat(moment).replace(tzinfo=zone)
    earlier = Duration.parse(text).before(start, zone)

    assert earlier.tzinfo is UTC
    return f"{earlier.astimezone(zone):%Y-%m-%d %H:%M %z}"


@pytest.mark.parametrize(
    ("text", "moment", "expected"),
    [
        ("1m", "2023-03-31 12:00", "2023-03-03 12:00 +0000"),
        ("1m", "2024-03-31 12:00", "2024-03-02 12:00 +0000"),
        ("1m", "2024-01-15 12:00", "2023-12-15 12:00 +0000"),
        ("12m", "2024-01-15 12:00", "2023-01-15 12:00 +0000"),
        ("25m", "2024-01-15 12:00", "2021-12-15 12:00 +0000"),
        ("1y", "2024-02-29 12:00", "2023-03-01 12:00 +0000"),
        ("4y", "2024-02-29 12:00", "2020-02-29 12:00 +0000"),
        ("1m30d", "2024-03-31 12:00", "2024-02-01 12:00 +0000"),
        ("1y6m14d36h", "2024-09-20 12:00", "2023-03-05 00:00 +0000"),
    ],
)
def test_months_and_years_count_back_as_in_go(text: str, moment: str, expected: str) -> None:
    actual = before(text, moment, UTC_ZONE)

    assert expected == actual


@pytest.mark.parametrize(
    ("text", "moment", "expected"),
    [
        ("1d", "2024-10-27 12:00", "2024-10-26 12:00 +0200"),
        ("24h", "2024-10-27 12:00", "2024-10-26 13:00 +0200"),
        ("1d", "2024-03-31 12:00", "2024-03-30 12:00 +0100"),
        ("24h", "2024-03-31 12:00", "2024-03-30 11:00 +0100"),
    ],
)
def test_days_follow_the_clock_on_the_wall_and_hours_do_not(
    text: str, moment: str, expected: str
) -> None:
    actual = before(text, moment, BERLIN)

    assert expected == actual


@pytest.mark.parametrize(
    ("zone", "moment", "expected"),
    [
        (BERLIN, "2024-04-01 02:30", "2024-03-31 03:30 +0200"),
        (NEW_YORK, "2024-03-11 02:30", "2024-03-10 01:30 -0500"),
        (BERLIN, "2024-10-28 02:30", "2024-10-27 02:30 +0100"),
        (NEW_YORK, "2024-11-04 01:30", "2024-11-03 01:30 -0400"),
        (LORD_HOWE, "2024-04-08 01:45", "2024-04-07 01:45 +1030"),
        (LORD_HOWE, "2024-10-07 02:15", "2024-10-06 02:45 +1100"),
    ],
)
def test_a_time_that_clocks_skip_or_repeat_is_taken_as_go_takes_it(
    zone: ZoneInfo, moment: str, expected: str
) -> None:
    actual = before("1d", moment, zone)

    assert expected == actual


@pytest.mark.parametrize("text", ["2024y", "3000y", "999999m", "999999d", "2023y999999h"])
def test_what_lies_before_the_calendar_begins_is_its_first_moment(text: str) -> None:
    moment = datetime(2024, 6, 1, 12, tzinfo=UTC)

    actual = Duration.parse(text).before(moment, NEW_YORK)

    assert datetime.min.replace(tzinfo=UTC) == actual


@given(
    st.tuples(st.integers(0, 30), st.integers(0, 40), st.integers(0, 900), st.integers(0, 900)),
    st.datetimes(datetime(1975, 1, 1), datetime(2035, 1, 1)),  # noqa: DTZ001  # made aware below
    zones,
)
def test_before_is_always_earlier(
    amounts: tuple[int, int, int, int], moment: datetime, zone: ZoneInfo
) -> None:
    duration = Duration(*amounts) if any(amounts) else Duration(hours=1)
    start = moment.replace(tzinfo=UTC)

    assert duration.before(start, zone) < start
