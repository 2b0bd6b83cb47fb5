"""The wish to stop, and how it reaches those who are blocked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from backupd.errors import Cancelled


class Cancel:
    """A flag that stays up once it is up, and closes sockets: a blocked read sees no flag.

    `set` may be called from any thread and from a signal handler: it takes no lock, since the
    thread that a signal interrupts may be the one that holds it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._is_set = False
        self._told_at: float | None = None
        self._closers: dict[object, Callable[[], object]] = {}

    def set(self) -> None:
        """Raise the flag since somebody waits for the end, and call every closer.

        The closers' own failures do not matter any more.
        """
        if self._told_at is None:
            self._told_at = self._clock()
        self.expire()

    def expire(self) -> None:
        """The same since the time of this work is over, and nobody waits for it."""
        self._is_set = True
        for close in list(self._closers.values()):
            with suppress(Exception):
                close()

    def is_set(self) -> bool:
        """Whether someone wants this process to stop."""
        return self._is_set

    @property
    def told_seconds_ago(self) -> float | None:
        """Since when somebody waits for the end; None while nobody does."""
        return None if self._told_at is None else self._clock() - self._told_at

    def raise_if_set(self) -> None:
        """Raise Cancelled if someone wants this process to stop."""
        if self._is_set:
            raise Cancelled("stopped on request, before the end")

    @contextmanager
    def closing(self, close: Callable[[], object]) -> Iterator[None]:
        """Inside the block, `set` and `expire` call `close`, perhaps twice; or at once if set."""
        entry = object()
        self._closers[entry] = close
        try:
            if self._is_set:  # after registering: a `set` in between would miss it otherwise
                with suppress(Exception):
                    close()
            yield
        finally:
            del self._closers[entry]
