"""Reading ahead in a thread, so that source and consumer overlap and a silent source is noticed.

docker-py and boto3 block for ever in a read once the headers are there: only another thread can
see that nothing comes. Waiting is counted on the consumer's side alone, so a consumer that is slow
itself (back-pressure) is never taken for a stalled source. Nor is one that was stopped for a while
(SIGSTOP, a machine that slept): waiting is counted in short steps, of which a stop takes one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from backupd.errors import EngineStalled
from backupd.stream.cancel import Cancel

_LONGEST_STEP_SECONDS = 1.0
_STEPS = 4
"""In so many steps at least a timeout is waited for."""
_GRACE_SECONDS = 5.0
"""How long leaving waits for a thread whose source was told to end."""


class Prefetched:
    """Iterates over `chunks`, which a thread reads up to `depth` pieces ahead; a context manager.

    Next to the chunks it raises what the source raised, as it is; EngineStalled when the consumer
    has waited `first_timeout_seconds` for the first chunk or `stall_timeout_seconds` for a later
    one; Cancelled. `on_abort` must end a read that blocks, from any thread, and may be called more
    than once; it is called before EngineStalled is raised and when the block is left early.
    """

    def __init__(
        self,
        chunks: Iterator[bytes],
        *,
        first_timeout_seconds: float,
        stall_timeout_seconds: float,
        on_abort: Callable[[], None],
        cancel: Cancel,
        depth: int = 4,
        silent: str = "the engine",
    ) -> None:
        self._chunks = chunks
        self._first_timeout_seconds = first_timeout_seconds
        self._stall_timeout_seconds = stall_timeout_seconds
        self._on_abort = on_abort
        self._cancel = cancel
        self._depth = depth
        self._silent = silent
        self._ready: deque[bytes] = deque()
        self._failure: BaseException | None = None
        self._has_begun = self._is_done = self._is_left = False
        self._changed = threading.Condition()  # re-entrant: a signal handler may cancel
        self._thread = threading.Thread(target=self._read, name="read-ahead", daemon=True)
        self._on_exit = ExitStack()

    def __enter__(self) -> Self:
        self._on_exit.enter_context(self._cancel.closing(self._wake))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._on_exit.close()
        with self._changed:
            self._is_left = True
            self._ready.clear()
            self._changed.notify_all()
            has_ended = self._is_done
        if not has_ended:
            self._abort(error)
        self._thread.join(_GRACE_SECONDS)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        with self._changed:
            timeout = self._stall_timeout_seconds
            if not self._has_begun:
                timeout = self._first_timeout_seconds
            has_news = self._wait_for_news(timeout)
            self._cancel.raise_if_set()
            if self._ready:
                self._has_begun = True
                self._changed.notify_all()
                return self._ready.popleft()
            if has_news:
                raise self._failure or StopIteration
            stalled = EngineStalled(f"{self._silent} sent nothing for {_in_words(timeout)}")
            self._failure = stalled
        # Without the lock: the thread needs it to get out of the read that this ends.
        self._abort(stalled)
        raise stalled

    def _wait_for_news(self, timeout: float) -> bool:
        """Whether there is any before so much time has passed in which it could have come."""
        waited, step = 0.0, min(_LONGEST_STEP_SECONDS, timeout / _STEPS)
        while waited < timeout:
            if self._changed.wait_for(self._has_news, step):
                return True
            waited += step
        return self._has_news()

    def _has_news(self) -> bool:
        is_over = self._is_done or self._failure is not None
        return bool(self._ready) or is_over or self._cancel.is_set()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _abort(self, error: BaseException | None) -> None:
        try:
            self._on_abort()
        except Exception as failure:
            # The error on its way matters more; without one, nothing of the source is wanted.
            if error is not None:
                error.add_note(f"and the source could not be closed: {failure!r}")

    def _read(self) -> None:
        """The thread: read ahead until the source ends, or the consumer has left."""
        failure: BaseException | None = None
        try:
            while self._has_room() and (chunk := next(self._chunks, None)) is not None:
                self._offer(chunk)
        except BaseException as error:  # all of it belongs to the consumer
            failure = error
        try:
            self._close()
        except BaseException as error:
            failure = failure or error
        with self._changed:
            self._failure = self._failure or failure
            self._is_done = True
            self._changed.notify_all()

    def _has_room(self) -> bool:
        """Wait for room in the queue; false when nobody will read it any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_left or len(self._ready) < self._depth)
            return not self._is_left

    def _offer(self, chunk: bytes) -> None:
        with self._changed:
            if not self._is_left:
                self._ready.append(chunk)
                self._changed.notify_all()

    def _close(self) -> None:
        """Close a generator in the thread that ran it, so that its own clean-up happens now."""
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()


def _in_words(seconds: float) -> str:
    """`5m`, `90s`: as a policy writes it."""
    whole = round(seconds)
    if whole and whole % 3600 == 0:
        return f"{whole // 3600}h"
    if whole and whole % 60 == 0:
        return f"{whole // 60}m"
    return f"{seconds:g}s"
