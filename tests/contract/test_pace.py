"""A pace: however many ask, and however much at once, no more passes than was allowed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

from backupd.pace import Pace
from backupd.stores import Store
from backupd.stores.directory import DirectoryStore
from backupd.stores.paced import BLOCK_BYTES, PacedStore
from backupd.stores.s3 import S3Store
from tests.contract.conftest import PART_BYTES, s3_spec
from tests.contract.streams import noise, reader_of
from tests.servers.seaweedfs import SeaweedFS

RATE = 1 << 20


@dataclass
class Clock:
    """Time that passes only by sleeping."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def pace_of(clock: Clock) -> Pace:
    return Pace(RATE, clock=clock, sleep=clock.sleep)


def test_a_stream_takes_as_long_as_its_rate_says() -> None:
    clock = Clock()
    pace = pace_of(clock)

    for _ in range(41):
        pace.wait_for(RATE // 4)

    assert 10.0 == clock.now  # the first block waits for nothing


def test_a_pause_allows_no_burst_afterwards() -> None:
    clock = Clock()
    pace = pace_of(clock)
    pace.wait_for(RATE)
    clock.now += 3600

    for _ in range(3):
        pace.wait_for(RATE)

    assert [1.0, 1.0] == clock.slept


def test_who_comes_while_others_wait_waits_longer() -> None:
    asked: list[float] = []
    pace = Pace(RATE, clock=lambda: 0.0, sleep=asked.append)

    for _ in range(4):
        pace.wait_for(RATE)

    assert [1.0, 2.0, 3.0] == asked


def test_what_a_directory_takes_and_gives_is_the_same_and_no_faster(tmp_path: Path) -> None:
    clock = Clock()
    up, down = pace_of(clock), pace_of(clock)
    store = PacedStore(DirectoryStore(tmp_path / "store"), upload=up, download=down)
    content = noise(10 * RATE + 3)

    store.put("a", reader_of(content), estimate_bytes=len(content))
    upload_seconds = clock.now
    opened = store.open("a")
    pieces = [opened.read(3 * RATE) for _ in range(5)]
    opened.close()

    assert [3 * RATE, 3 * RATE, 3 * RATE, RATE + 3, 0] == [len(piece) for piece in pieces]
    assert content == b"".join(pieces)
    one_block = BLOCK_BYTES / RATE
    for seconds in (upload_seconds, clock.now - upload_seconds):
        assert 10 - one_block <= seconds <= 10 + one_block


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("size_bytes", [PART_BYTES // 2, 3 * PART_BYTES + 1])
def test_every_byte_that_goes_to_a_server_counts_and_all_uploads_together(
    seaweed: SeaweedFS, scheme: str, size_bytes: int
) -> None:
    # A clock that stands still: what the last one was told to wait is the sum of all before it.
    asked: list[float] = []
    pace = Pace(RATE, clock=lambda: 0.0, sleep=asked.append)
    store: Store = S3Store(s3_spec(seaweed, scheme=scheme), pace=pace)
    content = noise(size_bytes)

    def put(key: str) -> int:
        return store.put(key, reader_of(content), estimate_bytes=size_bytes)

    with ThreadPoolExecutor(2) as pool:
        assert [size_bytes] * 2 == list(pool.map(put, ["a", "b"]))

    assert content == store.get_bytes("b", limit_bytes=size_bytes)
    # The checks of https, and what a multipart upload says beside its parts, are small.
    assert 2 * size_bytes - BLOCK_BYTES <= max(asked) * RATE <= 2.02 * size_bytes
    steps = [later - earlier for earlier, later in pairwise(sorted(asked))]
    assert max(steps) * RATE < 2 * BLOCK_BYTES
