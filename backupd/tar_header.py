"""One 512-byte tar block: read as a header, or made for a member of our own.

Pure functions over bytes; `backupd.tar` strings them together. Formats: POSIX ustar and pax, GNU,
and what came before them (POSIX.1-2017 pax; GNU tar manual, "Basic Tar Format"). In doubt it reads
as Go's `archive/tar` does, because that is what the engines write and read with.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from backupd.errors import ArchiveBroken

BLOCK_BYTES = 512
ZERO_BLOCK = bytes(BLOCK_BYTES)
END_OF_TAR = bytes(2 * BLOCK_BYTES)

_WITHOUT_CONTENT = frozenset("123456")
"""Links, devices, directories and pipes: their size field, if any, is followed by no bytes."""


@dataclass(frozen=True, slots=True)
class Header:
    """What one header block says."""

    name: str
    flag: str
    """The type flag; `0` for a regular file, however it was written."""
    size_bytes: int
    link_target: str
    has_extension: bool
    """Whether blocks with more of an old GNU sparse map come before the content."""

    @property
    def content_bytes(self) -> int:
        """How many bytes of content follow, padding aside."""
        return 0 if self.flag in _WITHOUT_CONTENT else self.size_bytes


def parse(block: bytes) -> Header:
    """The header in `block`. Raises ArchiveBroken when it is none; the text says why."""
    if not has_checksum(block):
        raise ArchiveBroken("no header where one belongs,")
    flag = block[156:157].decode("latin-1")
    name = _text(block[:100])
    if flag == "\0":
        # The oldest tars have no flag for a directory, only the slash at its end.
        flag = "5" if name.endswith("/") else "0"
    if block[257:263] == b"ustar\0":
        # GNU's own magic is `ustar  `, and keeps times where POSIX has the prefix.
        prefix = _text(block[345:476] if block[508:512] == b"tar\0" else block[345:500])
        name = f"{prefix}/{name}" if prefix else name
    return Header(
        name=name,
        flag=flag,
        size_bytes=number(block[124:136]),
        link_target=_text(block[157:257]),
        has_extension=flag == "S" and block[482] != 0,
    )


def has_checksum(block: bytes) -> bool:
    """Whether `block` carries the checksum of itself, as every header does."""
    if len(block) != BLOCK_BYTES:
        return False
    try:
        written = number(block[148:156])
    except ArchiveBroken:
        return False
    blanked = block[:148] + b" " * 8 + block[156:]
    unsigned = _sum(blanked[:256]) + _sum(blanked[256:])
    if written == unsigned:
        return True
    # Some old tars summed signed bytes; readers have to take either (POSIX leaves it open).
    return written == unsigned - 256 * sum(byte > 127 for byte in blanked)


def pax_records(data: bytes) -> dict[bytes, bytes]:
    """The records of a pax extended header. Raises ArchiveBroken when they are malformed."""
    return {key: data[start:end] for key, start, end in pax_places(data)}


def pax_places(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Each record's key, and where in `data` its value begins and ends. Raises ArchiveBroken."""
    position = 0
    while position < len(data):
        digits, space, _ = data[position : position + 20].partition(b" ")
        if not space or not digits.isdigit():
            raise ArchiveBroken("a malformed extended header")
        end = position + int(digits)
        key, equals, value = data[position + len(digits) + 1 : end].partition(b"=")
        if not key or not equals or end > len(data) or not value.endswith(b"\n"):
            raise ArchiveBroken("a malformed extended header")
        yield key, end - len(value), end - 1
        position = end


def decimal(value: bytes) -> int:
    """A number as pax headers write it. Raises ArchiveBroken."""
    if not value.isdigit() or len(value) > 20:
        raise ArchiveBroken("a malformed number in an extended header")
    return int(value)


def decoded(name: bytes) -> str:
    """A name as Python knows file names: any bytes, kept by surrogates where not UTF-8."""
    return name.decode("utf-8", "surrogateescape")


def padding_bytes(size_bytes: int) -> int:
    """How many zero bytes fill the last block of a content of this size."""
    return -size_bytes % BLOCK_BYTES


def with_checksum(block: bytes | bytearray) -> bytes:
    """The header in `block` with the checksum that it has to carry."""
    blanked = bytes(block[:148]) + b" " * 8 + bytes(block[156:])
    checksum = _sum(blanked[:256]) + _sum(blanked[256:])
    return blanked[:148] + f"{checksum:06o}\0 ".encode() + blanked[156:]


def member_header(name: str, size_bytes: int, *, kind: bytes = tarfile.REGTYPE) -> bytes:
    """One header block of ours, the same at any time: mtime 0, owner 0; sizes above 8 GiB too."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size_bytes, kind
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    return info.tobuf(tarfile.GNU_FORMAT)


def member(name: str, content: bytes) -> bytes:
    """A whole regular member: header, content and padding."""
    return member_header(name, len(content)) + content + bytes(padding_bytes(len(content)))


def _sum(half: bytes) -> int:
    # The low half of Adler-32 is 1 + the sum of the bytes modulo 65521, which 256 bytes cannot
    # reach: the same as sum(half), ten times as fast, and an export has a header for each file.
    return (zlib.adler32(half) & 0xFFFF) - 1


def _text(field: bytes) -> str:
    return decoded(field.partition(b"\0")[0])


def number(field: bytes) -> int:
    """An octal field, or one of GNU's in base 256 (first bit set). Raises ArchiveBroken."""
    if field[0] & 0x80:
        if field[0] & 0x40:
            raise ArchiveBroken("a negative number in a header")
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    digits = field.strip(b" \0").partition(b"\0")[0]
    if not digits:
        return 0
    if digits.strip(b"01234567"):
        raise ArchiveBroken("a malformed number in a header")
    return int(digits, 8)
