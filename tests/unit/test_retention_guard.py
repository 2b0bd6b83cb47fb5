"""The last look at a prune plan: which are refused, and what the person is told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from backupd.duration import Duration
from backupd.prune_guard import Objection, review
from backupd.retention import Rules, Verdict, decide
from tests.unit.retention_cases import UTC_ZONE, Backup

NOW = datetime(2024, 6, 15, 12, tzinfo=UTC)


def plan(*, keep: int, remove: int, newest: datetime = NOW) -> list[Verdict[Backup]]:
    """A plan that keeps the newest so many daily backups and removes the rest."""
    return [
        Verdict(
            Backup(newest - timedelta(days=place)),
            keep=place < keep,
            reasons=("last backup",) if place < keep else (),
            rules=("keep_last",) if place < keep else (),
        )
        for place in range(keep + remove)
    ]


def cause(objection: Objection | None) -> str | None:
    return None if objection is None else objection.cause


def test_a_plan_for_no_backups_is_let_through() -> None:
    assert review([], now=NOW) is None


def test_a_plan_that_removes_a_part_is_let_through() -> None:
    assert review(plan(keep=7, remove=7), now=NOW) is None


@pytest.mark.parametrize("number", [1, 3, 40])
def test_a_plan_that_keeps_nothing_is_refused_and_no_yes_helps(number: int) -> None:
    objection = review(plan(keep=0, remove=number), now=NOW, prune_limit_percent=100)

    assert objection is not None
    assert objection.cause == "everything"
    assert not objection.overridable


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [
        (timedelta(hours=-1), None),
        (timedelta(hours=1), None),
        (timedelta(hours=1, seconds=1), "future"),
        (timedelta(days=3650), "future"),
    ],
)
def test_a_plan_whose_newest_backup_is_from_the_future_is_refused(
    ahead: timedelta, expected: str | None
) -> None:
    objection = review(plan(keep=5, remove=1, newest=NOW + ahead), now=NOW)

    assert expected == cause(objection)
    assert objection is None or not objection.overridable


def test_the_newest_backup_is_found_in_any_order_of_the_verdicts() -> None:
    verdicts = plan(keep=5, remove=1, newest=NOW + timedelta(days=1))

    assert cause(review(verdicts[::-1], now=NOW)) == "future"


def test_a_plan_that_removes_nothing_is_let_through_though_a_clock_is_wrong() -> None:
    assert review(plan(keep=5, remove=0, newest=NOW + timedelta(days=1)), now=NOW) is None


@pytest.mark.parametrize(
    ("keep", "remove", "limit_percent", "expected"),
    [
        (6, 6, 50, None),
        (5, 6, 50, "limit"),
        (9, 2, 10, "limit"),
        (11, 89, 89, None),
        (11, 89, 88, "limit"),
        (1, 99, 100, None),
        (20, 1, 0, "limit"),
    ],
)
def test_a_plan_that_removes_more_than_the_limit_wants_a_yes(
    keep: int, remove: int, limit_percent: int, expected: str | None
) -> None:
    objection = review(plan(keep=keep, remove=remove), now=NOW, prune_limit_percent=limit_percent)

    assert expected == cause(objection)
    assert objection is None or objection.overridable


@pytest.mark.parametrize(("total", "expected"), [(2, None), (10, None), (11, "limit")])
def test_the_limit_begins_after_the_first_ten_backups(total: int, expected: str | None) -> None:
    objection = review(plan(keep=1, remove=total - 1), now=NOW)

    assert expected == cause(objection)


def verdicts_of_a_gone_source() -> Sequence[Verdict[Backup]]:
    backups = [Backup(NOW - timedelta(days=100 + place)) for place in range(20)]
    rules = Rules(keep_last=20, gone_after=Duration(days=30))
    gone_since = NOW - timedelta(days=99)
    return decide(backups, rules, UTC_ZONE, gone_since=gone_since, now=NOW)


def test_a_source_that_is_gone_for_longer_than_the_policy_says_may_lose_everything() -> None:
    verdicts = verdicts_of_a_gone_source()

    assert not any(verdict.keep for verdict in verdicts)
    assert review(verdicts, now=NOW) is None


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (
            plan(keep=0, remove=3),
            "cannot prune image web:1: the plan would remove every one of its backups (3), and "
            "prune never empties a source; check its retention rules, or remove single backups "
            "with 'backupd forget ID'",
        ),
        (
            plan(keep=4, remove=8),
            "cannot prune image web:1 without a yes: the plan would remove 8 of its 12 backups, "
            "more than prune_limit allows (50 %); look at 'backupd prune --dry-run --explain', "
            "then repeat with --yes if it is what you want",
        ),
    ],
)
def test_an_objection_says_why_and_what_to_do(
    verdicts: list[Verdict[Backup]], expected: str
) -> None:
    objection = review(verdicts, now=NOW, source="image web:1")

    assert objection is not None
    assert expected == objection.sentence


def test_an_objection_to_a_clock_tells_both_times_and_the_backup() -> None:
    verdicts = plan(keep=1, remove=1, newest=NOW + timedelta(days=366))
    newest = verdicts[0].backup

    objection = review(verdicts, now=NOW, source="image web:1")

    expected = (
        f"cannot prune image web:1: its newest backup {newest.id} is dated 2025-06-16 12:00 UTC, "
        f"but it is 2024-06-15 12:00 UTC now, so a clock went wrong; set the clock right, and if "
        f"the backup's date is the wrong one, remove it with 'backupd forget {newest.id}'"
    )
    assert objection is not None
    assert expected == objection.sentence
