"""Who is told what the daemon does: metrics, notifications, pings.

A listener may be slow or broken: each has a thread and a queue of its own, so that none delays or
fails a run, or another listener.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from backupd.run_record import RunRecord

LOGGER = logging.getLogger(__name__)
QUEUE_LIMIT = 10_000
"""More than this waiting for one listener is dropped, and told."""


class Listener(Protocol):
    """Told in the order in which things happen, always from one thread."""

    def job_started(self, job: str, at: datetime) -> None:
        """A run began."""

    def job_ended(self, record: RunRecord, recovered: bool) -> None:
        """A run ended, was skipped or was found interrupted; `recovered` if it is the first good
        one after one that was not."""

    def trouble(self, what: str, sentence: str) -> None:
        """Something beside a run failed: the policy could not be read, the store refused us."""

    def close(self) -> None:
        """The daemon stops; nothing more comes."""


Call = Callable[[Listener], object]


class Listeners:
    """All listeners as one; none of its methods waits or raises, but for `close`."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._lines = [_Line(listener) for listener in listeners]

    def job_started(self, job: str, at: datetime) -> None:
        """Tell that a run began."""
        self._tell(lambda listener: listener.job_started(job, at))

    def job_ended(self, record: RunRecord, *, recovered: bool) -> None:
        """Tell how a run ended."""
        self._tell(lambda listener: listener.job_ended(record, recovered))

    def trouble(self, what: str, sentence: str) -> None:
        """Tell of something that failed beside a run."""
        self._tell(lambda listener: listener.trouble(what, sentence))

    def close(self, *, within_seconds: float) -> None:
        """Let them finish what waits, for so long at most."""
        deadline = time.monotonic() + within_seconds
        for line in self._lines:
            line.tell(None)
        for line in self._lines:
            line.join(max(0.0, deadline - time.monotonic()))

    def _tell(self, call: Call) -> None:
        for line in self._lines:
            line.tell(call)


class _Line:
    """One listener with its queue and its thread."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._calls: queue.Queue[Call | None] = queue.Queue(QUEUE_LIMIT)
        self._thread = threading.Thread(target=self._serve, name="listener", daemon=True)
        self._thread.start()

    def tell(self, call: Call | None) -> None:
        try:
            self._calls.put_nowait(call)
        except queue.Full:
            name = type(self._listener).__name__
            LOGGER.warning("%s does not keep up: something is not told", name)

    def join(self, timeout_seconds: float) -> None:
        self._thread.join(timeout_seconds)

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            self._do(call)
        self._do(lambda listener: listener.close())

    def _do(self, call: Call) -> None:
        try:
            call(self._listener)
        except Exception:  # another's fault must not end the thread
            LOGGER.exception("%s failed", type(self._listener).__name__)
