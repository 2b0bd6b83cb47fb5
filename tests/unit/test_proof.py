"""What is proven, what is proven next, and that a prune leaves each source what is proven."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backupd.layout import BackupKey, Kind, backup_key
from backupd.proof import Depth, last_proof, longest_unproven, proof_of, shelter
from backupd.verbs.move import rename_job
from tests.contract.shelves import DAY, JOB, KEEP_ONE, NAME, NOW, Shelf, policy_of, prune
from tests.unit.proven import backup_of, make_shelf, mark


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return make_shelf(tmp_path)


def key(number: int, *, days: int = 0, name: str = "app", **ages: int) -> BackupKey:
    """A backup with the archive of this number; `verified=3` was made three days ago."""
    bare = backup_key(
        *("web01", JOB, Kind.IMAGE, name),
        taken_at=NOW - DAY * days,
        archive_id=f"{number:016x}-0123456789ab",
        size_bytes=4,
    )
    marked_at = {state: NOW - DAY * age for state, age in ages.items()}
    return BackupKey(
        *(bare.folder, bare.host, bare.job, bare.kind, bare.name),
        *(bare.taken_at, bare.archive_id, bare.size_bytes),
        states=frozenset(marked_at),
        marked_at=marked_at,
    )


def how(backup: BackupKey) -> str | None:
    proof = proof_of(backup)
    return proof.how if proof else None


@pytest.mark.parametrize(
    ("ages", "expected"),
    [
        ({}, None),
        ({"checked": 1}, None),
        ({"pinned": 1}, None),
        ({"verified": 1, "drilled": 2}, "verified"),
        ({"verified": 2, "drilled": 1}, "drilled"),
        ({"verified": 1, "damaged": 9}, None),
    ],
)
def test_a_backup_is_proven_by_what_read_it_last_unless_it_is_damaged(
    ages: dict[str, Any], expected: str | None
) -> None:
    assert expected == how(key(1, **ages))


def test_the_last_proof_may_be_that_of_an_older_backup() -> None:
    old, new = key(1, days=5, verified=1), key(2, days=4, verified=3)

    proof = last_proof([old, new])

    assert proof is not None
    assert (old, NOW - DAY) == (proof.backup, proof.at)


def test_each_source_is_sheltered_by_itself() -> None:
    older, newer = key(1, days=5, verified=1), key(2, days=4, verified=3)
    other = key(3, days=9, name="app2", drilled=2)

    assert {newer.key, other.key} == set(shelter([older, newer, other, key(4)]))


def chosen(backups: list[BackupKey], percent: int, depth: Depth = Depth.DATA) -> list[int]:
    found = longest_unproven(backups, percent, depth)
    return [int(backup.archive_id[:16], 16) for backup in found]


def test_what_was_never_proven_comes_first_and_of_that_the_newest() -> None:
    backups = [key(1, days=3), key(2, days=2), key(3, days=1, verified=30)]

    assert [[2], [1, 2], [1, 2, 3]] == [chosen(backups, percent) for percent in (1, 50, 100)]


def test_then_comes_what_was_proven_longest_ago_by_a_drill_too() -> None:
    backups = [key(1, verified=2, drilled=9), key(2, verified=5), key(3, drilled=7)]

    assert [[3], [2, 3]] == [chosen(backups, percent) for percent in (33, 66)]


def test_damage_that_was_found_lately_is_not_read_again_before_the_others() -> None:
    assert [2] == chosen([key(1, damaged=1), key(2, verified=5)], 50)


def test_a_look_at_the_objects_counts_for_the_next_such_look_and_not_for_a_read() -> None:
    backups = [key(1, checked=1, days=1), key(2, verified=5, days=2)]

    assert [[2], [1]] == [chosen(backups, 50, depth) for depth in (Depth.OBJECTS, Depth.DATA)]


def test_one_that_nobody_has_the_key_of_takes_no_other_ones_turn() -> None:
    assert [2] == chosen([key(1, sealed=1, days=1), key(2, verified=5, days=2)], 50)


def test_all_backups_of_an_archive_come_together() -> None:
    assert [1, 1] == chosen([key(1, days=2), key(2, days=9), key(1, days=1)], 50)


def test_sample_after_sample_all_are_proven(shelf: Shelf) -> None:
    made = shelf.add_daily(7)
    moment = NOW
    for _ in range(4):
        for backup in longest_unproven(shelf.catalog.backups(), 25, Depth.DATA):
            (manifest,) = [one for one in made if one.id == backup.id]
            mark(shelf, manifest, "verified", moment)
        moment += timedelta(minutes=1)

    assert [True] * 7 == ["verified" in backup.states for backup in shelf.catalog.backups()]


def test_a_listing_tells_when_a_backup_was_proven(shelf: Shelf) -> None:
    manifest = shelf.add()
    mark(shelf, manifest, "drilled", NOW - DAY)

    assert {"drilled": NOW - DAY} == backup_of(shelf, manifest).proofs


@pytest.mark.parametrize("proof", ["verified", "drilled"])
def test_prune_keeps_the_newest_proven_backup_and_says_why(shelf: Shelf, proof: str) -> None:
    made = shelf.add_daily(5)
    for manifest in made[3:]:
        mark(shelf, manifest, proof, datetime.fromisoformat("2026-03-01T12:00+00:00"))

    pruned = prune(shelf, policy_of(KEEP_ONE))

    (verdict,) = [v for v in pruned.plans[0].verdicts if v.backup.id == made[3].id]
    assert [made[0].id, made[3].id] == shelf.ids()
    assert (f"newest proven ({proof} 2026-03-01)",) == verdict.reasons
    assert ("held",) == verdict.rules


@pytest.mark.parametrize("states", [["checked"], ["sealed"], ["verified", "damaged"]])
def test_prune_shelters_neither_a_mere_look_nor_a_damaged_backup(
    shelf: Shelf, states: list[str]
) -> None:
    made = shelf.add_daily(3)
    for state in states:
        mark(shelf, made[2], state, NOW)

    prune(shelf, policy_of(KEEP_ONE))

    assert [made[0].id] == shelf.ids()


def test_a_damaged_archive_takes_no_other_ones_turn_in_a_cheap_sample() -> None:
    damaged, checked, fresh = key(1, days=3, damaged=9), key(2, days=2, checked=1), key(3, days=1)

    assert [damaged, fresh] == longest_unproven([damaged, checked, fresh], 10, Depth.OBJECTS)
    assert [fresh] == longest_unproven([damaged, checked, fresh], 10, Depth.DATA)


def test_prune_shelters_a_proven_backup_that_another_one_calls_damaged_beside_a_sound_one(
    shelf: Shelf,
) -> None:
    made = shelf.add_daily(3)
    again = shelf.add(DAY * 9, archive=made[2].archive, states=["damaged"])
    mark(shelf, made[2], "verified", NOW)

    prune(shelf, policy_of(KEEP_ONE))

    assert again.archive.id == made[2].archive.id
    assert {made[0].id, made[2].id} == set(shelf.ids())


def test_tags_that_are_pruned_together_keep_what_is_proven_of_each(shelf: Shelf) -> None:
    one, two = shelf.add(DAY * 5, name="app:1"), shelf.add(DAY * 4, name="app:2")
    newest = shelf.add(name="app:3")
    for manifest in (one, two):
        mark(shelf, manifest, "verified", NOW)

    prune(shelf, policy_of({**KEEP_ONE, "group": "repository"}))

    assert [newest.id, two.id, one.id] == shelf.ids()


def test_a_source_that_is_long_gone_loses_its_proven_backup_like_its_minimum(shelf: Shelf) -> None:
    made = shelf.add(DAY * 100)
    mark(shelf, made, "verified", NOW - DAY * 90)
    policy = policy_of({**KEEP_ONE, "gone_after": "30d"})

    prune(shelf, policy, present=lambda _, __: set())  # the absence is noticed
    shelf.now += DAY * 31
    prune(shelf, policy, present=lambda _, __: set())

    assert [] == shelf.ids()


def test_a_proof_is_not_carried_over_with_a_new_date(shelf: Shelf) -> None:
    made = shelf.add(name=NAME, states=["damaged", "pinned"])
    mark(shelf, made, "verified", NOW - DAY * 90)

    rename_job(shelf.site, JOB, "every-night")

    assert [{"damaged", "pinned"}] == [set(one.states) for one in shelf.catalog.backups()]
    assert [] == list(shelf.store.list(f"{shelf.host}/backups/{JOB}/"))
