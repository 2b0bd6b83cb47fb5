"""What a verify finds of backups, and what it keeps of that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from backupd.errors import StoreError
from backupd.manifest import Manifest
from backupd.proof import Depth
from backupd.stores import ClosableReader
from backupd.stores.directory import DirectoryStore
from backupd.verbs.examine import FEW, Verdict
from backupd.verbs.proofs import SourceProof, known_proofs, remember
from backupd.verbs.verify import sampled
from tests.contract.shelves import DAY, NOW, Shelf
from tests.unit.proven import (
    CONTAINER,
    Ear,
    add,
    archive_of,
    backup_of,
    flip,
    look,
    make_shelf,
    mark,
    tar_of,
)

Harm = Callable[[Shelf, Manifest], object]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return make_shelf(tmp_path)


def path_of(shelf: Shelf, key: str) -> Path:
    return shelf.directory / "store" / key


def record_path(shelf: Shelf, manifest: Manifest) -> Path:
    assert manifest.record is not None
    return path_of(shelf, manifest.record.key)


def shorten(shelf: Shelf, manifest: Manifest) -> None:
    path = path_of(shelf, manifest.archive.key)
    path.write_bytes(path.read_bytes()[:-1])


VISIBLE: dict[str, tuple[Harm, str]] = {
    "no archive": (lambda s, m: path_of(s, m.archive.key).unlink(), "is missing from"),
    "a shorter archive": (shorten, "were stored"),
    "no record": (lambda s, m: record_path(s, m).unlink(), "record of inspect"),
    "another record": (lambda s, m: record_path(s, m).write_bytes(b"[]"), "not the one"),
    "no manifest at all": (
        lambda s, m: path_of(s, m.key.key).write_bytes(b"{}"),
        "cannot read the manifest",
    ),
}


@pytest.mark.parametrize("depth", Depth)
@pytest.mark.parametrize("harm", VISIBLE)
def test_what_a_look_at_the_objects_shows_is_damage(harm: str, depth: Depth, shelf: Shelf) -> None:
    manifest = add(shelf)
    do, words = VISIBLE[harm]
    do(shelf, manifest)

    [finding] = look(shelf, depth)

    assert (Verdict.DAMAGED, True) == (finding.verdict, words in finding.cause), finding.cause
    assert "damaged" in backup_of(shelf, manifest).states


def test_a_flipped_bit_is_found_by_reading_alone(shelf: Shelf) -> None:
    manifest = add(shelf)
    flip(shelf, manifest.archive.key)

    assert [Verdict.PROVEN] == [finding.verdict for finding in look(shelf, Depth.OBJECTS)]
    [finding] = look(shelf)

    assert Verdict.DAMAGED is finding.verdict
    assert f"backup {manifest.id} is damaged" in finding.cause


def test_a_tar_that_is_cut_inside_is_damage_though_every_digest_fits(shelf: Shelf) -> None:
    add(shelf, archive=archive_of(shelf, tar_of("content")[:1024]))

    [finding] = look(shelf)

    assert (Verdict.DAMAGED, True) == (finding.verdict, "zero blocks" in finding.cause)


def test_stored_bytes_of_another_digest_are_damage_though_the_tar_in_them_fits(
    shelf: Shelf,
) -> None:
    add(shelf, archive=archive_of(shelf, tar_of("content"), stored_sha256="0" * 64))

    [finding] = look(shelf)

    assert (Verdict.DAMAGED, True) == (finding.verdict, "stored bytes" in finding.cause)


@pytest.mark.parametrize(("depth", "proof"), [(Depth.OBJECTS, "checked"), (Depth.DATA, "verified")])
def test_a_good_backup_keeps_how_it_was_proven(depth: Depth, proof: str, shelf: Shelf) -> None:
    manifest = add(shelf)

    assert [Verdict.PROVEN] == [finding.verdict for finding in look(shelf, depth)]
    assert {proof} == set(backup_of(shelf, manifest).proofs)


def test_a_proof_is_dated_anew_each_time(shelf: Shelf) -> None:
    manifest = add(shelf)
    mark(shelf, manifest, "verified", NOW - 9 * DAY)

    look(shelf)

    assert backup_of(shelf, manifest).proofs["verified"] > NOW - DAY


def test_only_a_whole_read_takes_the_mark_of_damage_away(shelf: Shelf) -> None:
    manifest = add(shelf, states=["damaged"])

    [glance] = look(shelf, Depth.OBJECTS)
    after_a_glance = set(backup_of(shelf, manifest).states)
    look(shelf)

    assert (Verdict.DAMAGED, {"damaged"}) == (glance.verdict, after_a_glance)
    assert "verify" in glance.cause
    assert {"verified"} == backup_of(shelf, manifest).states


class CountingStore(DirectoryStore):
    """Counts how often each object is read as a stream."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.opened: list[str] = []

    def open(self, key: str) -> ClosableReader:
        self.opened.append(key)
        return super().open(key)


def test_an_archive_that_several_backups_name_is_read_once(shelf: Shelf) -> None:
    first = add(shelf, DAY)
    add(shelf, archive=first.archive)
    store = CountingStore(shelf.directory / "store")

    findings = look(shelf.through(store))

    assert [Verdict.PROVEN] * 2 == [finding.verdict for finding in findings]
    assert [first.archive.key] == store.opened


def test_damage_is_told_of_every_backup_that_names_the_archive(shelf: Shelf) -> None:
    first = add(shelf, DAY)
    second = add(shelf, archive=first.archive)
    flip(shelf, first.archive.key)

    causes = [finding.cause for finding in look(shelf)]

    assert [True, True] == [
        f"backup {one.id} is damaged: " in cause
        for one, cause in zip((first, second), causes, strict=True)
    ]


