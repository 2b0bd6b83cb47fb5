"""Compression there and back, and what must not pass for a stored archive on the way back."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from backupd.codec import LARGEST_PIECE_BYTES, compressor, decompressed, sniffed, suffix
from backupd.errors import DamagedBackup
from tests.unit.image_tars import tar_of

METHODS = ["zstd", "gzip", "none"]
LEVELS = {"zstd": 3, "gzip": 6, "none": 0}
BY_OTHERS: dict[str, Callable[[bytes], bytes]] = {
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}
PACKED = sorted(BY_OTHERS)
SAMPLE = hashlib.shake_256(b"noise").digest(3000) + b"again and again " * 30_000


def packed(data: bytes, method: str) -> bytes:
    encoder = compressor(method, LEVELS[method])
    return encoder.compress(data) + encoder.flush()


def plain(data: bytes, method: str, size: int = 70_000) -> bytes:
    chunks = [data[start : start + size] for start in range(0, len(data), size)]
    return b"".join(decompressed(chunks, method))


@pytest.mark.parametrize("method", METHODS)
def test_what_was_compressed_comes_back(method: str) -> None:
    assert SAMPLE == plain(packed(SAMPLE, method), method)
    assert b"" == plain(packed(b"", method), method)


@pytest.mark.parametrize("method", METHODS)
@given(data=st.binary(max_size=5000), size=st.integers(1, 600))
def test_any_bytes_come_back_however_they_are_cut(method: str, data: bytes, size: int) -> None:
    assert data == plain(packed(data, method), method, size)


@pytest.mark.parametrize("method", PACKED)
def test_what_the_standard_tools_compressed_is_read(method: str) -> None:
    assert SAMPLE == plain(BY_OTHERS[method](SAMPLE), method)


def test_the_standard_tools_read_what_was_compressed() -> None:
    decoder = zstandard.ZstdDecompressor().decompressobj()

    assert SAMPLE == decoder.decompress(packed(SAMPLE, "zstd"))
    assert SAMPLE == gzip.decompress(packed(SAMPLE, "gzip"))


@pytest.mark.parametrize("level", [-5, 1, 3, 9, 19])
def test_every_level_of_zstd_comes_back(level: int) -> None:
    encoder = compressor("zstd", level)

    assert SAMPLE == plain(encoder.compress(SAMPLE) + encoder.flush(), "zstd")


def test_threads_change_nothing_that_matters() -> None:
    encoder = compressor("zstd", 3, threads=2)

    assert SAMPLE == plain(encoder.compress(SAMPLE) + encoder.flush(), "zstd")


@pytest.mark.parametrize("method", PACKED)
def test_streams_one_after_the_other_are_one(method: str) -> None:
    pack = BY_OTHERS[method]

    assert b"one" + SAMPLE + b"two" == plain(pack(b"one") + pack(SAMPLE) + pack(b"two"), method, 99)


def test_skippable_frames_are_passed_over() -> None:
    skippable = b"\x5e\x2a\x4d\x18" + (7).to_bytes(4, "little") + b"comment"

    stored = skippable + packed(b"data", "zstd") + skippable

    assert b"data" == plain(stored, "zstd", 3)


@pytest.mark.parametrize("method", PACKED)
def test_a_stream_cut_anywhere_is_refused(method: str) -> None:
    stored = BY_OTHERS[method](SAMPLE[:4000])
    assert len(stored) < 5000

    for length in range(len(stored)):
        with pytest.raises(DamagedBackup, match="is cut"):
            plain(stored[:length], method)


def test_a_frame_cut_at_its_last_block_is_refused_where_a_stream_reader_sees_an_end() -> None:
    stored = packed(SAMPLE, "zstd")[:-20]
    assert len(zstandard.ZstdDecompressor().stream_reader(stored).read(1 << 20)) > 100_000

    with pytest.raises(DamagedBackup, match="is cut"):
        plain(stored, "zstd")


@pytest.mark.parametrize("method", PACKED)
def test_anything_behind_the_stream_is_refused(method: str) -> None:
    with pytest.raises(DamagedBackup):
        plain(BY_OTHERS[method](b"data") + b"garbage", method)


@pytest.mark.parametrize("method", ["zstd", "gzip"])
def test_a_flipped_bit_is_refused(method: str) -> None:
    stored = bytearray(packed(SAMPLE, method))
    for position in (15, 100, len(stored) // 2, len(stored) - 2):
        damaged = bytearray(stored)
        damaged[position] ^= 4

        with pytest.raises(DamagedBackup):
            plain(bytes(damaged), method)


def test_zstd_frames_carry_a_checksum_of_their_content() -> None:
    assert zstandard.get_frame_parameters(packed(b"data", "zstd")).has_checksum


def test_gzip_has_no_time_in_it() -> None:
    assert bytes(4) == packed(b"data", "gzip")[4:8]


@pytest.mark.parametrize("method", PACKED)
def test_what_expands_a_thousandfold_comes_in_small_pieces(method: str) -> None:
    bomb = BY_OTHERS[method](bytes(40 << 20))

    sizes = [len(piece) for piece in decompressed([bomb], method)]

    assert 40 << 20 == sum(sizes)
    assert max(sizes) <= LARGEST_PIECE_BYTES


def test_plain_pieces_are_bounded_too() -> None:
    assert [1 << 20, 1 << 20, 5] == [len(p) for p in decompressed([bytes((2 << 20) + 5)], "none")]


def test_an_impossible_zstd_block_is_refused() -> None:
    with pytest.raises(DamagedBackup, match="impossible block"):
        plain(b"\x28\xb5\x2f\xfd\x00\x58" + b"\xff\xff\xff" + bytes(100), "zstd")


def test_suffixes_are_those_of_the_standard_tools() -> None:
    assert [".zst", ".gz", ""] == [suffix(method) for method in METHODS]


def test_an_unknown_method_is_refused() -> None:
    for act in (suffix, lambda name: compressor(name, 1), lambda name: decompressed([], name)):
        with pytest.raises(ValueError, match="'lz4'"):
            act("lz4")


TAR = tar_of({"a": b"content" * 100})


@pytest.mark.parametrize("size", [1, 100, 100_000])
@pytest.mark.parametrize("method", [*PACKED, "none"])
def test_a_bare_archive_is_recognised_by_its_first_bytes(method: str, size: int) -> None:
    stored = BY_OTHERS.get(method, bytes)(TAR)
    chunks = [stored[start : start + size] for start in range(0, len(stored), size)]

    found, content = sniffed(chunks)

    assert (method, TAR) == (found, b"".join(content))


def test_an_empty_tar_is_recognised() -> None:
    found, content = sniffed([bytes(10240)])

    assert ("none", bytes(10240)) == (found, b"".join(content))


@pytest.mark.parametrize(
    "data",
    [b"<html>not found</html>", b"x" * 9000, b"PK\x03\x04" + bytes(600), gzip.compress(b"hello")],
    ids=["html", "text", "zip", "gzip of a text"],
)
def test_what_is_no_tar_is_refused_at_once(data: bytes) -> None:
    with pytest.raises(DamagedBackup, match="not a tar"):
        sniffed([data])


def test_nothing_at_all_is_refused() -> None:
    with pytest.raises(DamagedBackup, match="empty"):
        sniffed([])
