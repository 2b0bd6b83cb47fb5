"""A thread of its own that carries words out, so that no run ever waits for a service.

Words come in through a bounded queue and go out one after another, each tried a few times with
pauses in between. What cannot be delivered is logged, never raised; where too much waits, what
comes next is dropped and logged. The thread is a daemon: a service that hangs holds no exit.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

LOGGER = logging.getLogger("backupd.telling")
MOST_WAITING = 100
LAST_CALL = timedelta(seconds=5)
"""How long `close` gives what still waits: a service manager waits for us in turn."""
ABANDON_SECONDS = 1.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Undelivered(Generic[T]):
    """What is left to be tried again, and the sentence to log if that helps neither."""

    rest: T
    sentence: str


class Courier(Generic[T]):
    """Carries words by `attempt`, which returns what it could not deliver, or None."""

    def __init__(
        self,
        what: str,
        attempt: Callable[[T], Undelivered[T] | None],
        *,
        pauses_seconds: Sequence[float],
        abandon: Callable[[], None] = lambda: None,
    ) -> None:
        """`abandon` ends an attempt under way; it is called from another thread."""
        self._what = what
        self._attempt = attempt
        self._pauses_seconds = pauses_seconds
        self._abandon = abandon
        self._waiting: queue.Queue[T | None] = queue.Queue(MOST_WAITING)
        self._closing = threading.Event()
        self._last_moment = float("inf")
        self._thread = threading.Thread(target=self._work, name=f"tell-{what}", daemon=True)
        self._thread.start()

    def send(self, word: T) -> None:
        """Take `word` to be carried; returns at once and raises nothing."""
        if self._closing.is_set():
            return
        try:
            self._waiting.put_nowait(word)
        except queue.Full:
            LOGGER.warning("dropped a %s: %d wait already", self._what, MOST_WAITING)

    def close(self, last_call: timedelta) -> None:
        """Deliver what waits, without pauses and for no longer than `last_call`, then give up."""
        self._last_moment = time.monotonic() + last_call.total_seconds()
        self._closing.set()
        # Where it is full, the thread sees that we are closing once it is empty.
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
        self._thread.join(last_call.total_seconds())
        if self._thread.is_alive():
            self._abandon()
            # So that what was given up is logged before the log is closed.
            self._thread.join(ABANDON_SECONDS)

    def _work(self) -> None:
        while not (self._closing.is_set() and self._waiting.empty()):
            word = self._waiting.get()
            if word is None or time.monotonic() > self._last_moment:
                return
            try:
                self._carry(word)
            except Exception as error:
                # The thread's boundary. Only the kind: the words of a foreign error may hold the
                # address, which is a secret.
                LOGGER.error("cannot send a %s: %s", self._what, type(error).__name__)

    def _carry(self, word: T) -> None:
        failed = self._attempt(word)
        for pause_seconds in self._pauses_seconds:
            if failed is None or self._closing.wait(pause_seconds):
                break
            failed = self._attempt(failed.rest)
        if failed is not None:
            LOGGER.warning("%s", failed.sentence)
