"""The retention rules one by one: what each keeps, and what it says about it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from backupd.duration import Duration
from backupd.retention import ALL, Rules, Verdict, decide
from tests.unit.retention_cases import BERLIN, UTC_ZONE, Backup, at, kept_times

NOON = datetime(2024, 6, 15, 12, tzinfo=UTC)


def daily(number: int) -> list[Backup]:
    """So many backups, one each noon, the newest first."""
    return [Backup(NOON - timedelta(days=days)) for days in range(number)]


def reasons(verdicts: list[Verdict[Backup]]) -> list[tuple[str, ...]]:
    return [verdict.reasons for verdict in verdicts]


def test_no_backups_get_no_verdicts() -> None:
    assert [] == decide([], Rules(keep_last=1, keep_daily=1), UTC_ZONE)


def test_without_rules_everything_stays() -> None:
    verdicts = decide(daily(3), Rules(minimum=2), UTC_ZONE)

    assert [("no rules: keep all",)] * 3 == reasons(verdicts)
    assert [("no_rules",)] * 3 == [verdict.rules for verdict in verdicts]
    assert all(verdict.keep for verdict in verdicts)


@pytest.mark.parametrize("rules", [Rules(), Rules(keep_last=0), Rules(keep_daily=0, minimum=5)])
def test_a_count_of_zero_is_no_rule(rules: Rules) -> None:
    assert rules.keeps_all


@pytest.mark.parametrize(
    "rules", [Rules(keep_yearly=1), Rules(keep_last=ALL), Rules(keep_within=Duration(hours=1))]
)
def test_any_keep_rule_ends_keeping_all(rules: Rules) -> None:
    assert not rules.keeps_all


def test_a_count_below_all_is_refused() -> None:
    with pytest.raises(ValueError, match="keep_weekly cannot be -2"):
        Rules(keep_weekly=-2)


def test_a_minimum_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="minimum cannot be 0"):
        Rules(minimum=0)


def test_verdicts_come_newest_first_whatever_the_order_of_the_backups() -> None:
    newest, middle, oldest = daily(3)

    verdicts = decide([middle, oldest, newest], Rules(keep_last=1), UTC_ZONE)

    assert [newest, middle, oldest] == [verdict.backup for verdict in verdicts]


def test_backups_of_one_moment_are_taken_in_the_order_of_their_ids() -> None:
    twins = [Backup(NOON, id=name) for name in ("c", "a", "b")]

    verdicts = decide(twins, Rules(keep_last=2), UTC_ZONE)

    expected = [("a", True), ("b", True), ("c", False)]
    assert expected == [(verdict.backup.id, verdict.keep) for verdict in verdicts]


def test_what_no_rule_keeps_goes_without_a_reason() -> None:
    verdicts = decide(daily(2), Rules(keep_last=1), UTC_ZONE)

    assert Verdict(verdicts[1].backup, keep=False, reasons=(), rules=()) == verdicts[1]


def test_rules_add_up_and_every_one_that_keeps_a_backup_is_named() -> None:
    rules = Rules(keep_last=1, keep_daily=2, keep_within=Duration(days=14))

    verdict = decide(daily(3), rules, UTC_ZONE)[0]

    assert ("within 14d", "last backup", "daily backup", "minimum 1") == verdict.reasons
    assert ("keep_within", "keep_last", "keep_daily", "minimum") == verdict.rules


def test_a_counted_rule_counts_only_periods_that_have_a_backup() -> None:
    backups = at(UTC_ZONE, "2024-06-15 12:00", "2024-06-15 09:00", "2024-03-01 12:00", "2020-01-01")

    actual = kept_times(backups, Rules(keep_daily=2), UTC_ZONE)

    assert ["2024-06-15 12:00 +0000", "2024-03-01 12:00 +0000"] == actual


def test_the_oldest_backup_stays_while_counts_are_left() -> None:
    backups = at(UTC_ZONE, "2024-06-15 12:00", "2024-06-15 09:00", "2024-06-15 06:00")

    verdicts = decide(backups, Rules(keep_daily=2), UTC_ZONE)

    expected = [("daily backup", "minimum 1"), (), ("oldest daily backup",)]
    assert expected == reasons(verdicts)


def test_the_oldest_backup_goes_once_the_counts_are_used_up() -> None:
    backups = at(UTC_ZONE, "2024-06-15 12:00", "2024-06-14 12:00", "2024-06-14 06:00")

    actual = kept_times(backups, Rules(keep_daily=2), UTC_ZONE)

    assert ["2024-06-15 12:00 +0000", "2024-06-14 12:00 +0000"] == actual


def test_all_keeps_one_of_every_period_and_the_oldest() -> None:
    backups = at(UTC_ZONE, "2024-06-15", "2023-06-15", "2022-06-15", "2022-06-14", "2022-06-13")

    verdicts = decide(backups, Rules(keep_yearly=ALL), UTC_ZONE)

    expected = [
        ("yearly backup", "minimum 1"),
        ("yearly backup",),
        ("yearly backup",),
        (),
        ("oldest yearly backup",),
    ]
    assert expected == reasons(verdicts)


def test_within_counts_from_the_newest_backup_so_nothing_expires_when_backups_stop() -> None:
    backups = at(UTC_ZONE, "2020-06-15 12:00", "2020-06-08 12:01", "2020-06-08 12:00")

    years_later = datetime(2024, 6, 15, tzinfo=UTC)
    verdicts = decide(backups, Rules(keep_within=Duration(days=7)), UTC_ZONE, now=years_later)

    assert [True, True, False] == [verdict.keep for verdict in verdicts]


def test_within_a_period_keeps_one_of_each_inside_the_duration() -> None:
    backups = at(
        UTC_ZONE, "2024-06-15 12:00", "2024-06-15 06:00", "2024-06-14 12:00", "2024-06-14 06:00",
        "2024-06-13 11:00", "2024-06-12 12:00",
    )  # fmt: skip

    verdicts = decide(backups, Rules(keep_within_daily=Duration(days=2)), UTC_ZONE)

    expected = [("daily within 2d", "minimum 1"), (), ("daily within 2d",), (), (), ()]
    assert expected == reasons(verdicts)


def test_within_a_period_keeps_the_oldest_when_all_lie_inside_the_duration() -> None:
    backups = at(UTC_ZONE, "2024-06-15 12:00", "2024-06-15 09:00", "2024-06-15 06:00")

    verdicts = decide(backups, Rules(keep_within_monthly=Duration(1, 6)), UTC_ZONE)

    expected = [("monthly within 1y6m", "minimum 1"), (), ("oldest monthly within 1y6m",)]
    assert expected == reasons(verdicts)


def test_a_pinned_backup_stays_and_still_takes_its_place_in_the_rules() -> None:
    first, second, third = daily(3)
    backups = [Backup(first.taken_at, pinned=True), second, Backup(third.taken_at, pinned=True)]

    verdicts = decide(backups, Rules(keep_last=1), UTC_ZONE)

    assert [("pinned", "last backup", "minimum 1"), (), ("pinned",)] == reasons(verdicts)


def test_a_held_backup_stays_for_the_reason_it_is_held_for() -> None:
    newest, older = daily(2)
    proven = Backup(older.taken_at, held="newest backup that a restore has proven")

    verdict = decide([newest, proven], Rules(keep_last=1), UTC_ZONE)[1]

    assert verdict.keep
    assert ("newest backup that a restore has proven",) == verdict.reasons
    assert ("held",) == verdict.rules


def test_the_minimum_counts_good_backups_only() -> None:
    moments = [backup.taken_at for backup in daily(4)]
    backups = [Backup(moment, good=number > 1) for number, moment in enumerate(moments)]

    verdicts = decide(backups, Rules(keep_last=1), UTC_ZONE)

    assert [("last backup",), (), ("minimum 1",), ()] == reasons(verdicts)


def test_a_moment_without_a_time_zone_is_refused() -> None:
    naive = Backup(datetime(2024, 6, 15, 12))  # noqa: DTZ001  # what must be refused

    with pytest.raises(ValueError, match="has no time zone"):
        decide([naive], Rules(keep_last=1), UTC_ZONE)


def test_a_moment_in_another_zone_than_utc_is_ordered_by_the_instant() -> None:
    first = Backup(datetime(2024, 10, 27, 2, 50, tzinfo=BERLIN, fold=0))
    second = Backup(datetime(2024, 10, 27, 2, 10, tzinfo=BERLIN, fold=1))

    verdicts = decide([first, second], Rules(keep_last=1), BERLIN)

    assert [second, first] == [verdict.backup for verdict in verdicts]
