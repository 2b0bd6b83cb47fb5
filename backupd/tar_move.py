"""A tar of `./…` as one of `v/…`, while it streams: all of it moved below a folder of one letter.

Engines pass over the `./` of a tar, so a directory's own owner and mode would be lost; and they
refuse symbolic links that climb out of the place where a tar is unpacked (engine 20.10), which a
volume may well hold. Unpacked at the root, one folder higher, a tar keeps both. The letter stands
where the dot stood, so that no header changes its length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from backupd.errors import ArchiveBroken, DamagedBackup
from backupd.tar import check_extension
from backupd.tar_header import (
    BLOCK_BYTES,
    ZERO_BLOCK,
    Header,
    decimal,
    decoded,
    number,
    padding_bytes,
    parse,
    pax_places,
    with_checksum,
)

_EXTENSIONS = frozenset("xgLK")
_HARD_LINK = "1"
_NAME, _LINK, _SIZE, _PREFIX = 0, 157, 124, 345
"""Where the fields stand in a header block, by which they are known here too."""

_ENDS = {_NAME: 100, _LINK: 257, _PREFIX: 500}
_GNU_TIMES = (slice(345, 357), slice(357, 369))
"""GNU's times of access and change, where POSIX has the prefix of a name."""

_GNU = {"L": _NAME, "K": _LINK}
_PAX = {b"path": _NAME, b"linkpath": _LINK, b"size": _SIZE}


def moved(chunks: Iterable[bytes], letter: bytes, what: str) -> Iterator[bytes]:
    """The same tar with `letter` for the dot that begins every name and every hard link's target.

    `what` names the tar in errors. Raises DamagedBackup at a header that is none or that names
    something elsewhere, and what `chunks` raises.
    """
    move = _Move(letter)
    try:
        for chunk in chunks:
            out = move.take(chunk)
            if out:
                yield out
    except ArchiveBroken as error:
        raise DamagedBackup(f"{what} is damaged: its tar has {error}") from error


class _Move:
    """Follows one tar from header to header."""

    def __init__(self, letter: bytes) -> None:
        self._letter = letter
        self._pass_bytes = 0
        self._block = bytearray()
        self._has_ended = False
        self._is_sparse_map = False
        self._extension: Header | None = None
        self._missing_bytes = 0
        self._held: list[tuple[Header, bytearray]] = []
        """Extended headers, each with its content, whose member has not come yet."""

    def take(self, chunk: bytes) -> bytes:
        """What can be said by now of the tar, `chunk` included."""
        out: list[bytes] = []
        position = 0
        while position < len(chunk):
            if self._pass_bytes or self._has_ended:
                step = len(chunk) if self._has_ended else self._pass_bytes
                piece = chunk[position : position + step]
                self._pass_bytes -= len(piece)
                out.append(piece)
            elif self._missing_bytes:
                piece = chunk[position : position + self._missing_bytes]
                self._held[-1][1].extend(piece)
                self._missing_bytes -= len(piece)
            else:
                piece = chunk[position : position + BLOCK_BYTES - len(self._block)]
                self._block += piece
                if len(self._block) == BLOCK_BYTES:
                    out += self._read(bytes(self._block))
                    self._block.clear()
            position += len(piece)
        return b"".join(out)

    def _read(self, block: bytes) -> list[bytes]:
        """Act on one block that is not content."""
        if self._is_sparse_map:
            self._is_sparse_map = bool(block[504])
            return [block]
        if block == ZERO_BLOCK:
            self._has_ended = True
            return [block]
        header = parse(block)
        padded = header.content_bytes + padding_bytes(header.content_bytes)
        if header.flag in _EXTENSIONS:
            self._held.append((header, bytearray(block)))
            check_extension(header, len(self._held))
            self._missing_bytes = padded
            return []
        self._is_sparse_map = header.has_extension
        return self._member(header, block)

    def _member(self, header: Header, block: bytes) -> list[bytes]:
        """The member's headers under its new name."""
        to_move = {_NAME, _LINK} if header.flag == _HARD_LINK else {_NAME}
        found = set[int]()
        size_bytes = header.content_bytes
        for extension, content in self._held:
            places = _places(extension, content)
            for field in to_move & places.keys():
                self._put(content, *places[field])
            found |= places.keys()
            if header.content_bytes and _SIZE in places:
                start, end = places[_SIZE]
                size_bytes = decimal(bytes(content[start:end]))
        own = bytearray(block)
        for field in to_move - found:
            begins = field
            if field == _NAME and _has_prefix(block):
                _check_inside(block[_NAME : _ENDS[_NAME]])
                begins = _PREFIX
            self._put(own, begins, _ENDS[begins])
        self._pass_bytes = size_bytes + padding_bytes(size_bytes)
        held = [bytes(content) for _, content in self._held]
        self._held.clear()
        return [*held, with_checksum(own)]

    def _put(self, text: bytearray, start: int, end: int) -> None:
        """Put the letter for the dot with which the name from `start` to `end` begins."""
        name = _check_inside(bytes(text[start:end]))
        if name != b"." and not name.startswith(b"./"):
            raise ArchiveBroken(f"{_shown(name)}, which does not begin with './',")
        text[start : start + 1] = self._letter


def _check_inside(field: bytes) -> bytes:
    """The name in a field. Raises ArchiveBroken for one that climbs."""
    name = field.partition(b"\0")[0]
    if b".." in name.split(b"/"):
        raise ArchiveBroken(f"{_shown(name)}, which climbs out of its folder,")
    return name


def _shown(name: bytes) -> str:
    return repr(decoded(name[:60]))


def _has_prefix(block: bytes) -> bool:
    """Whether the name begins in the field for its prefix. Raises ArchiveBroken in doubt.

    Where GNU's times are none, engines take them for a prefix (Go's `archive/tar`, for tars that
    its versions before 1.8 wrote); no engine writes them so.
    """
    if block[257:265] == b"ustar  \0":
        for field in _GNU_TIMES:
            number(block[field])
    return block[257:263] == b"ustar\0" and block[_PREFIX] != 0


_Places = dict[int, tuple[int, int]]


def _places(extension: Header, content: bytearray) -> _Places:
    """Which fields of its member an extended header replaces, and where they stand in `content`."""
    if extension.flag in _GNU:
        return {_GNU[extension.flag]: (BLOCK_BYTES, BLOCK_BYTES + extension.size_bytes)}
    if extension.flag != "x":
        return {}
    records = bytes(content[BLOCK_BYTES : BLOCK_BYTES + extension.size_bytes])
    return {
        _PAX[key]: (BLOCK_BYTES + start, BLOCK_BYTES + end)
        for key, start, end in pax_places(records)
        if key in _PAX
    }
