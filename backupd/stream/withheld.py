"""The end of a stream, kept back until something else says that all of it was right."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator


def withheld(
    chunks: Iterable[bytes], finish: Callable[[], None], hold_back_bytes: int = 1 << 20
) -> Iterator[bytes]:
    """The same bytes; at least the last `hold_back_bytes` come only after `finish` returned.

    Engines act on the end of a tar, so one that never comes keeps a bad archive from being loaded.
    What `finish` raises comes out instead of the end. No empty piece is ever yielded.
    """
    held: deque[bytes] = deque()
    held_bytes = 0
    for chunk in chunks:
        if chunk:
            held.append(chunk)
            held_bytes += len(chunk)
        while held and held_bytes - len(held[0]) >= hold_back_bytes:
            held_bytes -= len(held[0])
            yield held.popleft()
    finish()
    yield from held
