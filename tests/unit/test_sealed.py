"""Encrypted backups on a shelf: what is found with their key, with another, and with none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
import zstandard
from pyrage import x25519

from backupd.age import encrypted
from backupd.age_keys import Identities
from backupd.catalog import CONTENT_DIGITS, fingerprint
from backupd.daemon.generation import Generation
from backupd.daemon.runs import Running, Runs
from backupd.errors import DamagedBackup, NoKey
from backupd.history import History
from backupd.manifest import Archive, Manifest
from backupd.policy import Compression, Policy
from backupd.proof import Depth
from backupd.run_record import VERIFY, RunRecord
from backupd.site import Site
from backupd.sources import Survey
from backupd.sources.image import ImageSource
from backupd.verbs.commit import Draft, reuse
from backupd.verbs.examine import Finding, Verdict
from backupd.verbs.sealing import require_key
from backupd.verbs.task import Task
from backupd.verbs.transfer import received
from backupd.verbs.verify import verify
from tests.contract.shelves import DAY, HOST, JOB, NAME, NOW, Shelf
from tests.unit.proven import Ear, add, backup_of, flip, make_shelf, mark, stored_archive, tar_of

KEY = x25519.Identity.generate()
PUBLIC = str(KEY.to_public())
MINE = Identities((KEY,))
STRANGER = x25519.Identity.generate()
OTHER, OTHERS = str(STRANGER.to_public()), Identities((STRANGER,))
NOBODYS = Identities()
TAR = tar_of("content")


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return make_shelf(tmp_path)


def sealed_archive(shelf: Shelf, plain: bytes = TAR, **changes: Any) -> Archive:
    """An encrypted archive in the store, described rightly but for the changes."""
    stored, header = encrypted(zstandard.ZstdCompressor().compress(plain), [PUBLIC])
    encryption = {"format": "age", "recipients": [PUBLIC], "header_sha256": header}
    facts = {"encryption": encryption, **changes}
    return stored_archive(shelf, plain, stored, ".zst.age", **facts)


def add_sealed(shelf: Shelf, plain: bytes = TAR, **changes: Any) -> Manifest:
    return add(shelf, archive=sealed_archive(shelf, plain, **changes))


def examined(shelf: Shelf, identities: Identities, depth: Depth = Depth.DATA) -> Finding:
    site = replace(shelf.site, identities=identities)
    (finding,) = verify(site, site.catalog, site.catalog.backups(), depth, Ear().audience)
    return finding


def read(shelf: Shelf, manifest: Manifest, identities: Identities = MINE) -> bytes:
    site = replace(shelf.site, identities=identities)
    with received(site, shelf.catalog, manifest, lambda _: None) as plain:
        return b"".join(plain)


def test_with_its_key_all_of_it_is_proven(shelf: Shelf) -> None:
    manifest = add_sealed(shelf)

    assert Verdict.PROVEN is examined(shelf, MINE).verdict
    assert {"verified"} == backup_of(shelf, manifest).states


@pytest.mark.parametrize("identities", [NOBODYS, OTHERS])
def test_without_its_key_what_is_stored_is_read_and_no_proof_is_kept(
    shelf: Shelf, identities: Identities
) -> None:
    manifest = add_sealed(shelf)

    finding = examined(shelf, identities)

    assert (Verdict.SEALED, manifest.archive.stored_bytes) == (finding.verdict, finding.read_bytes)
    assert PUBLIC in finding.cause
    assert {"sealed"} == backup_of(shelf, manifest).states


def test_without_a_key_a_flipped_bit_is_found(shelf: Shelf) -> None:
    manifest = add_sealed(shelf, tar_of("much " * 9000))
    flip(shelf, manifest.archive.key)

    assert Verdict.DAMAGED is examined(shelf, NOBODYS).verdict


def test_without_a_key_a_cut_tar_inside_is_not_found_and_with_it_is(shelf: Shelf) -> None:
    add_sealed(shelf, TAR[:1024])

    assert [Verdict.SEALED, Verdict.DAMAGED] == [
        examined(shelf, one).verdict for one in (NOBODYS, MINE)
    ]


def test_without_a_key_no_mark_of_damage_is_taken_away(shelf: Shelf) -> None:
    manifest = add_sealed(shelf)
    mark(shelf, manifest, "damaged", NOW)

    without = examined(shelf, NOBODYS)
    states_without = backup_of(shelf, manifest).states
    whole = examined(shelf, MINE)

    assert (Verdict.DAMAGED, True) == (without.verdict, "damaged" in states_without)
    assert (Verdict.PROVEN, ["verified"]) == (
        whole.verdict,
        [*backup_of(shelf, manifest).states],
    )


def test_a_look_at_the_objects_needs_no_key(shelf: Shelf) -> None:
    add_sealed(shelf)

    assert Verdict.PROVEN is examined(shelf, NOBODYS, Depth.OBJECTS).verdict


@pytest.mark.parametrize("identities", [NOBODYS, OTHERS])
def test_no_byte_comes_without_the_key(shelf: Shelf, identities: Identities) -> None:
    manifest = add_sealed(shelf)

    with pytest.raises(NoKey, match=f"backup {manifest.id} of container web: .*{PUBLIC}"):
        read(shelf, manifest, identities)
    with pytest.raises(NoKey):
        require_key(shelf.catalog, manifest, identities)
    assert read(shelf, manifest) == TAR


def test_an_archive_encrypted_by_someone_else_for_the_same_key_is_not_taken_for_ours(
    shelf: Shelf,
) -> None:
    manifest, other = add_sealed(shelf), sealed_archive(shelf, tar_of("another"))
    path = shelf.directory / "store"
    (path / manifest.archive.key).write_bytes((path / other.key).read_bytes())

    with pytest.raises(DamagedBackup, match=f"backup {manifest.id} is damaged"):
        read(shelf, manifest)


def test_an_object_without_end_is_given_up_at_its_stored_size(shelf: Shelf) -> None:
    """Frames that decoders pass over give no plain byte that could be counted."""
    plain = zstandard.ZstdCompressor().compress(TAR)
    manifest = add(shelf)
    padding = b"\x50\x2a\x4d\x18" + (1 << 22).to_bytes(4, "little") + bytes(1 << 22)
    (shelf.directory / "store" / manifest.archive.key).write_bytes(plain + padding)

    with pytest.raises(DamagedBackup, match=r"more than its \d+ stored bytes"):
        read(shelf, manifest)


def test_a_tar_without_end_inside_is_given_up_at_its_size(shelf: Shelf) -> None:
    manifest = add_sealed(shelf, bytes(1 << 22), size_bytes=1 << 20)

    with pytest.raises(DamagedBackup, match=f"more than its {1 << 20} bytes"):
        read(shelf, manifest)


@pytest.mark.parametrize(
    ("identities", "state", "words"),
    [
        (NOBODYS, "good", "verified 0 of 1 backups, 1 sealed: their stored bytes are right"),
        (OTHERS, "failed", "none of the given identities opens it"),
        (MINE, "good", "verified 1 of 1 backups"),
    ],
)
def test_a_scheduled_verify_never_takes_a_sealed_backup_for_a_proven_one(
    shelf: Shelf, identities: Identities, state: str, words: str
) -> None:
    add_sealed(shelf)

    record = scheduled(shelf, identities)

    assert (state, True) == (record.state, words in record.note), record.note


def scheduled(shelf: Shelf, identities: Identities) -> RunRecord:
    """What the daemon makes of a verify that is due."""
    jobs = {"nightly": {"containers": ["web"]}}
    policy = Policy.model_validate(
        {"jobs": jobs, "verify": {"schedule": "0 6 * * 0", "sample": 100}}
    )

    @contextmanager
    def open_site(_: Policy) -> Iterator[Site]:
        yield replace(shelf.site, identities=identities)

    ended: SimpleQueue[Running] = SimpleQueue()
    runs = Runs(History.open(shelf.state, pytest.fail), ended.put)
    runs.open()
    runs.ask(VERIFY)
    runs.start_waiting(Generation(policy, HOST, open_site))
    record = ended.get(timeout=60).record
    assert record is not None
    return record


def test_a_fingerprint_tells_recipients_apart_and_the_content_all_the_same() -> None:
    marks = [fingerprint("app", "zstd", one) for one in ((), ("a",), ("b",), ("a", "b"))]

    assert 4 == len(set(marks))
    assert {16} == {len(mark) for mark in marks}
    assert 1 == len({mark[:CONTENT_DIGITS] for mark in marks})
    assert fingerprint("app", "zstd", ["b", "a"]) == marks[3]
    assert fingerprint("other", "zstd", ["a"])[:CONTENT_DIGITS] != marks[1][:CONTENT_DIGITS]


@pytest.mark.parametrize(
    ("stored_for", "wanted", "is_reused"),
    [
        ([PUBLIC], [PUBLIC], True),
        ([PUBLIC, OTHER], [OTHER, PUBLIC], True),
        ([PUBLIC], [PUBLIC, OTHER], False),
        ([PUBLIC, OTHER], [PUBLIC], False),
        ([PUBLIC], [], False),
        ([], [PUBLIC], False),
        ([], [], True),
    ],
)
def test_an_archive_serves_again_only_for_the_recipients_that_its_manifest_names(
    shelf: Shelf, stored_for: list[str], wanted: list[str], is_reused: bool
) -> None:
    archive = shelf.add_archive()
    encryption = {"format": "age", "recipients": stored_for, "header_sha256": "0" * 64}
    if stored_for:
        stored = (shelf.directory / "store" / archive.key).read_bytes()
        shelf.store.put_bytes(f"{archive.key}.age", stored)
        changes = {"key": f"{archive.key}.age", "encryption": encryption}
        archive = Archive.model_validate({**archive.model_dump(), **changes})
    earlier = shelf.add(DAY, archive=archive)
    task = Task(JOB, ImageSource(NAME), Compression(), "name", recipients=frozenset(wanted))
    survey = Survey(0, images=earlier.images)

    found = reuse(shelf.site, Draft(shelf.site, task, NOW), survey, [earlier.key])

    assert is_reused is (found is not None)
    assert (2 if is_reused else 1) == len(shelf.catalog.backups())
