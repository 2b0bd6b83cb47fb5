"""The same bytes in pieces of another size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol


class Reader(Protocol):
    """Anything with `read`; an empty answer is the end."""

    def read(self, size: int, /) -> bytes: ...


def rebuffered(chunks: Iterable[bytes], size_bytes: int = 1 << 20) -> Iterator[bytes]:
    """The same bytes in blocks of at least `size_bytes`, the last aside; each copied once at most.

    Engines send pieces of about 32 KiB, and every step of the pipeline costs by the piece.
    """
    waiting: list[bytes] = []
    waiting_bytes = 0
    for chunk in chunks:
        waiting.append(chunk)
        waiting_bytes += len(chunk)
        if waiting_bytes >= size_bytes:
            yield _joined(waiting)
            waiting_bytes = 0
    if waiting_bytes:
        yield _joined(waiting)


def _joined(waiting: list[bytes]) -> bytes:
    """The pieces as one; the list is emptied, so that they do not live on beside their copy."""
    block = waiting[0] if len(waiting) == 1 else b"".join(waiting)
    waiting.clear()
    return block


def chunks_of(reader: Reader, size_bytes: int = 1 << 20) -> Iterator[bytes]:
    """What `reader` holds, in pieces of at most `size_bytes`."""
    while chunk := reader.read(size_bytes):
        yield chunk
