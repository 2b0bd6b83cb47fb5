"""Whether somebody set the clock back: then what is due next was reckoned by a wrong one."""

from __future__ import annotations

import time
from collections.abc import Callable

STEP_SECONDS = 60.0
"""Less than that is no step: clocks are corrected by small amounts all the time."""


class ClockWatch:
    """Compares the wall clock with one that only goes forward."""

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._ahead_seconds = wall() - steady()

    def was_set_back(self) -> bool:
        """Whether that happened since the last question."""
        before, self._ahead_seconds = self._ahead_seconds, self._wall() - self._steady()
        return self._ahead_seconds < before - STEP_SECONDS
