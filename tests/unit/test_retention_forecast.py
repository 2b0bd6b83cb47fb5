"""What rules would leave on a later day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings

from backupd.forecast import Planned, forecast, let_go
from backupd.retention import Rules, decide
from backupd.timeline import Candidate
from tests.unit.retention_cases import UTC_ZONE, Backup, groups, moments, some_rules, zones

START = datetime(2024, 6, 1, 3, tzinfo=UTC)
DAY = timedelta(days=1)


def days(backups: list[Candidate]) -> list[str]:
    return [f"{backup.taken_at:%m-%d}" for backup in backups]


def test_with_no_moments_to_come_a_forecast_is_one_prune() -> None:
    backups = [Backup(START - DAY * place) for place in range(5)]

    actual = forecast(backups, Rules(keep_last=2), UTC_ZONE, [])

    assert backups[:2] == actual


def test_a_forecast_without_rules_keeps_what_is_there_and_all_that_comes() -> None:
    backups = [Backup(START)]

    actual = forecast(backups, Rules(), UTC_ZONE, [START + DAY, START + 2 * DAY])

    assert [Planned(START + 2 * DAY), Planned(START + DAY), *backups] == actual


def test_a_forecast_begins_with_nothing_where_there_is_nothing() -> None:
    actual = forecast([], Rules(keep_last=2), UTC_ZONE, [START, START + DAY, START + 2 * DAY])

    assert ["06-03", "06-02"] == days(actual)


def test_a_forecast_prunes_after_every_backup_and_not_once_at_the_end() -> None:
    coming = [START + DAY * place for place in range(40)]
    rules = Rules(keep_weekly=9, keep_daily=2)

    actual = forecast([], rules, UTC_ZONE, coming)

    # 06-01 is the oldest all the while; each Sunday became the survivor of its week.
    expected = ["07-10", "07-09", "07-07", "06-30", "06-23", "06-16", "06-09", "06-02", "06-01"]
    assert expected == days(actual)


def test_pinned_and_held_backups_stay_in_a_forecast() -> None:
    backups = [
        Backup(START, pinned=True),
        Backup(START - DAY, held="proven"),
        Backup(START - 2 * DAY),
    ]

    actual = forecast(backups, Rules(keep_last=1), UTC_ZONE, [START + DAY])

    assert [Planned(START + DAY), *backups[:2]] == actual


def test_a_moment_before_the_newest_backup_takes_its_place_in_time() -> None:
    backups = [Backup(START)]

    actual = forecast(backups, Rules(keep_last=2), UTC_ZONE, [START - DAY])

    assert [*backups, Planned(START - DAY)] == actual


@settings(max_examples=100)
@given(groups(), some_rules(), zones, moments(max_size=12))
def test_a_forecast_is_what_pruning_after_each_backup_leaves(
    backups: list[Backup], rules: Rules, zone: ZoneInfo, coming: list[datetime]
) -> None:
    def pruned(candidates: list[Candidate]) -> list[Candidate]:
        return [verdict.backup for verdict in decide(candidates, rules, zone) if verdict.keep]

    expected = pruned([*backups])
    for moment in sorted(set(coming)):
        expected = pruned([*expected, Planned(moment)])

    assert expected == forecast(backups, rules, zone, set(coming))


def test_what_is_locked_on_the_last_day_is_left_too() -> None:
    backups = [Backup(START - DAY * place) for place in range(9)]
    coming = [START + DAY, START + 2 * DAY]

    actual = forecast(backups, Rules(keep_last=1), UTC_ZONE, coming, locked_for=4 * DAY)

    assert ["06-03", "06-02", "06-01", "05-31"] == days(actual)


def test_a_lock_that_is_over_by_then_leaves_nothing_more() -> None:
    backups = [Backup(START - DAY * place) for place in range(3)]

    actual = forecast(
        backups, Rules(keep_last=1), UTC_ZONE, [], locked_for=DAY, until=START + 9 * DAY
    )

    assert ["06-01"] == days(actual)


def test_what_rules_let_go_of_a_schedule_is_counted() -> None:
    moments = [START + DAY * place for place in range(30)]

    assert (23, 0) == (
        let_go(Rules(keep_daily=7), UTC_ZONE, moments),
        let_go(Rules(keep_daily=30), UTC_ZONE, moments),
    )
