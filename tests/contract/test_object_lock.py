"""Object lock on a real server: what is locked until when, and what cannot be removed then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from pydantic import SecretStr

from backupd.errors import StoreError
from backupd.layout import Kind, archive_key, backup_key, host_key, record_key, status_key
from backupd.policy import StoreSpec
from backupd.stores import Refusal
from backupd.stores.s3 import S3Store
from tests.contract.conftest import BUCKET
from tests.contract.locking import DAYS, Locking, locking_at
from tests.contract.shelves import DAY, NOW, Shelf
from tests.contract.sources import FakeImage, back_up
from tests.contract.streams import MIB, noise, reader_of
from tests.contract.watched import Call, Watched
from tests.servers.certificates import Certificates
from tests.servers.odd_s3 import BUCKET as ODD_BUCKET
from tests.servers.odd_s3 import Oddity, OddS3
from tests.servers.seaweedfs import FULL, LOCKER, NO_DELETE, Identity, SeaweedFS

TAKEN = NOW - DAY
ARCHIVE_ID = "0123456789abcdef-0123456789ab"
BACKUP = backup_key(
    "web01",
    "nightly",
    Kind.CONTAINER,
    "db",
    taken_at=TAKEN,
    archive_id=ARCHIVE_ID,
    size_bytes=4,
)
ARCHIVE = archive_key("web01", Kind.CONTAINER, "db", ARCHIVE_ID, ".zst")
RECORD = record_key("web01", Kind.CONTAINER, "db", ARCHIVE_ID)


@pytest.fixture(params=["http", "https"])
def bucket(request: pytest.FixtureRequest, locking: SeaweedFS) -> Locking:
    """The bucket over both schemes."""
    return locking_at(locking, scheme=request.param)


@pytest.mark.parametrize("checksums", ["auto", "when_required"])
def test_what_a_backup_is_made_of_is_locked_for_the_policys_days(
    bucket: Locking, checksums: str
) -> None:
    store = bucket.store(checksums=checksums)
    store.put(ARCHIVE, reader_of(noise(6 * MIB)), estimate_bytes=6 * MIB)
    store.put_bytes(RECORD, b"{}")
    store.put_bytes(BACKUP.key, b"{}")

    since_now, since_taken = NOW + DAY * DAYS, TAKEN + DAY * DAYS
    assert [since_now, since_now, since_taken] == [
        ends_at
        for key in (ARCHIVE, RECORD, BACKUP.key)
        for mode, ends_at in [bucket.retention(key) or ("", None)]
        if mode == "GOVERNANCE"
    ]


@pytest.mark.parametrize(
    "key",
    [
        host_key("web01"),
        status_key("web01"),
        BACKUP.state_key("pinned"),
        "web01/probe/0123456789abcdef",
    ],
    # The manifest's key tells the time; a test must have the same name in every process.
    ids=["host", "status", "state", "probe"],
)
def test_what_is_overwritten_or_removed_in_daily_work_is_not_locked(
    bucket: Locking, key: str
) -> None:
    bucket.store().put_bytes(key, b"")

    assert bucket.retention(key) is None


def test_a_manifest_that_moves_after_its_lock_has_ended_is_not_locked_anew(
    bucket: Locking,
) -> None:
    bucket.store(now=NOW + DAY * DAYS).put_bytes(BACKUP.key, b"{}")

    assert bucket.retention(BACKUP.key) is None


@pytest.mark.parametrize(
    ("mode", "bypassing"), [("governance", False), ("compliance", False), ("compliance", True)]
)
def test_a_locked_version_cannot_be_removed_before_its_time(
    locking: SeaweedFS, mode: str, bypassing: bool
) -> None:
    bucket = locking_at(locking, mode)
    bucket.store().put_bytes(RECORD, b"{}")

    with pytest.raises(ClientError, match="AccessDenied"):
        bucket.remove_version(RECORD, bypassing=bypassing)

    assert 1 == len(bucket.versions(RECORD))


def test_a_lock_in_governance_mode_can_be_passed_over_by_who_may(locking: SeaweedFS) -> None:
    bucket = locking_at(locking)
    bucket.store().put_bytes(RECORD, b"{}")

    bucket.remove_version(RECORD, bypassing=True)

    assert [] == bucket.versions(RECORD)


def test_a_lock_is_extended_to_that_of_what_is_written_now(bucket: Locking) -> None:
    bucket.store().put_bytes(RECORD, b"{}")

    refusal = bucket.store(now=NOW + DAY * 5).extend_lock(RECORD)

    assert (None, ("GOVERNANCE", NOW + DAY * (DAYS + 5))) == (refusal, bucket.retention(RECORD))


def test_a_lock_that_ends_later_still_is_left_as_it_is(bucket: Locking) -> None:
    bucket.store().put_bytes(RECORD, b"{}")

    refusal = bucket.store(days=1).extend_lock(RECORD)

    assert (None, ("GOVERNANCE", NOW + DAY * DAYS)) == (refusal, bucket.retention(RECORD))


def test_a_weaker_lock_that_cannot_be_made_stronger_does_not_do(locking: SeaweedFS) -> None:
    bucket = locking_at(locking)
    bucket.store().put_bytes(RECORD, b"{}")
    stricter = replace(
        bucket, spec=locking_at(locking, "compliance", prefix=bucket.spec.prefix).spec
    )

    refusal = stricter.store(now=NOW + DAY).extend_lock(RECORD)

    assert refusal is not None
    assert RECORD == refusal.key


def test_keys_that_may_not_extend_a_lock_are_told_which_right_is_missing(
    bucket: Locking,
) -> None:
    bucket.store().put_bytes(RECORD, b"{}")

    refusal = bucket.as_identity(NO_DELETE).store(now=NOW + DAY).extend_lock(RECORD)

    assert refusal is not None
    assert "s3:PutObjectRetention" in refusal.cause
    assert ("GOVERNANCE", NOW + DAY * DAYS) == bucket.retention(RECORD)


def test_an_object_that_is_gone_cannot_be_locked(bucket: Locking) -> None:
    refusal = bucket.store().extend_lock(RECORD)

    assert refusal is not None


def test_a_bucket_without_lock_refuses_and_the_sentence_says_so(locking: SeaweedFS) -> None:
    store = locking_at(locking, bucket=BUCKET).store()

    for write in (
        lambda: store.put_bytes(RECORD, b"{}"),
        lambda: store.put(ARCHIVE, reader_of(noise(6 * MIB)), estimate_bytes=6 * MIB),
    ):
        with pytest.raises(StoreError, match="does the bucket have object lock"):
            write()
    assert [] == list(store.list(""))


def test_keys_that_may_write_and_not_lock_are_told_which_right_is_missing(bucket: Locking) -> None:
    store = bucket.as_identity(NO_DELETE).store()

    with pytest.raises(StoreError, match="s3:PutObjectRetention"):
        store.put_bytes(RECORD, b"{}")


@contextmanager
def amazon_like(certificates: Certificates | None, checksums: str) -> Iterator[S3Store]:
    """A store of a server that takes nothing that is to be locked without a checksum."""
    with OddS3(Oddity.LOCKS_NEED_CHECKSUM, certificates=certificates) as server:
        spec = {
            "url": f"s3://{ODD_BUCKET}/p",
            "endpoint": server.endpoint,
            "ca_bundle": certificates.authority if certificates else None,
            "checksums": checksums,
            "part_size": "5MiB",
            "access_key": SecretStr("key"),
            "secret_key": SecretStr("secret"),
            "object_lock": {"mode": "compliance", "days": 1},
        }
        yield S3Store(StoreSpec.model_validate(spec), attempts=2)


@pytest.mark.parametrize("checksums", ["when_supported", "when_required"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_whatever_is_to_be_locked_carries_a_checksum(
    certificates: Certificates, scheme: str, checksums: str
) -> None:
    content = noise(6 * MIB)
    with amazon_like(certificates if scheme == "https" else None, checksums) as store:
        store.put_bytes(RECORD, b"{}")
        store.put(ARCHIVE, reader_of(content), estimate_bytes=6 * MIB)

        assert b"{}" == store.get_bytes(RECORD, limit_bytes=9)
        assert content == store.get_bytes(ARCHIVE, limit_bytes=9 * MIB)


IMAGE, AGAIN = FakeImage("app:1"), FakeImage("app:2")
"""Two tags of one image."""


def reused(
    bucket: Locking, directory: Path, *, identity: Identity = FULL
) -> tuple[Shelf, Any, Any]:
    """A backup, and five days later one of the same image with those keys."""
    first = Shelf(bucket.store(), directory)
    before = back_up(first, IMAGE).manifest
    later = replace(first, now=NOW + DAY * 5)
    store = bucket.as_identity(identity).store(now=later.now)
    return later, before, back_up(later.through(store), AGAIN)


def test_a_reused_archive_is_locked_as_long_as_its_youngest_manifest(
    bucket: Locking, tmp_path: Path
) -> None:
    _, before, outcome = reused(bucket, tmp_path, identity=LOCKER)

    manifest = outcome.manifest
    assert (True, before.archive.key) == (manifest.reused, manifest.archive.key)
    ends = [bucket.retention(key) for key in (manifest.archive.key, manifest.key.key)]
    assert [("GOVERNANCE", NOW + DAY * (DAYS + 5))] * 2 == ends


def test_the_lock_is_extended_before_the_manifest_is_there(bucket: Locking, tmp_path: Path) -> None:
    shelf = Shelf(bucket.store(), tmp_path)
    back_up(shelf, IMAGE)
    calls: list[Call] = []
    back_up(replace(shelf.through(Watched(shelf.store, calls.append)), now=NOW + DAY), AGAIN)

    acts = [call.act for call in calls if call.act in {"extend_lock", "put_bytes"}]
    assert ["extend_lock", "put_bytes"] == acts[-2:]


class Unextendable(Watched):
    """A store whose server lets no lock grow."""

    def extend_lock(self, key: str) -> Refusal | None:
        return Refusal(key, "no")


def test_where_the_lock_cannot_be_extended_the_image_is_uploaded_anew_and_that_is_said_once(
    bucket: Locking, tmp_path: Path
) -> None:
    shelf = Shelf(bucket.store(), tmp_path)
    before = back_up(shelf, IMAGE).manifest
    later = replace(shelf, now=NOW + DAY)

    outcome = back_up(later.through(Unextendable(later.store, lambda call: None)), AGAIN)

    assert before is not None
    assert outcome.manifest is not None
    assert not outcome.manifest.reused
    assert before.archive.key != outcome.manifest.archive.key
    (warning,) = outcome.manifest.warnings
    assert f"the lock of {before.archive.key} could not be extended: no" in warning
    assert ([], 2) == (later.broken(), len(later.ids()))


def test_keys_that_can_only_write_and_lock_back_up_wholly(bucket: Locking, tmp_path: Path) -> None:
    shelf = Shelf(bucket.as_identity(LOCKER).store(), tmp_path)

    outcome = back_up(shelf, IMAGE)

    assert (None, []) == (outcome.error, shelf.broken())


def test_a_lock_is_as_long_as_it_says(locking: SeaweedFS) -> None:
    assert timedelta(days=DAYS) == locking_at(locking).store().locked_for
