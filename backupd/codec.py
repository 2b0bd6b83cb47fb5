"""Compression as streams: plain bytes in and stored bytes out, and the way back.

Sits between the archive's digest and the store. Standard formats only, so that `zstd -d` or
`gunzip` brings a backup back without backupd. On the way back it must not trust its input: a cut,
damaged or padded stream raises, and no input, however it was made, blows up memory.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Protocol

import zstandard

from backupd.errors import DamagedBackup
from backupd.tar_header import BLOCK_BYTES, ZERO_BLOCK, has_checksum
from backupd.zstd_frames import ZSTD_MAGIC, damaged, frames, is_skippable

LARGEST_PIECE_BYTES = 1 << 20
"""No piece that comes out of `decompressed` is larger."""

_INPUT_BYTES = 64 << 10
_JOB_BYTES = 1 << 20
_GZIP_FORMAT = 31  # zlib's window bits for the largest window in a gzip wrapper
_XZ_MEMORY_BYTES = 160 << 20  # `xz -9` needs 65 MiB to decompress

_SUFFIXES = {"zstd": ".zst", "gzip": ".gz", "none": ""}


class Compressor(Protocol):
    """Plain bytes in, stored bytes out; one stream for each object."""

    def compress(self, data: bytes, /) -> bytes:
        """The stored bytes that are ready; often none yet."""

    def flush(self) -> bytes:
        """The last stored bytes; nothing may follow."""


def suffix(method: str) -> str:
    """What a key ends in for this method: `.zst`, `.gz` or nothing. Raises ValueError."""
    if method not in _SUFFIXES:
        raise ValueError(f"no compression is called {method!r}")
    return _SUFFIXES[method]


def compressor(method: str, level: int, *, threads: int = 0) -> Compressor:
    """A fresh compressor: `zstd`, `gzip` or `none`. Raises ValueError for another method.

    zstd's frames carry a checksum of their content; gzip's header has no time and no name, so the
    same bytes give the same object. `threads` (zstd only) cost about 10 MiB each.
    """
    if method == "zstd":
        # Left to itself zstd cuts jobs of four windows: two threads took 230 MiB at level 3.
        beside = {"threads": threads, "job_size": _JOB_BYTES} if threads else {}
        parameters = zstandard.ZstdCompressionParameters.from_level(
            level, write_checksum=True, **beside
        )
        return zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    if method == "gzip":
        return zlib.compressobj(level, zlib.DEFLATED, _GZIP_FORMAT)
    if method == "none":
        return _Plain()
    raise ValueError(f"no compression is called {method!r}")


def decompressed(chunks: Iterable[bytes], method: str) -> Iterator[bytes]:
    """The plain bytes, in pieces of at most 1 MiB; streams written one after the other are joined.

    Methods: `zstd`, `gzip`, `none`, and for bare archives `bz2` and `xz`. Raises DamagedBackup for
    what is damaged, cut or followed by anything else (`none` cannot tell), ValueError for another
    method.
    """
    if method not in _READERS:
        raise ValueError(f"no compression is called {method!r}")
    return _READERS[method](chunks)


def sniffed(chunks: Iterable[bytes]) -> tuple[str, Iterator[bytes]]:
    """How a bare archive is compressed, and its plain tar; reads the first bytes at once.

    Raises DamagedBackup when it is no tar, neither plain nor under zstd, gzip, bz2 or xz.
    """
    source = iter(chunks)
    head = _first_bytes(source, BLOCK_BYTES)
    if not head:
        raise DamagedBackup("cannot read the archive: it is empty")
    method = next((name for magic, name in _MAGICS if head.startswith(magic)), "none")
    if is_skippable(head):
        method = "zstd"
    plain = decompressed(chain([head], source), method)
    block = _first_bytes(plain, BLOCK_BYTES)
    if not has_checksum(block[:BLOCK_BYTES]) and block[:BLOCK_BYTES] != ZERO_BLOCK:
        inside = "" if method == "none" else f" inside its {method}"
        raise DamagedBackup(f"cannot read the archive: it is not a tar{inside}")
    return method, chain([block], plain)


def _first_bytes(source: Iterator[bytes], size_bytes: int) -> bytes:
    """At least that many bytes from the front of `source`; fewer only where it ends."""
    head = b""
    while len(head) < size_bytes and (chunk := next(source, None)) is not None:
        head += chunk
    return head


class _Plain:
    """No compression."""

    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


def _unzstd(chunks: Iterable[bytes]) -> Iterator[bytes]:
    for pieces in frames(chunks):
        # One object for one frame: it checks the checksum of the content and a declared size.
        decoder = zstandard.ZstdDecompressor().decompressobj()
        for piece in pieces:
            try:
                plain = decoder.decompress(piece)
            except zstandard.ZstdError as error:
                raise damaged(f"its zstd data is damaged ({error})") from error
            if plain:
                yield plain
        if not decoder.eof:
            raise damaged("a zstd frame does not end where it should")


class _Decoder(Protocol):
    """What the decompressors of `bz2` and `lzma` have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = ...) -> bytes: ...


class _Gunzip:
    """zlib's decompressor in the manners of `bz2` and `lzma`."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(_GZIP_FORMAT)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = 0) -> bytes:
        plain = self._inner.decompress(self._inner.unconsumed_tail + data, max_length)
        self.needs_input = len(plain) < max_length
        return plain


def _decoded(chunks: Iterable[bytes], begin: Callable[[], _Decoder], name: str) -> Iterator[bytes]:
    decoder, streams = begin(), 0
    for data in _pieces(chunks, _INPUT_BYTES):
        rest = data
        while True:
            if decoder.eof:
                decoder, streams = begin(), streams + 1
            try:
                plain = decoder.decompress(rest, LARGEST_PIECE_BYTES)
            except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
                follows = f"something else follows its {name} data"
                damage = f"its {name} data is damaged ({error})"
                raise damaged(follows if streams else damage) from error
            if plain:
                yield plain
            rest = decoder.unused_data if decoder.eof else b""
            if not rest and (decoder.eof or decoder.needs_input):
                break
    if not decoder.eof:
        raise damaged(f"its {name} data is cut")


def _pieces(chunks: Iterable[bytes], size_bytes: int) -> Iterator[bytes]:
    """The same bytes in pieces of at most that size."""
    for chunk in chunks:
        for start in range(0, len(chunk), size_bytes):
            yield chunk if len(chunk) <= size_bytes else chunk[start : start + size_bytes]


def _unxz() -> _Decoder:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)


_READERS: dict[str, Callable[[Iterable[bytes]], Iterator[bytes]]] = {
    "zstd": _unzstd,
    "gzip": lambda chunks: _decoded(chunks, _Gunzip, "gzip"),
    "bz2": lambda chunks: _decoded(chunks, bz2.BZ2Decompressor, "bz2"),
    "xz": lambda chunks: _decoded(chunks, _unxz, "xz"),
    "none": lambda chunks: _pieces(chunks, LARGEST_PIECE_BYTES),
}

_MAGICS = (
    (ZSTD_MAGIC, "zstd"),
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\0", "xz"),
)
