"""An archive on its way out: checked, hashed, compressed and hashed again, read in exact parts."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from typing import Protocol

from backupd.codec import Compressor


class Check(Protocol):
    """Something that follows a tar and raises ArchiveBroken when it is not whole."""

    def feed(self, chunk: bytes, /) -> None: ...

    def finish(self) -> None: ...


class ArchiveReader:
    """The stored bytes of a tar, as a store's `put` wants to read them.

    Whatever `chunks` or `check` raises comes out of `read`, and always before the last stored
    bytes: an upload that reads to the end is of a whole archive.
    """

    def __init__(
        self,
        chunks: Iterator[bytes],
        check: Check,
        compressor: Compressor,
        *,
        on_progress: Callable[[int], object] = lambda _: None,
    ) -> None:
        """`on_progress` is told how many plain bytes have passed so far, with each chunk."""
        self._chunks = chunks
        self._check = check
        self._compressor = compressor
        self._on_progress = on_progress
        self._plain_hash = hashlib.sha256()
        self._stored_hash = hashlib.sha256()
        self._ready = memoryview(b"")
        self._withheld = b""
        self._has_ended = False
        self.size_bytes = 0
        """Plain bytes so far; at the end, the size of the tar."""
        self.stored_bytes = 0
        """Stored bytes so far; at the end, the size of the object."""
        self.sha256 = ""
        """SHA-256 of the tar in hex, empty before the end."""
        self.stored_sha256 = ""
        """SHA-256 of the stored bytes in hex, empty before the end."""

    def read(self, size: int, /) -> bytes:
        """The next stored bytes: exactly `size` until the end, fewer only there, then none.

        s3transfer takes a short answer for the end, and holds all the rest in memory.
        """
        part = io.BytesIO()
        room = size
        while room and (self._ready or self._advance()):
            piece = self._ready[:room]
            self._ready = self._ready[len(piece) :]
            room -= part.write(piece)
        return part.getvalue()  # shares the buffer; a join would hold the part twice

    def _advance(self) -> bool:
        """Make some stored bytes ready; false at the end."""
        while not self._has_ended:
            chunk = next(self._chunks, None)
            stored = self._finish() if chunk is None else self._take(chunk)
            if stored:
                self._ready = memoryview(stored)
                return True
        return False

    def _take(self, chunk: bytes) -> bytes:
        self._check.feed(chunk)
        self._plain_hash.update(chunk)
        self.size_bytes += len(chunk)
        self._on_progress(self.size_bytes)
        stored = self._compressor.compress(chunk)
        if not stored:
            return b""
        # One output behind: without compression these could be the last bytes of all.
        released, self._withheld = self._withheld, stored
        self._count(released)
        return released

    def _finish(self) -> bytes:
        self._check.finish()
        stored = self._withheld + self._compressor.flush()
        self._withheld = b""
        self._count(stored)
        self.sha256 = self._plain_hash.hexdigest()
        self.stored_sha256 = self._stored_hash.hexdigest()
        self._has_ended = True
        return stored

    def _count(self, stored: bytes) -> None:
        self._stored_hash.update(stored)
        self.stored_bytes += len(stored)
