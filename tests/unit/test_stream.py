"""Blocks, the outgoing archive and the verified way back."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backupd.codec import compressor, decompressed
from backupd.errors import ArchiveBroken, DamagedBackup
from backupd.stream import ArchiveReader, chunks_of, rebuffered, verified
from backupd.tar import TarWalk
from tests.unit.image_tars import sha256, tar_of

CHUNKS = st.lists(st.binary(max_size=300), max_size=30)
TAR = tar_of({"noise": hashlib.shake_256(b"noise").digest(300_000), "text": b"again " * 50_000})
METHODS = ["zstd", "gzip", "none"]


class AnythingGoes:
    """A check that passes whatever comes."""

    def feed(self, chunk: bytes, /) -> None: ...

    def finish(self) -> None: ...


def pieces(data: bytes, size: int = 10_000) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


@given(chunks=CHUNKS, size=st.integers(1, 500))
def test_rebuffered_blocks_are_the_same_bytes_and_large_enough(
    chunks: list[bytes], size: int
) -> None:
    blocks = list(rebuffered(chunks, size))

    assert b"".join(chunks) == b"".join(blocks)
    assert all(len(block) >= size for block in blocks[:-1])
    assert all(blocks)


def test_a_large_chunk_is_passed_on_as_it_is() -> None:
    chunk = bytes(5000)

    assert next(rebuffered([chunk], 5000)) is chunk


def test_the_pieces_of_a_reader_are_its_bytes() -> None:
    assert [b"abc", b"de"] == list(chunks_of(io.BytesIO(b"abcde"), 3))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [1 << 10, 65_537, 1 << 22])
def test_parts_are_exact_until_the_last(method: str, size: int) -> None:
    reader = ArchiveReader(pieces(TAR), TarWalk(), compressor(method, 3))

    parts = list(chunks_of(reader, size))

    assert {size} >= {len(part) for part in parts[:-1]}
    assert TAR == b"".join(decompressed(parts, method))
    assert b"" == reader.read(size)


@given(chunks=CHUNKS, sizes=st.lists(st.integers(1, 400), min_size=1, max_size=9))
def test_reads_of_any_size_are_exact(chunks: list[bytes], sizes: list[int]) -> None:
    reader = ArchiveReader(iter(chunks), AnythingGoes(), compressor("none", 0))
    left = b"".join(chunks)
    turn = 0
    while left:
        size = sizes[turn % len(sizes)]
        turn += 1

        assert left[:size] == reader.read(size)
        left = left[size:]
    assert b"" == reader.read(1)


@pytest.mark.parametrize("method", METHODS)
def test_sizes_and_digests_are_known_at_the_end(method: str) -> None:
    reader = ArchiveReader(pieces(TAR), TarWalk(), compressor(method, 3))

    stored = b"".join(chunks_of(reader, 1 << 16))

    assert (len(TAR), sha256(TAR)) == (reader.size_bytes, reader.sha256)
    assert (len(stored), sha256(stored)) == (reader.stored_bytes, reader.stored_sha256)


def test_no_digest_is_given_before_the_end() -> None:
    reader = ArchiveReader(pieces(TAR), TarWalk(), compressor("none", 0))
    reader.read(1000)

    assert ("", "") == (reader.sha256, reader.stored_sha256)


@pytest.mark.parametrize("method", METHODS)
def test_a_broken_tar_raises_before_the_last_stored_bytes(method: str) -> None:
    broken = TAR[:300_544]  # to be read in parts of 512 without a rest
    whole = ArchiveReader(pieces(broken), AnythingGoes(), compressor(method, 3))
    expected = b"".join(chunks_of(whole, 512))
    reader = ArchiveReader(pieces(broken), TarWalk(), compressor(method, 3))
    parts: list[bytes] = []

    with pytest.raises(ArchiveBroken):
        parts.extend(chunks_of(reader, 512))

    stored = b"".join(parts)
    assert stored == expected[: len(stored)]
    assert len(stored) < len(expected)


def test_one_read_for_everything_raises_for_a_broken_tar() -> None:
    reader = ArchiveReader(pieces(TAR[:-10_240]), TarWalk(), compressor("none", 0))

    with pytest.raises(ArchiveBroken):
        reader.read(1 << 30)


def test_an_error_of_the_source_comes_out_of_read_as_itself() -> None:
    def breaking() -> Iterator[bytes]:
        yield TAR[:1000]
        raise ConnectionError("reset")

    reader = ArchiveReader(breaking(), TarWalk(), compressor("zstd", 3))

    with pytest.raises(ConnectionError, match="reset"):
        reader.read(1 << 20)


def test_progress_is_told_in_plain_bytes() -> None:
    told: list[int] = []
    reader = ArchiveReader(
        pieces(TAR, 100_000), TarWalk(), compressor("zstd", 3), on_progress=told.append
    )

    reader.read(1 << 30)

    assert [*range(100_000, len(TAR), 100_000), len(TAR)] == told


def back(chunks: Iterable[bytes], data: bytes, hold_back_bytes: int = 100) -> Iterator[bytes]:
    return verified(
        chunks,
        size_bytes=len(data),
        sha256=sha256(data),
        hold_back_bytes=hold_back_bytes,
        what="backup 7",
    )


@given(chunks=CHUNKS, hold=st.integers(0, 500))
def test_right_bytes_come_through_whole(chunks: list[bytes], hold: int) -> None:
    data = b"".join(chunks)

    assert data == b"".join(back(chunks, data, hold))


@given(chunks=CHUNKS, hold=st.integers(1, 500), flip=st.integers(0, 10_000))
def test_the_end_of_wrong_bytes_never_comes(chunks: list[bytes], hold: int, flip: int) -> None:
    data = b"".join(chunks)
    if not data:
        return
    position = flip % len(data)
    wrong = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
    out: list[bytes] = []

    with pytest.raises(DamagedBackup, match="backup 7 is damaged: its SHA-256"):
        out.extend(back(chunks, wrong, hold))

    assert len(b"".join(out)) <= max(0, len(data) - hold)


def test_short_input_raises_and_keeps_its_tail() -> None:
    data = bytes(range(250))
    out: list[bytes] = []

    with pytest.raises(DamagedBackup, match="ends after 249 of its 250 bytes"):
        out.extend(back(pieces(data[:-1], 10), data))

    assert data[: len(b"".join(out))] == b"".join(out)
    assert len(b"".join(out)) <= 149


def test_too_many_bytes_raise_at_the_first_of_them() -> None:
    # A stored object that expands without end must not be read to its end.
    def endless() -> Iterator[bytes]:
        for _ in range(1000):
            yield bytes(100)
        pytest.fail("read on")

    with pytest.raises(DamagedBackup, match="more than its 250 bytes"):
        list(back(endless(), bytes(250)))


def test_nothing_where_something_was_promised_is_damage() -> None:
    with pytest.raises(DamagedBackup, match="ends after 0 of its 3 bytes"):
        list(back([], b"abc"))


def test_no_empty_piece_comes_out() -> None:
    assert [b"ab", b"c"] == list(back([b"", b"ab", b"", b"c", b""], b"abc"))


def test_pieces_are_released_as_soon_as_enough_is_held() -> None:
    data = bytes(1000)
    taken: list[int] = []

    def counting() -> Iterator[bytes]:
        for chunk in pieces(data, 10):
            taken.append(len(chunk))
            yield chunk

    next(back(counting(), data))

    assert 110 == sum(taken)


def test_one_whole_way_out_and_back() -> None:
    reader = ArchiveReader(rebuffered(pieces(TAR), 1 << 16), TarWalk(), compressor("zstd", 3))
    stored = list(chunks_of(reader, 1 << 17))

    plain = verified(
        decompressed(stored, "zstd"),
        size_bytes=reader.size_bytes,
        sha256=reader.sha256,
        what="backup 7",
    )

    assert hashlib.sha256(TAR).digest() == hashlib.sha256(b"".join(plain)).digest()
