"""Streams that tests write into stores and read back out of them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from io import BytesIO

from backupd.stores import Reader

MIB = 1 << 20


def noise(size_bytes: int) -> bytes:
    """The same bytes each time, in which no two blocks are alike."""
    return random.Random(size_bytes).randbytes(size_bytes)  # noqa: S311 (content, no secret)


def reader_of(data: bytes) -> Reader:
    """A reader that keeps the discipline of `Reader`."""
    return BytesIO(data)


class Piecemeal:
    """A reader that gives less than it was asked for, in the middle too."""

    def __init__(self, data: bytes, piece_bytes: int) -> None:
        self._rest = BytesIO(data)
        self._piece_bytes = piece_bytes

    def read(self, size: int, /) -> bytes:
        return self._rest.read(min(size, self._piece_bytes))


class Failing:
    """A reader that raises `error` once `after_bytes` were taken."""

    def __init__(self, after_bytes: int, error: BaseException) -> None:
        self._rest = BytesIO(noise(after_bytes))
        self._error = error

    def read(self, size: int, /) -> bytes:
        data = self._rest.read(size)
        if not data:
            raise self._error
        return data


class Endless:
    """A reader without an end, which counts what was taken."""

    def __init__(self) -> None:
        self.taken_bytes = 0

    def read(self, size: int, /) -> bytes:
        self.taken_bytes += size
        return bytes(size)


def pieces_of(reader: Reader, size: int) -> Iterator[bytes]:
    """What `reader` gives when it is asked for `size` bytes again and again, up to its end."""
    while piece := reader.read(size):
        yield piece


def digest_of(reader: Reader) -> str:
    """SHA-256 of all that `reader` gives."""
    digest = hashlib.sha256()
    for piece in pieces_of(reader, MIB):
        digest.update(piece)
    return digest.hexdigest()
