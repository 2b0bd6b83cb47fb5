"""Prune on a bucket that locks: what is locked waits, and nothing is ever half removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from backupd.policy import Policy
from tests.contract.locking import DAYS, Locking, locking_at
from tests.contract.shelves import DAY, KEEP_ONE, Shelf, ids_of, policy_of, prune
from tests.servers.seaweedfs import SeaweedFS

LOCK = DAY * DAYS


@pytest.fixture
def bucket(locking: SeaweedFS) -> Locking:
    """A bucket that locks for `DAYS` days."""
    return locking_at(locking)


@pytest.fixture
def shelf(bucket: Locking, tmp_path: Path) -> Shelf:
    """A shelf in it."""
    return Shelf(bucket.store(), tmp_path)


def why(shelf: Shelf, policy: Policy) -> dict[str, tuple[bool, tuple[str, ...], tuple[str, ...]]]:
    """Id → whether the backup stays, the reasons and the rules."""
    plans = prune(shelf, policy).plans
    verdicts = [verdict for plan in plans for verdict in plan.verdicts]
    return {v.backup.id: (v.keep, v.reasons, v.rules) for v in verdicts}


def test_what_no_rule_keeps_waits_until_its_lock_ends(shelf: Shelf) -> None:
    _, old = shelf.add(), shelf.add(DAY)

    until = f"locked until {old.taken_at + LOCK:%Y-%m-%d %H:%M}"
    assert (True, (until,), ("locked",)) == why(shelf, policy_of(KEEP_ONE))[old.id]
    assert (2, []) == (len(shelf.ids()), shelf.broken())


def test_what_a_rule_keeps_needs_no_lock_for_a_reason(shelf: Shelf) -> None:
    new = shelf.add()

    assert "locked" not in why(shelf, policy_of(KEEP_ONE))[new.id][2]


def test_only_what_is_older_than_the_lock_goes(shelf: Shelf) -> None:
    new, young, old = shelf.add(), shelf.add(LOCK - DAY), shelf.add(LOCK)

    assert {old.id} == prune(shelf, policy_of(KEEP_ONE)).removed
    assert ids_of([new, young]) == shelf.ids()
    assert {new.archive.id, young.archive.id} == shelf.archive_ids()


def test_rules_given_by_a_person_wait_for_the_lock_too(shelf: Shelf) -> None:
    policy = policy_of(None)
    rules = policy_of(KEEP_ONE).retention_of(policy_of(KEEP_ONE).jobs["nightly"])
    assert rules is not None
    shelf.add_daily(3)

    assert set() == prune(shelf, policy, rules=rules.rules()).removed


def test_an_archive_stays_as_long_as_its_youngest_manifest_is_locked(shelf: Shelf) -> None:
    old = shelf.add(LOCK + DAY)
    shelf.add(DAY, archive=old.archive)
    shelf.add()

    assert {old.id} == prune(shelf, policy_of(KEEP_ONE)).removed
    assert [] == shelf.broken()
    shelf.now += LOCK
    prune(shelf, policy_of(KEEP_ONE))
    assert (1, [], False) == (
        len(shelf.ids()),
        shelf.broken(),
        old.archive.id in shelf.archive_ids(),
    )


def test_an_archive_that_nobody_names_is_swept_once_its_lock_is_over(shelf: Shelf) -> None:
    shelf.add()
    orphan = shelf.add_archive().id

    seen = []
    for age in (2 * DAY, LOCK - DAY, LOCK + 2 * DAY):
        shelf.now = shelf.made[0].taken_at + age
        prune(shelf, policy_of(KEEP_ONE))
        seen.append(orphan in shelf.archive_ids())
    assert [True, True, False] == seen


def test_what_a_source_left_behind_waits_for_the_lock_as_well(shelf: Shelf) -> None:
    policy = policy_of({"keep_last": 1, "gone_after": "1d"})
    shelf.add(2 * DAY)

    def gone(*_: object) -> set[object]:
        return set()

    prune(shelf, policy, present=gone)
    shelf.now += 3 * DAY
    (plan,) = prune(shelf, policy, present=gone).plans

    assert [(True, ("gone_after", "locked"))] == [(v.keep, v.rules) for v in plan.verdicts]


def test_what_is_pruned_stays_as_an_old_version_for_a_rule_of_the_bucket_to_end(
    bucket: Locking, shelf: Shelf
) -> None:
    old = shelf.add(LOCK)
    shelf.add()
    prune(shelf, policy_of(KEEP_ONE))

    assert shelf.store.size(old.archive.key) is None
    assert 1 == len(bucket.versions(old.archive.key))


def test_days_that_were_lowered_leave_nothing_listed_that_is_broken(
    bucket: Locking, shelf: Shelf
) -> None:
    shelf.add(2 * DAY)
    new = shelf.add()
    shorter = shelf.through(bucket.store(days=1))

    pruned = prune(shorter, policy_of(KEEP_ONE))

    assert ([], [new.id], []) == (pruned.removal.complaints, shorter.ids(), shorter.broken())


def test_a_plan_that_only_waits_is_no_accident(shelf: Shelf) -> None:
    shelf.add_daily(12)

    assert [] == prune(shelf, policy_of(KEEP_ONE)).objections
    assert 12 == len(shelf.ids())
