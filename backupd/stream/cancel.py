"""The wish to stop, and how it reaches those who are blocked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from backupd.errors import Cancelled


class Cancel:
    """A flag that stays up once it is up, and closes sockets: a blocked read sees no flag.

    `set` may be called from any thread and from a signal handler: it takes no lock, since the
    thread that a signal interrupts may be the one that holds it.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._closers: dict[object, Callable[[], object]] = {}

    def set(self) -> None:
        """Raise the flag and call every closer; their own failures do not matter any more."""
        self._is_set = True
        for close in list(self._closers.values()):
            with suppress(Exception):
                close()

    def is_set(self) -> bool:
        """Whether someone wants this process to stop."""
        return self._is_set

    def raise_if_set(self) -> None:
        """Raise Cancelled if someone wants this process to stop."""
        if self._is_set:
            raise Cancelled("stopped on request, before the end")

    @contextmanager
    def closing(self, close: Callable[[], object]) -> Iterator[None]:
        """Inside the block, `set` calls `close`, perhaps twice; at once if it was called before."""
        entry = object()
        self._closers[entry] = close
        try:
            if self._is_set:  # after registering: a `set` in between would miss it otherwise
                with suppress(Exception):
                    close()
            yield
        finally:
            del self._closers[entry]
