"""A blocking transformation between two file-likes, fed piece by piece: it runs in a thread.

Libraries that read until the end of a file and write into another one cannot stand in a pipeline
that pulls. Here the thread that feeds is the only one that knows the source and the sink, so their
errors never pass through the library: they stay what they are, in the thread that they belong to.
"""

from __future__ import annotations

import io
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

Transform = Callable[[io.BufferedIOBase, io.BufferedIOBase], object]
"""Reads the first to its end and writes into the second; what it raises is what is wrong."""


_TOO_EARLY = "the transformation ended before its input"


class Driven:
    """What `transform` makes of the pieces that it is fed; to be closed, whatever happened.

    At most `depth` pieces wait; `feed` waits while they do (back-pressure), and hands out all that
    came out meanwhile. `feed` and `finish` raise what `transform` raised, as it is; after that, and
    after `close`, nothing else comes. An end that the transformation sees is always a real one:
    closed early, its next read raises.
    """

    def __init__(self, transform: Transform, *, depth: int = 4, name: str = "transform") -> None:
        self._transform = transform
        self._depth = depth
        self._waiting: deque[bytes] = deque()
        self._made: list[bytes] = []
        self._failure: BaseException | None = None
        self._is_complete = self._is_left = self._is_done = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def feed(self, piece: bytes) -> bytes:
        """Take the next piece; whatever is ready, often nothing."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_done or len(self._waiting) < self._depth)
            if self._is_done:
                raise self._failure or ValueError(_TOO_EARLY)
            if piece:
                self._waiting.append(piece)
                self._changed.notify_all()
            return self._taken()

    def finish(self) -> bytes:
        """There is no more: wait for the rest of what comes out."""
        with self._changed:
            self._is_complete = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_done)
            if self._failure is not None:
                raise self._failure
            if self._waiting:
                raise ValueError(_TOO_EARLY)
            return self._taken()

    def close(self) -> None:
        """End the thread, if it has not ended; what it has made is lost. May be called again."""
        with self._changed:
            self._is_left = True
            self._waiting.clear()
            self._made.clear()
            self._changed.notify_all()
        self._thread.join()  # it waits for nothing but our condition

    def _taken(self) -> bytes:
        made, self._made = self._made, []
        return b"".join(made)

    def _run(self) -> None:
        failure: BaseException | None = None
        try:
            self._transform(_Source(self._next), _Sink(self._keep))
        except BaseException as error:  # all of it belongs to who feeds
            failure = error
        with self._changed:
            self._failure = failure
            self._is_done = True
            self._changed.notify_all()

    def _next(self) -> bytes:
        """The next piece, b"" at the end. Raises when nobody feeds any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_complete or self._is_left)
            if self._is_left:
                raise EOFError("left before the end")
            self._changed.notify_all()
            return self._waiting.popleft() if self._waiting else b""

    def _keep(self, piece: bytes) -> None:
        with self._changed:
            if not self._is_left:
                self._made.append(piece)


class _Source(io.BufferedIOBase):
    """The pieces as a file that can be read."""

    def __init__(self, next_piece: Callable[[], bytes]) -> None:
        self._next_piece = next_piece
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Up to `size` bytes, none only at the end: no more than one piece at a time."""
        if not self._rest:
            self._rest = memoryview(self._next_piece())
        end = len(self._rest) if size is None or size < 0 else size
        found, self._rest = self._rest[:end], self._rest[end:]
        return bytes(found)


class _Sink(io.BufferedIOBase):
    """A file that can be written."""

    def __init__(self, keep: Callable[[bytes], object]) -> None:
        self._keep = keep

    def writable(self) -> bool:
        return True

    def write(self, piece: ReadableBuffer, /) -> int:
        made = bytes(piece)
        self._keep(made)
        return len(made)
