"""zstd data, taken apart into frames and blocks so that decompression can be trusted.

The library's stream readers take a cut frame for an end, and its decompression objects return
whatever a piece of input expands to: four bytes become 128 KiB, so 1 MiB could become 32 GiB.
Taken block by block (RFC 8878, section 3.1.1) no step expands to more than 128 KiB, and the data
ends where a frame ends or not at all. Pure parsing: it decompresses nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from backupd.errors import DamagedBackup

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

_SKIPPABLE = frozenset(bytes([low]) + b"\x2a\x4d\x18" for low in range(0x50, 0x60))
_DICTIONARY_ID_BYTES = (0, 1, 2, 4)
_CONTENT_SIZE_BYTES = (0, 2, 4, 8)
_RLE_BLOCK, _RESERVED_BLOCK = 1, 3
_LARGEST_BLOCK_BYTES = 128 << 10


def is_skippable(head: bytes) -> bool:
    """Whether this begins a frame that decoders pass over, as some parallel compressors write."""
    return head[:4] in _SKIPPABLE


def frames(chunks: Iterable[bytes]) -> Iterator[Iterator[bytes]]:
    """Each frame as pieces that expand to at most 128 KiB each; to be read before the next one.

    Raises DamagedBackup where the data is cut, or is followed by anything but another frame.
    """
    source = _Input(chunks)
    count = 0
    while magic := source.up_to(4):
        if is_skippable(magic):
            source.skip(int.from_bytes(source.exactly(4), "little"))
        elif magic == ZSTD_MAGIC:
            yield _pieces(source)
            count += 1
        elif ZSTD_MAGIC.startswith(magic):
            raise _cut()
        else:
            raise damaged("something else follows its zstd data" if count else "it is no zstd")
    if not count:
        raise _cut()


def damaged(what: str) -> DamagedBackup:
    """The error of stored bytes that cannot be decompressed."""
    return DamagedBackup(f"cannot decompress the archive: {what}")


def _pieces(source: _Input) -> Iterator[bytes]:
    """The frame whose magic has just been read: its header, each block, its checksum."""
    descriptor = source.exactly(1)
    flags = descriptor[0]
    yield ZSTD_MAGIC + descriptor + source.exactly(_header_bytes(flags) - 1)
    is_last = False
    while not is_last:
        head = source.exactly(3)
        fields = int.from_bytes(head, "little")
        is_last, kind, size_bytes = bool(fields & 1), fields >> 1 & 3, fields >> 3
        if kind == _RESERVED_BLOCK or size_bytes > _LARGEST_BLOCK_BYTES:
            raise damaged("its zstd data has an impossible block")
        yield head + source.exactly(1 if kind == _RLE_BLOCK else size_bytes)
    if flags & 4:
        yield source.exactly(4)


def _header_bytes(flags: int) -> int:
    """How long a frame header is, its descriptor byte included (RFC 8878, 3.1.1.1)."""
    is_single = flags >> 5 & 1
    size_field = _CONTENT_SIZE_BYTES[flags >> 6] or is_single
    return 1 + (1 - is_single) + _DICTIONARY_ID_BYTES[flags & 3] + size_field


class _Input:
    """Exact pieces from a stream of chunks."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._chunk = b""
        self._position = 0

    def up_to(self, size_bytes: int) -> bytes:
        """The next bytes: that many, fewer only at the end."""
        end = self._position + size_bytes
        if end <= len(self._chunk):
            piece = self._chunk[self._position : end]
            self._position = end
            return piece
        parts = []
        while size_bytes and self._refill():
            part = self._chunk[self._position : self._position + size_bytes]
            self._position += len(part)
            size_bytes -= len(part)
            parts.append(part)
        return b"".join(parts)

    def exactly(self, size_bytes: int) -> bytes:
        """The next bytes, that many. Raises DamagedBackup when the stream ends before."""
        piece = self.up_to(size_bytes)
        if len(piece) < size_bytes:
            raise _cut()
        return piece

    def skip(self, size_bytes: int) -> None:
        """Pass over that many bytes without keeping them."""
        while size_bytes:
            step = min(size_bytes, 1 << 20)
            self.exactly(step)
            size_bytes -= step

    def _refill(self) -> bool:
        """Make sure that there is a byte to take; whether there is one."""
        while self._position == len(self._chunk):
            chunk = next(self._chunks, None)
            if chunk is None:
                return False
            self._chunk, self._position = chunk, 0
        return True


def _cut() -> DamagedBackup:
    return damaged("its zstd data is cut")
