"""How the daemon comes to its end: a grace for what runs, then patience while it is undone.

Used by the loop's thread only. A cancelled run waits for nothing but the engine: a container that
is being stopped can be started again only when its own stop timeout is over, so that is waited for
however long it takes, and the service manager is told.
"""

from __future__ import annotations

import time
from datetime import timedelta

from backupd.daemon.sd_notify import ServiceManager
from backupd.journal_file import STOP, Entry, entries
from backupd.state import StateDir

CANCEL_PATIENCE = timedelta(seconds=40)
"""How long cancelled runs may take to undo what they did: more than a hurried command after."""
START_PATIENCE_SECONDS = 20.0
"""How long a container may take to start again, once it has stopped."""
_ASKED_SECONDS = 60.0
"""For how much longer the service manager is asked at a time."""


class Stopping:
    """Whether a stop is wanted, how far it got, and when waiting has no sense any more."""

    def __init__(
        self,
        state: StateDir,
        manager: ServiceManager,
        patience: timedelta = CANCEL_PATIENCE,
    ) -> None:
        self._state = state
        self._patience_seconds = patience.total_seconds()
        self._manager = manager
        self._deadline: float | None = None
        """Monotonic time at which running jobs are cancelled; None while nobody wants a stop."""
        self.is_cancelling = False

    @property
    def is_wanted(self) -> bool:
        """Whether somebody told the daemon to stop."""
        return self._deadline is not None

    def ask(self, grace: timedelta) -> None:
        """Stop, with this grace for what runs; asked again, without any."""
        now = time.monotonic()
        if self._deadline is None:
            self._manager.stopping()
            self._deadline = now + grace.total_seconds()
        else:
            # Not later than before: a third time must not buy any.
            self._deadline = min(self._deadline, now)

    def is_time_to_cancel(self) -> bool:
        """Whether the grace is over; true once."""
        if self._deadline is None or self.is_cancelling or time.monotonic() < self._deadline:
            return False
        self.is_cancelling = True
        self._deadline = time.monotonic()
        return True

    def has_patience(self) -> bool:
        """Whether what still runs is waited for."""
        if self._deadline is None or not self.is_cancelling:
            return True
        if time.monotonic() < self._deadline + self._patience_seconds:
            return True
        if not self._is_container_stopping():
            return False
        self._manager.needs_longer(_ASKED_SECONDS)
        return True

    def held(self) -> list[Entry]:
        """The containers that runs of this state directory hold, as the journal has them."""
        return entries(self._state)

    def _is_container_stopping(self) -> bool:
        stops = [entry.done_by for entry in self.held() if entry.act == STOP]
        return time.time() < max(stops, default=0.0) + START_PATIENCE_SECONDS
