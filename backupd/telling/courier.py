"""Threads of their own that carry words out, so that no run ever waits for a service.

Each address has a courier: words come in through a bounded queue and go out one after another, each
tried a few times with pauses in between, and a dead address holds up no other. What cannot be
delivered is logged, never raised; where too much waits, what comes next is dropped and logged. A
thread lives while something waits, and is a daemon: a service that hangs holds no exit.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Collection, Hashable, Sequence
from datetime import timedelta
from typing import Protocol

LOGGER = logging.getLogger("backupd.telling")
MOST_WAITING = 100
LAST_CALL = timedelta(seconds=5)
"""How long `close` gives what still waits: a service manager waits for us in turn."""
ABANDON_SECONDS = 1.0


class Errand(Protocol):
    """Words for one address."""

    def attempt(self) -> str | None:
        """Try to deliver them; why that failed, in a sentence to log, or None."""

    def abandon(self) -> None:
        """End the attempt under way, if that is possible; called from another thread."""


class Courier:
    """Carries errands to one address, one at a time and in their order."""

    def __init__(self, what: str, pauses_seconds: Sequence[float]) -> None:
        self._what = what
        self._pauses_seconds = pauses_seconds
        self._lock = threading.Lock()
        self._waiting: deque[Errand] = deque()
        self._under_way: Errand | None = None
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._last_moment = float("inf")

    def send(self, errand: Errand) -> None:
        """Take `errand` to be carried; returns at once and raises nothing."""
        with self._lock:
            if self._closing.is_set():
                return
            is_full = len(self._waiting) >= MOST_WAITING
            if not is_full:
                self._waiting.append(errand)
            if self._thread is None:
                name = f"tell-{self._what}"
                self._thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._thread.start()
        if is_full:
            LOGGER.warning("dropped a %s: %d wait already", self._what, MOST_WAITING)

    def hurry(self, last_moment: float) -> None:
        """From now on take nothing new, make no pauses, and begin nothing after `last_moment`."""
        with self._lock:
            self._last_moment = last_moment
            self._closing.set()

    def join(self, last_moment: float) -> None:
        """Wait for what is under way until that (monotonic) moment."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(max(0.0, last_moment - time.monotonic()))

    def abandon(self) -> None:
        """End what is under way, and forget the rest."""
        with self._lock:
            errand, lost = self._under_way, len(self._waiting)
            self._waiting.clear()
        if errand is not None:
            errand.abandon()
        if lost:
            LOGGER.warning("dropped a %s, %d in all: no time was left for it", self._what, lost)

    def _work(self) -> None:
        while (errand := self._next()) is not None:
            try:
                self._carry(errand)
            except Exception as error:
                # The thread's boundary. Only the kind: the words of a foreign error may hold the
                # address, which is a secret.
                LOGGER.error("cannot send a %s: %s", self._what, type(error).__name__)

    def _next(self) -> Errand | None:
        """What is to be carried next; None if this thread is to end."""
        with self._lock:
            self._under_way = None
            if self._waiting and time.monotonic() <= self._last_moment:
                self._under_way = self._waiting.popleft()
            else:
                self._thread = None
            return self._under_way

    def _carry(self, errand: Errand) -> None:
        failure = errand.attempt()
        for pause_seconds in self._pauses_seconds:
            if failure is None:
                return
            is_last_call = self._closing.wait(pause_seconds)
            if time.monotonic() > self._last_moment:
                break
            failure = errand.attempt()
            if is_last_call:
                break
        if failure is not None:
            LOGGER.warning("%s", failure)


class Couriers:
    """One courier for each address, for a daemon's life: one whose address stays outlives a reload.

    Whoever sends is an owner. The newest owner of an address has its courier, with all that waits
    there and is being tried again.
    """

    def __init__(self, what: str, pauses_seconds: Sequence[float]) -> None:
        """`what` is carried, in one word; `pauses_seconds` are those between the tries."""
        self._what = what
        self._pauses_seconds = pauses_seconds
        self._lock = threading.Lock()
        self._couriers: dict[Hashable, Courier] = {}
        self._owners: dict[Hashable, object] = {}

    def serve(self, owner: object, addresses: Collection[Hashable]) -> None:
        """Let `owner` send to these addresses, whoever did so before."""
        with self._lock:
            for address in addresses:
                self._owners[address] = owner
                if address not in self._couriers:
                    self._couriers[address] = Courier(self._what, self._pauses_seconds)

    def send(self, address: Hashable, errand: Errand) -> None:
        """Take `errand` to be carried there; returns at once and raises nothing.

        What is sent to an address that nobody has any more is lost.
        """
        with self._lock:
            courier = self._couriers.get(address)
        if courier is not None:
            courier.send(errand)

    def close(self, owner: object, last_call: timedelta) -> None:
        """Deliver what waits at the addresses that are still this owner's, then give up.

        That is done without pauses, and for no longer than `last_call` and a moment.
        """
        with self._lock:
            mine = [address for address, has in self._owners.items() if has is owner]
            closed = [self._couriers.pop(address) for address in mine]
            for address in mine:
                del self._owners[address]
        last_moment = time.monotonic() + last_call.total_seconds()
        for courier in closed:
            courier.hurry(last_moment)
        for courier in closed:
            courier.join(last_moment)
        for courier in closed:
            courier.abandon()
        # So that what was given up is logged before the log is closed.
        for courier in closed:
            courier.join(last_moment + ABANDON_SECONDS)
