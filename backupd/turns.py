"""Whose turn it is to be read: so many sources at a time in this process, and each one once.

One object serves all jobs of a process. Between processes the locks of the state directory decide.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from backupd.stream import Cancel

PARALLEL = 2


class Turns:
    """Gives out turns; safe to use from any thread."""

    def __init__(self, parallel: int = PARALLEL) -> None:
        """At most `parallel` turns are held at a time."""
        self.parallel = parallel
        self._held = 0
        self._busy: set[object] = set()
        self._changed = threading.Condition()  # re-entrant: a signal handler may cancel

    def allow(self, parallel: int) -> None:
        """Let so many be held at a time from now on; none that is held is taken away."""
        with self._changed:
            self.parallel = parallel
            self._changed.notify_all()

    @contextmanager
    def turn(self, sources: Collection[object], cancel: Cancel) -> Iterator[bool]:
        """Hold a turn inside, and be the only one at work on `sources`.

        Gives whether another job was at work on one of them when this one came. Raises Cancelled.
        """
        wanted = set(sources)
        with self._changed:
            was_busy = bool(self._busy & wanted)
            with cancel.closing(self._wake):
                self._changed.wait_for(lambda: cancel.is_set() or self._is_free(wanted))
            cancel.raise_if_set()
            self._held += 1
            self._busy |= wanted
        try:
            yield was_busy
        finally:
            with self._changed:
                self._held -= 1
                self._busy -= wanted
                self._changed.notify_all()

    def _is_free(self, wanted: set[object]) -> bool:
        return self._held < self.parallel and not self._busy & wanted

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
