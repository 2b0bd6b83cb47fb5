"""A rate in bytes a second that any number of streams share: who comes too early waits.

Own code because s3transfer's limit counts each upload by itself, knows no directory, and corrects
an average; here no second carries more than was allowed, but for one block.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Pace:
    """Safe to use from any thread.

    Nothing is saved up: after a pause it goes on at the same rate.
    """

    def __init__(
        self,
        bytes_a_second: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.bytes_a_second = bytes_a_second
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free_at = clock()

    def wait_for(self, size_bytes: int) -> None:
        """Return when `size_bytes` more may pass, in the order in which it was called."""
        with self._lock:
            now = self._clock()
            begins_at = max(now, self._free_at)
            self._free_at = begins_at + size_bytes / self.bytes_a_second
        if begins_at > now:
            self._sleep(begins_at - now)
