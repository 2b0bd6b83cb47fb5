"""Uploads to S3: how streams are cut, what is held in memory, and what failures leave behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from signal import SIGINT, pthread_kill
from threading import Condition, Event, Thread, get_ident

import pytest
from pydantic import SecretStr

from backupd.errors import PartsExhausted, StoreError
from backupd.policy import StoreSpec
from backupd.stores.s3 import S3Store
from backupd.stores.s3_upload import HELD_LIMIT_BYTES, plan_upload, transfer_config
from tests.contract.conftest import PART_BYTES, Bench, s3_spec
from tests.contract.streams import MIB, Endless, Failing, noise, reader_of
from tests.servers.odd_s3 import BUCKET, Oddity, OddS3
from tests.servers.seaweedfs import NO_DELETE, SeaweedFS

GB = 10**9
KEY = "host/archives/image/a/1.tar"


def odd_store(server: OddS3, *, part_size: int | None = PART_BYTES, uploads: int = 3) -> S3Store:
    return S3Store(
        StoreSpec(
            url=f"s3://{BUCKET}",
            endpoint=server.endpoint,
            part_size=part_size,
            uploads=uploads,
            access_key=SecretStr("key"),
            secret_key=SecretStr("secret"),
        ),
        attempts=1,
    )


@pytest.fixture
def odd() -> Iterator[OddS3]:
    with OddS3() as server:
        yield server


@pytest.mark.parametrize("estimate_bytes", [0, 1, 10 * GB, 100 * GB, 300 * GB, 375 * GB])
def test_up_to_300_gb_with_room_to_spare_parts_fit_into_memory(estimate_bytes: int) -> None:
    plan = plan_upload(estimate_bytes)

    assert plan.held_bytes <= HELD_LIMIT_BYTES == 80 * MIB


@pytest.mark.parametrize("estimate_bytes", [1 * GB, 145 * GB, 300 * GB, 5_000 * GB, 40_000 * GB])
def test_an_estimate_that_is_a_little_too_low_still_fits(estimate_bytes: int) -> None:
    plan = plan_upload(estimate_bytes)

    assert plan.limit_bytes >= estimate_bytes * 1.02
    assert plan.part_size_bytes % MIB == 0


def test_a_server_that_takes_fewer_parts_gets_larger_ones() -> None:
    plan = plan_upload(300 * GB, parts_limit=1000)

    assert (292 * MIB, 1) == (plan.part_size_bytes, plan.parallel)


def test_the_part_size_of_the_policy_wins() -> None:
    assert plan_upload(300 * GB, part_size_bytes=64 * MIB).part_size_bytes == 64 * MIB


def test_s3transfer_is_told_to_hold_no_more_than_planned() -> None:
    config = transfer_config(plan_upload(1 * GB, parallel=3))

    assert (3, 1, 3, 16 * MIB, 16 * MIB) == (
        config.max_in_memory_upload_chunks,
        config.max_submission_concurrency,
        config.max_request_concurrency,
        config.multipart_threshold,
        config.multipart_chunksize,
    )


@dataclass
class Gauge:
    """A reader that knows how much of what it gave has not been acknowledged yet."""

    server: OddS3
    rest_bytes: int
    taken_bytes: int = 0
    most_held_bytes: int = 0
    moved: Condition = field(default_factory=Condition)

    def read(self, size: int, /) -> bytes:
        data = bytes(min(size, self.rest_bytes))
        with self.moved:
            self.rest_bytes -= len(data)
            self.taken_bytes += len(data)
            held = self.taken_bytes - self.server.acknowledged_bytes
            self.most_held_bytes = max(self.most_held_bytes, held)
            self.moved.notify_all()
        return data

    def wait_until_taken(self, bytes_: int) -> None:
        with self.moved:
            assert self.moved.wait_for(lambda: self.taken_bytes >= bytes_, timeout=60)


def test_a_slow_server_holds_the_source_back(odd: OddS3) -> None:
    gauge = Gauge(odd, 12 * PART_BYTES)
    # No part is answered before as many were read as may be held.
    odd.before_part_answer = lambda: gauge.wait_until_taken(3 * PART_BYTES)

    odd_store(odd, uploads=2).put(KEY, gauge, estimate_bytes=1)

    assert 3 * PART_BYTES == gauge.most_held_bytes


def test_a_small_archive_takes_one_request_and_a_look(odd: OddS3) -> None:
    store = odd_store(odd, part_size=None)

    store.put(KEY, reader_of(noise(15 * MIB)), estimate_bytes=20 * MIB)

    assert [f"PUT /{KEY}", f"HEAD /{KEY}"] == odd.requests


def test_all_parts_but_the_last_have_one_size(odd: OddS3) -> None:
    data = noise(4 * PART_BYTES + 5)

    odd_store(odd).put(KEY, reader_of(data), estimate_bytes=1)

    sizes = [odd.part_sizes[number] for number in range(1, 6)]
    assert [PART_BYTES] * 4 + [5] == sizes
    assert data == odd.objects[KEY]


def test_an_estimate_that_was_too_low_says_so_and_leaves_nothing(
    s3: Bench, seaweed: SeaweedFS
) -> None:
    store = S3Store(s3_spec(seaweed, prefix=s3.store.url.rpartition("/")[2]), parts_limit=2)

    with pytest.raises(PartsExhausted, match="2 parts of 5242880 bytes cannot carry"):
        store.put(KEY, reader_of(noise(2 * PART_BYTES + 1)), estimate_bytes=1)

    assert ([], []) == (s3.objects(), s3.unfinished())


def test_as_much_as_the_parts_can_carry_fits(s3: Bench, seaweed: SeaweedFS) -> None:
    store = S3Store(s3_spec(seaweed, prefix=s3.store.url.rpartition("/")[2]), parts_limit=2)

    stored_bytes = store.put(KEY, reader_of(noise(2 * PART_BYTES)), estimate_bytes=1)

    assert 2 * PART_BYTES == stored_bytes


def test_a_refused_part_ends_the_reading() -> None:
    source = Endless()

    with (
        OddS3(Oddity.REFUSES_PARTS) as server,
        pytest.raises(StoreError, match=f"cannot write s3://{BUCKET}/{KEY}: .* s3:PutObject"),
    ):
        odd_store(server).put(KEY, source, estimate_bytes=1)

    assert {} == server.uploads
    assert source.taken_bytes < 100 * PART_BYTES


def test_an_abort_that_fails_is_noted_on_the_error_and_hides_nothing() -> None:
    error = OSError("the source broke")

    with OddS3(Oddity.REFUSES_ABORT) as server, pytest.raises(OSError, match="broke") as caught:
        odd_store(server).put(KEY, Failing(3 * PART_BYTES, error), estimate_bytes=1)

    assert error is caught.value
    assert [f"the unfinished upload of s3://{BUCKET}/{KEY} could not be aborted"] == [
        note.partition(";")[0] for note in error.__notes__
    ]


class Silent:
    """A reader that falls silent after two parts, and says when it has."""

    def __init__(self) -> None:
        self.is_silent = Event()
        self._left = 2 * PART_BYTES

    def read(self, size: int, /) -> bytes:
        if not self._left:
            self.is_silent.set()
            Event().wait(120)
        self._left -= size
        return bytes(size)


def test_ctrl_c_while_the_source_is_silent_aborts_the_upload(odd: OddS3) -> None:
    source, main = Silent(), get_ident()

    def interrupt() -> None:
        source.is_silent.wait(60)
        pthread_kill(main, SIGINT)

    Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        odd_store(odd).put(KEY, source, estimate_bytes=1)

    assert ({}, {}) == (odd.uploads, odd.objects)


def test_the_size_comes_from_the_server_and_not_from_the_sender() -> None:
    with OddS3(Oddity.SHRINKS) as server:
        stored_bytes = odd_store(server).put(KEY, reader_of(b"12345"), estimate_bytes=5)

    assert stored_bytes == 4


def test_keys_that_may_not_delete_still_write(seaweed: SeaweedFS) -> None:
    store = S3Store(s3_spec(seaweed, scheme="https", identity=NO_DELETE))

    stored_bytes = store.put(KEY, reader_of(noise(2 * PART_BYTES)), estimate_bytes=1)

    assert (2 * PART_BYTES, [KEY]) == (stored_bytes, [entry.key for entry in store.list("")])


def test_the_storage_class_is_that_of_the_policy(seaweed: SeaweedFS) -> None:
    spec = s3_spec(seaweed).model_copy(update={"storage_class": "STANDARD_IA"})
    client = seaweed.client()

    S3Store(spec).put(KEY, reader_of(b"content"), estimate_bytes=1)

    answer = client.head_object(Bucket=spec.bucket, Key=f"{spec.prefix}/{KEY}")
    assert "STANDARD_IA" == answer.get("StorageClass")