class PrunedMeanwhile(DirectoryStore):
    """Loses each backup as soon as its manifest was read, manifest first, as a prune does."""

    def get_bytes(self, key: str, *, limit_bytes: int) -> bytes:
        data = super().get_bytes(key, limit_bytes=limit_bytes)
        if "/backups/" in key:
            self.delete([key])
            self.delete([entry.key for entry in self.list("web01/archives/")])
        return data


@pytest.mark.parametrize("depth", Depth)
def test_a_backup_that_goes_meanwhile_is_not_damaged(depth: Depth, shelf: Shelf) -> None:
    add(shelf)
    losing = shelf.through(PrunedMeanwhile(shelf.directory / "store"))

    assert [Verdict.GONE] == [finding.verdict for finding in look(losing, depth)]
    assert [] == shelf.objects()


class RefusingStore(DirectoryStore):
    """Refuses to read, or to write, the keys that have one of these texts in them."""

    def __init__(self, root: Path, *, reads: tuple[str, ...] = (), writes: str = "-") -> None:
        super().__init__(root)
        self._reads, self._writes = reads, writes

    def open(self, key: str) -> ClosableReader:
        self._refuse(key)
        return super().open(key)

    def get_bytes(self, key: str, *, limit_bytes: int) -> bytes:
        self._refuse(key)
        return super().get_bytes(key, limit_bytes=limit_bytes)

    def put_bytes(self, key: str, data: bytes) -> None:
        if key.endswith(self._writes):
            raise StoreError("the keys may not write")
        super().put_bytes(key, data)

    def _refuse(self, key: str) -> None:
        if any(text in key for text in self._reads):
            raise StoreError("the storage class has to be thawed first")


def test_an_object_out_of_reach_is_no_damage_and_the_others_go_on(shelf: Shelf) -> None:
    frozen, good = add(shelf, DAY), add(shelf)
    store = RefusingStore(shelf.directory / "store", reads=(frozen.archive.id + ".tar",))

    findings = look(shelf.through(store))

    assert [Verdict.UNREAD, Verdict.PROVEN] == [finding.verdict for finding in findings]
    assert "has to be thawed" in findings[0].cause
    assert [set(), {"verified"}] == [set(backup_of(shelf, m).states) for m in (frozen, good)]


class FailingStore(RefusingStore):
    """Answers until the first manifest is asked for."""

    def get_bytes(self, key: str, *, limit_bytes: int) -> bytes:
        if "/backups/" in key:
            self._reads = ("",)
        return super().get_bytes(key, limit_bytes=limit_bytes)


def test_a_store_that_fails_altogether_ends_the_verify(shelf: Shelf) -> None:
    add(shelf, DAY)
    add(shelf)

    with pytest.raises(StoreError):
        look(shelf.through(FailingStore(shelf.directory / "store")))


def test_keys_that_may_not_write_verify_all_the_same_and_say_so_once(shelf: Shelf) -> None:
    add(shelf, DAY)
    add(shelf)
    ear = Ear()

    store = RefusingStore(shelf.directory / "store", writes=".verified")
    findings = look(shelf.through(store), ear=ear)

    assert [Verdict.PROVEN] * 2 == [finding.verdict for finding in findings]
    assert 1 == len(ear.notes)
    assert "may not write" in ear.notes[0]


def test_nothing_is_written_below_another_machines_prefix(shelf: Shelf) -> None:
    manifest = add(shelf)
    flip(shelf, manifest.archive.key)
    before = shelf.objects()

    [finding] = look(replace(shelf, machine="another"))

    assert (Verdict.DAMAGED, before) == (finding.verdict, shelf.objects())


def test_many_archives_are_listed_and_a_missing_one_is_found_among_them(shelf: Shelf) -> None:
    made = [add(shelf, DAY * number) for number in range(FEW + 1)]
    path_of(shelf, made[3].archive.key).unlink()

    findings = look(shelf, Depth.OBJECTS)

    assert [made[3].id] == [
        finding.backup.id for finding in findings if finding.verdict is not Verdict.PROVEN
    ]


def test_a_sample_has_all_whose_archives_are_not_listed(shelf: Shelf) -> None:
    made = [add(shelf, DAY * number) for number in range(9)]
    path_of(shelf, made[8].archive.key).unlink()

    found = sampled(shelf.catalog, shelf.catalog.backups(), 10, Depth.DATA)

    assert [made[8].id, made[0].id] == [backup.id for backup in found]


def test_what_was_proven_last_is_known_without_the_store(shelf: Shelf) -> None:
    old, new = add(shelf, DAY), add(shelf)
    mark(shelf, new, "verified", NOW - 3 * DAY)
    mark(shelf, old, "drilled", NOW - 2 * DAY)
    shelf.add(name="app:1")

    remember(shelf.state, shelf.catalog.backups())

    assert [
        SourceProof("nightly", "image", "app:1"),
        SourceProof("nightly", "container", CONTAINER, NOW - 2 * DAY, "drilled", old.id),
    ] == known_proofs(shelf.state)


@pytest.mark.parametrize("text", ["", "{}", "[1]", "[{}]", '[{"proven_at": "noon"}]'])
def test_a_file_of_proofs_that_is_not_ours_tells_nothing(shelf: Shelf, text: str) -> None:
    shelf.state.write("proofs.json", text.encode())

    assert [] == known_proofs(shelf.state)
