"""The tar walk: follows a tar from header to header as it streams by, and refuses a broken one.

Every archive passes through it on its way to the store. That a stream ended proves nothing: an
engine ends an export cleanly with most files missing when a log shrank under it, and writes its
error into a save's tar under HTTP 200 (measured on engines 20.10 and 26; moby#19188). Python's
`tarfile` takes both for an end. Here a tar is whole only when it ends in two zero blocks.

It must not look into content, keep it, or copy it: sinks are given views, and where nobody asks
for the content it is passed over by arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from backupd.engine_words import engine_words
from backupd.errors import ArchiveBroken
from backupd.tar_header import (
    BLOCK_BYTES,
    ZERO_BLOCK,
    Header,
    decimal,
    decoded,
    padding_bytes,
    parse,
    pax_records,
)

LARGEST_EXTENSION_BYTES = 1 << 20
"""The most that one extended header may hold; Go's `archive/tar` has the same limit."""

MOST_EXTENSIONS = 16
"""How many extended headers may come before one member: there are four kinds, and GNU tar and the
engines write each once."""

_TAIL_BYTES = 8 << 10
"""How much of the last bytes is searched for the engine's own words."""
_PAX, _PAX_GLOBAL, _GNU_LONG_NAME, _GNU_LONG_LINK = "x", "g", "L", "K"

