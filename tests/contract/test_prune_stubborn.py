"""Stores that do not delete: noticed, told, nothing lost, and the rest goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from backupd.errors import StoreError
from backupd.stores import Refusal, Store, open_store
from backupd.verbs.remove import STILL_THERE, Removal
from tests.contract.conftest import s3_spec
from tests.contract.shelves import DAY, KEEP_ONE, Shelf, ids_of, policy_of, prune
from tests.contract.watched import Call, Stubborn, Watched
from tests.servers.seaweedfs import NO_DELETE, SeaweedFS

LOCKED = "the object is locked"


@pytest.fixture
def shelf(store: Store, tmp_path: Path) -> Shelf:
    """A shelf in every store."""
    return Shelf(store, tmp_path)


@pytest.mark.parametrize(("cause", "told"), [(LOCKED, LOCKED), (None, STILL_THERE)])
def test_a_manifest_that_stays_is_told_and_keeps_its_archive(
    shelf: Shelf, cause: str | None, told: str
) -> None:
    made = shelf.add_daily(3)
    stays = made[1].key.key

    stubborn = Stubborn(shelf.store, lambda key: key == stays, cause=cause)
    pruned = prune(shelf.through(stubborn), policy_of(KEEP_ONE))

    assert ({made[2].id}, [Refusal(stays, told)]) == (pruned.removed, pruned.removal.refused)
    assert (ids_of(made[:2]), []) == (shelf.ids(), shelf.broken())
    assert made[2].archive.id not in shelf.archive_ids()


@pytest.mark.parametrize(("cause", "told"), [(LOCKED, LOCKED), (None, STILL_THERE)])
def test_an_archive_that_stays_is_told_and_the_others_go(
    shelf: Shelf, cause: str | None, told: str
) -> None:
    made = shelf.add_daily(3)
    stays = made[1].archive.key

    stubborn = Stubborn(shelf.store, lambda key: key == stays, cause=cause)
    pruned = prune(shelf.through(stubborn), policy_of(KEEP_ONE))

    assert [Refusal(stays, told)] == pruned.removal.refused
    assert [made[2].archive.key] == [archive.key for archive in pruned.removal.archives]
    assert {made[0].archive.id, made[1].archive.id} == shelf.archive_ids()


def test_what_stayed_goes_once_the_store_deletes_again(shelf: Shelf) -> None:
    made = shelf.add_daily(3)
    prune(shelf.through(Stubborn(shelf.store, lambda _: True)), policy_of(KEEP_ONE))
    everything = shelf.objects()

    prune(shelf, policy_of(KEEP_ONE))

    assert 6 == len(everything)
    assert sorted([made[0].key.key, made[0].archive.key]) == shelf.objects()


def test_nothing_counts_as_freed_that_is_still_there(shelf: Shelf) -> None:
    shelf.add_daily(3)

    stubborn = Stubborn(shelf.store, lambda key: "/archives/" in key)
    removal = prune(shelf.through(stubborn), policy_of(KEEP_ONE)).removal

    assert (2, 0, 0) == (len(removal.backups), removal.archive_count, removal.freed_bytes)


def test_keys_that_may_not_list_uploads_may_prune_all_the_same(shelf: Shelf) -> None:
    made = shelf.add_daily(2)

    def refuse(call: Call) -> None:
        if call.act == "abort_uploads":
            raise StoreError("cannot list unfinished uploads: access denied")

    pruned = prune(shelf.through(Watched(shelf.store, refuse)), policy_of(KEEP_ONE))

    assert {made[1].id} == pruned.removed
    assert ["cannot list unfinished uploads: access denied"] == [
        refusal.cause for refusal in pruned.removal.refused
    ]


def test_keys_that_may_not_delete_lose_nothing(seaweed: SeaweedFS, tmp_path: Path) -> None:
    spec = s3_spec(seaweed)
    shelf = Shelf(open_store(spec), tmp_path)
    made = shelf.add_daily(3)
    before = shelf.objects()

    keeper = open_store(s3_spec(seaweed, identity=NO_DELETE, prefix=spec.prefix))
    pruned = prune(shelf.through(keeper), policy_of(KEEP_ONE))

    assert (set(), before) == (pruned.removed, shelf.objects())
    assert [made[1].key.key, made[2].key.key] == [r.key for r in pruned.removal.refused]


def test_in_a_versioned_bucket_what_goes_is_listed_no_more(
    seaweed: SeaweedFS, tmp_path: Path
) -> None:
    bucket = f"versioned-{tmp_path.name[-20:].replace('_', '-')}"
    client = seaweed.client()
    client.create_bucket(Bucket=bucket)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    shelf = Shelf(open_store(s3_spec(seaweed, bucket=bucket)), tmp_path)
    made = shelf.add_daily(3)

    pruned = prune(shelf, policy_of(KEEP_ONE))
    shelf.now += 2 * DAY
    again = prune(shelf, policy_of(KEEP_ONE))

    assert (set(ids_of(made[1:])), []) == (pruned.removed, pruned.removal.refused)
    assert (set(), []) == (again.removed, shelf.broken())
    assert sorted([made[0].key.key, made[0].archive.key]) == shelf.objects()


def test_a_person_is_told_of_a_sensible_number_of_refusals() -> None:
    removal = Removal(refused=[Refusal(f"key {number}", LOCKED) for number in range(1000)])

    assert 21 == len(removal.complaints)
    assert "nor 980 other objects" == removal.complaints[-1]
