"""Periods at the edges of the calendar: clocks that change, ISO weeks, years."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from backupd.duration import Duration
from backupd.retention import ALL, Rules
from tests.unit.retention_cases import BERLIN, LORD_HOWE, NEW_YORK, UTC_ZONE, at, kept_times


@pytest.mark.parametrize(
    ("zone", "texts", "expected"),
    [
        (
            BERLIN,
            ["2024-10-27 01:30", "2024-10-27 02:30", "2024-10-27 02:30*", "2024-10-27 03:30"],
            ["2024-10-27 03:30 +0100", "2024-10-27 02:30 +0100", "2024-10-27 01:30 +0200"],
        ),
        (
            NEW_YORK,
            ["2024-11-03 00:30", "2024-11-03 01:30", "2024-11-03 01:30*", "2024-11-03 02:30"],
            ["2024-11-03 02:30 -0500", "2024-11-03 01:30 -0500", "2024-11-03 00:30 -0400"],
        ),
        (
            LORD_HOWE,
            ["2024-04-07 00:45", "2024-04-07 01:15", "2024-04-07 01:45", "2024-04-07 01:45*"],
            ["2024-04-07 01:45 +1030", "2024-04-07 00:45 +1100"],
        ),
    ],
)
def test_the_hour_that_clocks_show_twice_is_one_hour(
    zone: ZoneInfo, texts: list[str], expected: list[str]
) -> None:
    actual = kept_times(at(zone, *texts), Rules(keep_hourly=9), zone)

    assert expected == actual


@pytest.mark.parametrize(
    ("zone", "before", "after"),
    [
        (BERLIN, "2024-03-31 01:59", "2024-03-31 03:00"),
        (NEW_YORK, "2024-03-10 01:59", "2024-03-10 03:00"),
        (LORD_HOWE, "2024-10-06 01:59", "2024-10-06 02:30"),
    ],
)
def test_the_hour_that_clocks_skip_uses_up_no_count(
    zone: ZoneInfo, before: str, after: str
) -> None:
    backups = at(zone, after, before)

    actual = kept_times(backups, Rules(keep_hourly=2), zone)

    assert [before, after] == [text[:16] for text in reversed(actual)]


@pytest.mark.parametrize(
    ("zone", "day", "day_before"),
    [
        (BERLIN, "2024-10-27", "2024-10-26"),
        (BERLIN, "2024-03-31", "2024-03-30"),
        (NEW_YORK, "2024-11-03", "2024-11-02"),
        (NEW_YORK, "2024-03-10", "2024-03-09"),
        (LORD_HOWE, "2024-04-07", "2024-04-06"),
        (LORD_HOWE, "2024-10-06", "2024-10-05"),
    ],
)
def test_a_day_of_23_or_25_hours_is_one_day(zone: ZoneInfo, day: str, day_before: str) -> None:
    backups = at(zone, f"{day} 23:59", f"{day} 00:00", f"{day_before} 23:59", f"{day_before} 00:00")

    actual = kept_times(backups, Rules(keep_daily=2), zone)

    assert [f"{day} 23:59", f"{day_before} 23:59"] == [text[:16] for text in actual]


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        (UTC_ZONE, ["2024-07-01 23:30 +0000", "2024-07-01 12:00 +0000"]),
        (BERLIN, ["2024-07-02 01:30 +0200", "2024-07-01 23:30 +0200"]),
        (LORD_HOWE, ["2024-07-02 10:00 +1030", "2024-07-01 22:30 +1030"]),
    ],
)
def test_days_are_those_of_the_jobs_own_zone(zone: ZoneInfo, expected: list[str]) -> None:
    backups = at(UTC_ZONE, "2024-07-01 23:30", "2024-07-01 21:30", "2024-07-01 12:00")

    actual = kept_times(backups, Rules(keep_daily=2), zone)

    assert expected == actual


@pytest.mark.parametrize(
    ("sunday", "monday"),
    [
        ("2021-01-03", "2021-01-04"),  # 2020-W53 ends in 2021
        ("2016-01-03", "2016-01-04"),  # 2015-W53 ends in 2016
        ("2024-12-29", "2024-12-30"),  # 2025-W01 begins in 2024
        ("2023-01-01", "2023-01-02"),  # 2022-W52 ends in 2023
        ("2024-10-27", "2024-10-28"),  # and clocks change
    ],
)
@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK, LORD_HOWE, UTC_ZONE], ids=str)
def test_a_week_ends_with_the_last_minute_of_sunday(
    zone: ZoneInfo, sunday: str, monday: str
) -> None:
    backups = at(zone, f"{monday} 00:00", f"{sunday} 23:59", f"{sunday} 00:00")

    actual = kept_times(backups, Rules(keep_weekly=2), zone)

    assert [f"{monday} 00:00", f"{sunday} 23:59"] == [text[:16] for text in actual]


@pytest.mark.parametrize(
    ("newer", "older"), [("2021-01-03", "2020-12-28"), ("2025-01-05", "2024-12-30")]
)
def test_a_week_that_spans_new_year_is_one_week_in_two_years(newer: str, older: str) -> None:
    backups = at(BERLIN, newer, older, "2020-01-01")

    weekly = kept_times(backups, Rules(keep_weekly=2), BERLIN)
    yearly = kept_times(backups, Rules(keep_yearly=2), BERLIN)

    assert [newer, "2020-01-01"] == [text[:10] for text in weekly]
    assert [newer, older] == [text[:10] for text in yearly]


def test_week_53_and_week_1_of_one_calendar_year_are_different_weeks() -> None:
    backups = at(UTC_ZONE, "2021-12-31", "2021-01-04", "2021-01-03", "2020-12-31", "2020-01-01")

    actual = kept_times(backups, Rules(keep_weekly=ALL), UTC_ZONE)

    expected = ["2021-12-31", "2021-01-04", "2021-01-03", "2020-01-01"]
    assert expected == [text[:10] for text in actual]


def test_the_same_month_of_two_years_is_two_months() -> None:
    backups = at(UTC_ZONE, "2024-06-15", "2023-06-20", "2023-06-10", "2022-01-01")

    actual = kept_times(backups, Rules(keep_monthly=2), UTC_ZONE)

    assert ["2024-06-15", "2023-06-20"] == [text[:10] for text in actual]


def test_a_month_ends_at_midnight_of_the_jobs_zone() -> None:
    backups = at(LORD_HOWE, "2024-03-01 00:00", "2024-02-29 23:59", "2024-02-01 00:00")

    actual = kept_times(backups, Rules(keep_monthly=2), LORD_HOWE)

    assert ["2024-03-01 00:00 +1100", "2024-02-29 23:59 +1100"] == actual


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (Duration(days=1), ["2024-10-27 12:00 +0100", "2024-10-26 12:30 +0200"]),
        (
            Duration(hours=24),
            ["2024-10-27 12:00 +0100"],
        ),
    ],
)
def test_within_a_day_is_25_hours_long_when_clocks_go_back(
    span: Duration, expected: list[str]
) -> None:
    backups = at(BERLIN, "2024-10-27 12:00", "2024-10-26 12:30", "2024-10-26 12:00")

    actual = kept_times(backups, Rules(keep_within=span), BERLIN)

    assert expected == actual