Sink = Callable[[memoryview], object]
"""Takes the next piece of a member's content; the view is valid during the call only."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a tar, its long names resolved."""

    name: str
    """As written, a directory's slash included; bytes that are not UTF-8 as surrogates."""
    kind: str
    """The type flag: `0` file, `1` hard link, `2` symlink, `5` directory, `S` sparse file …"""
    size_bytes: int
    """Bytes of content in the tar."""
    link_target: str

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file, whose content is in the tar as it is."""
        return self.kind in "07"

    @property
    def is_link(self) -> bool:
        """Whether it is a hard link or a symlink."""
        return self.kind in "12"


class Visitor(Protocol):
    """Who is told of each member as its header passes."""

    def member(self, member: Member, /) -> Sink | None:
        """A member begins; what comes back is given its content, piece by piece."""

    def end(self) -> None:
        """The content of the last announced member is complete."""


def check_extension(header: Header, count: int) -> None:
    """Raise ArchiveBroken for an extended header that nobody writes, the `count`th of its member.

    What follows a tar holds such headers back until their member comes.
    """
    if header.size_bytes > LARGEST_EXTENSION_BYTES:
        raise ArchiveBroken("an extended header of more than 1 MiB")
    if count > MOST_EXTENSIONS:
        raise ArchiveBroken("too many extended headers")


class TarWalk:
    """Follows one tar. Raises ArchiveBroken from `feed`, or at the latest from `finish`."""

    def __init__(self, visitor: Visitor | None = None) -> None:
        self.members = 0
        self._visitor = visitor
        self._name = ""
        self._offset = 0
        self._start = 0
        self._next_start = 0
        self._content = self._padding = 0
        self._sink: Sink | None = None
        self._block = bytearray()
        self._extension: Header | None = None
        self._collected = bytearray()
        self._pending: dict[str, bytes] = {}
        self._extensions = 0
        self._sparse: Member | None = None
        self._zero_blocks = 0
        self._tail = b""
        self._fault = ""
        self._heard_bytes = 0

    @property
    def has_ended(self) -> bool:
        """Whether both closing blocks have passed."""
        return self._zero_blocks >= 2

    @property
    def settled_bytes(self) -> int:
        """Up to which offset each byte belongs to a member that the visitor has been told of."""
        return min(self._offset, self._next_start)

    @property
    def span(self) -> tuple[int, int]:
        """Where the last announced member begins and ends: extended headers to padding."""
        return self._start, self._next_start

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes, cut anywhere. Raises ArchiveBroken, and what a sink raises."""
        if self._fault:
            self._listen(chunk)
            return
        earlier = self._tail[-_TAIL_BYTES:]
        position = 0
        while position < len(chunk):
            before = position
            if self._content or self._padding:
                position += self._pass(chunk, position)
            elif self.has_ended:
                position = self._pass_zeros(chunk, position)
            else:
                position = self._take_block(chunk, position)
            if self._fault:
                self._tail = earlier + chunk[:before][-_TAIL_BYTES:]
                self._listen(chunk[before:].lstrip(b"\0"))
                return
            self._offset += position - before
        # A long chunk is referred to, not copied; only the short ones of a slow stream are joined.
        self._tail = chunk if len(chunk) >= _TAIL_BYTES else earlier + chunk

    def finish(self) -> None:
        """Raise ArchiveBroken unless the bytes so far are one whole tar."""
        if self._fault:
            raise self._broken(self._fault)
        if self._content:
            raise self._broken(
                f"is cut inside the content of {self._name!r}, {self._content} bytes too early"
            )
        if self._padding or self._block.strip(b"\0") or self._pending or self._sparse:
            raise self._broken(f"is cut in the middle of a block, after {self.members} members")
        if not self.has_ended:
            last = f", the last of them {self._name!r}," if self.members else ""
            raise self._broken(
                f"stops after {self.members} members{last} without the two zero blocks that end a "
                "tar"
            )

    def _pass(self, chunk: bytes, position: int) -> int:
        """Pass over content, or else padding; how many bytes."""
        available = len(chunk) - position
        if not self._content:
            step = min(self._padding, available)
            self._padding -= step
            return step
        step = min(self._content, available)
        if self._sink is not None:
            self._sink(memoryview(chunk)[position : position + step])
        self._content -= step
        if not self._content:
            self._end_content()
        return step

    def _pass_zeros(self, chunk: bytes, position: int) -> int:
        if chunk.count(0, position) != len(chunk) - position:
            self._fault = "goes on after its end"
        return len(chunk)

    def _take_block(self, chunk: bytes, position: int) -> int:
        end = position + BLOCK_BYTES - len(self._block)
        if self._block or end > len(chunk):
            self._block += chunk[position:end]
            if len(self._block) < BLOCK_BYTES:
                return len(chunk)
            block = bytes(self._block)
        else:
            block = chunk[position:end]
        try:
            self._read(block, self._offset + end - position)
        except ArchiveBroken as error:
            self._fault = f"has {error} after {self.members} members"
        else:
            self._block.clear()
        return end

    def _read(self, block: bytes, end_offset: int) -> None:
        """Act on one block that is not content; `end_offset` is where it ends in the tar."""
        if self._sparse is not None:
            if not block[504]:
                self._announce(self._sparse, end_offset)
            return
        if block == ZERO_BLOCK:
            if self._pending:
                raise ArchiveBroken("an extended header of no member")
            self._zero_blocks += 1
            return
        if self._zero_blocks:
            raise ArchiveBroken("data behind an end")
        header = parse(block)
        if header.flag in (_PAX, _PAX_GLOBAL, _GNU_LONG_NAME, _GNU_LONG_LINK):
            self._begin_extension(header)
            return
        member = self._resolved(header)
        self._pending.clear()
        if header.has_extension:
            self._sparse = member
        else:
            self._announce(member, end_offset)

    def _begin_extension(self, header: Header) -> None:
        self._extensions += 1
        check_extension(header, self._extensions)
        self._name = header.name
        self._extension = header
        self._collected.clear()
        self._sink = self._collected.extend
        self._begin_content(header.size_bytes)

    def _announce(self, member: Member, end_offset: int) -> None:
        self._sparse = None
        self._extensions = 0
        self.members += 1
        self._name = member.name
        size_bytes = member.size_bytes
        self._start = self._next_start
        self._next_start = end_offset + size_bytes + padding_bytes(size_bytes)
        self._sink = self._visitor.member(member) if self._visitor else None
        self._begin_content(size_bytes)

    def _begin_content(self, size_bytes: int) -> None:
        self._content, self._padding = size_bytes, padding_bytes(size_bytes)
        if not size_bytes:
            self._end_content()

    def _end_content(self) -> None:
        self._sink = None
        if self._extension is not None:
            # A global header holds for all that follow; the engines pass over it, and so do we.
            if self._extension.flag != _PAX_GLOBAL:
                self._pending[self._extension.flag] = bytes(self._collected)
            self._extension = None
        elif self._visitor is not None:
            self._visitor.end()

    def _resolved(self, header: Header) -> Member:
        """The member, with what extended headers say of it put in."""
        name, link_target = header.name, header.link_target
        if _PAX in self._pending:
            records = pax_records(self._pending[_PAX])
            path = records.get(b"GNU.sparse.name") or records.get(b"path")
            name = decoded(path) if path else name
            link = records.get(b"linkpath")
            link_target = decoded(link) if link else link_target
            if b"size" in records:
                header = replace(header, size_bytes=decimal(records[b"size"]))
        if _GNU_LONG_NAME in self._pending:
            name = decoded(self._pending[_GNU_LONG_NAME].partition(b"\0")[0])
        if _GNU_LONG_LINK in self._pending:
            link_target = decoded(self._pending[_GNU_LONG_LINK].partition(b"\0")[0])
        return Member(name, header.flag, header.content_bytes, link_target)

    def _listen(self, chunk: bytes) -> None:
        """Hear out what follows a fault: the engine's words may go on in the next chunk."""
        heard = chunk[: _TAIL_BYTES - self._heard_bytes]
        self._tail += heard
        self._heard_bytes += len(heard)
        if self._heard_bytes == _TAIL_BYTES:
            raise self._broken(self._fault)

    def _broken(self, what: str) -> ArchiveBroken:
        cause = engine_words(self._tail)
        return ArchiveBroken(f"the tar {what}" + (f"; the engine says: {cause}" if cause else ""))
