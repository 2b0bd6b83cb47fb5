"""What becomes of the backups of a source that is no longer on the engine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from backupd.duration import Duration
from backupd.retention import ALL, Rules, decide
from tests.unit.retention_cases import UTC_ZONE, Backup

LAST_SEEN = datetime(2024, 6, 15, 12, tzinfo=UTC)
GONE_AFTER = Duration(days=30)


def kept_days_later(days: int, rules: Rules, backups: list[Backup]) -> list[bool]:
    """Whether each backup stays, newest first, when its source has been gone for so many days."""
    now = LAST_SEEN + timedelta(days=days)
    verdicts = decide(backups, rules, UTC_ZONE, gone_since=LAST_SEEN, now=now)
    return [verdict.keep for verdict in verdicts]


def daily(number: int) -> list[Backup]:
    return [Backup(LAST_SEEN - timedelta(days=days)) for days in range(number)]


def test_a_source_that_is_gone_for_less_keeps_what_the_rules_keep() -> None:
    rules = Rules(keep_daily=2, gone_after=GONE_AFTER)

    assert [True, True, False] == kept_days_later(30, rules, daily(3))


def test_without_gone_after_a_gone_source_keeps_its_backups_for_ever() -> None:
    assert [True, True, False] == kept_days_later(9999, Rules(keep_daily=2), daily(3))


def test_a_one_off_source_leaves_nothing_behind_once_it_is_gone_for_longer() -> None:
    rules = Rules(keep_last=3, keep_daily=7, minimum=2, gone_after=GONE_AFTER)

    assert [False] == kept_days_later(31, rules, daily(1))


def test_what_leaves_because_its_source_is_gone_says_so() -> None:
    now = LAST_SEEN + timedelta(days=31)
    rules = Rules(keep_daily=1, gone_after=GONE_AFTER)

    verdicts = decide(daily(2), rules, UTC_ZONE, gone_since=LAST_SEEN, now=now)

    assert [("gone for more than 30d",), ()] == [verdict.reasons for verdict in verdicts]
    assert [("gone_after",), ()] == [verdict.rules for verdict in verdicts]


def test_longer_rules_of_a_gone_source_run_on_to_their_own_end() -> None:
    rules = Rules(keep_daily=7, keep_monthly=3, gone_after=GONE_AFTER)

    after_31_days = kept_days_later(31, rules, daily(3))
    in_the_third_month = kept_days_later(77, rules, daily(3))
    in_the_fourth_month = kept_days_later(78, rules, daily(3))

    assert [True, False, False] == after_31_days
    assert [True, False, False] == in_the_third_month
    assert [False, False, False] == in_the_fourth_month


def test_within_counts_from_now_for_a_gone_source() -> None:
    rules = Rules(keep_within=Duration(days=40), gone_after=GONE_AFTER)

    assert [True, True, False] == kept_days_later(38, rules, daily(3))


@pytest.mark.parametrize("rules", [Rules(), Rules(keep_last=ALL), Rules(keep_daily=ALL)])
def test_what_is_kept_for_good_outlasts_its_source(rules: Rules) -> None:
    gone = Rules(keep_last=rules.keep_last, keep_daily=rules.keep_daily, gone_after=GONE_AFTER)

    assert [True, True] == kept_days_later(9999, gone, daily(2))


def test_pinned_and_held_backups_outlast_their_source() -> None:
    pinned = Backup(LAST_SEEN, pinned=True)
    held = Backup(LAST_SEEN - timedelta(days=1), held="newest proven backup")
    rules = Rules(keep_last=9, gone_after=GONE_AFTER)

    assert [True, True, False] == kept_days_later(31, rules, [pinned, held, daily(3)[2]])


def test_how_long_a_source_is_gone_cannot_be_told_without_the_time() -> None:
    rules = Rules(keep_last=1, gone_after=GONE_AFTER)

    with pytest.raises(ValueError, match="how long the source has been gone"):
        decide(daily(1), rules, UTC_ZONE, gone_since=LAST_SEEN)
