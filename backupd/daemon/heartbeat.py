"""status.json in the store: what this host promised and what it made of it, for a whole fleet.

Written when a run begins and after it ended, and at start, by a thread of its own: the store may be
slow, and no run and no loop waits for it. That it cannot be written is logged, and the next one
tries again; whoever reads it judges by its times, so an old one shows that a host fell silent.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from backupd import __version__
from backupd.daemon.generation import Generation, give_memory_back
from backupd.errors import BackupdError
from backupd.history import History
from backupd.layout import status_key
from backupd.verbs.proofs import known_proofs
from backupd.verbs.status import facts_of, status_to_json

LOGGER = logging.getLogger(__name__)


class Heartbeat:
    """Writes status.json soon after `beat`, one at a time, as often as needed."""

    def __init__(self, history: History, generation: Callable[[], Generation]) -> None:
        self._history = history
        self._generation = generation
        self._lock = threading.Lock()
        self._is_wanted = False
        self._thread: threading.Thread | None = None

    def beat(self) -> None:
        """Write soon; returns at once."""
        with self._lock:
            self._is_wanted = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="heartbeat", daemon=True)
                self._thread.start()

    def wait(self, timeout_seconds: float) -> None:
        """Wait for what was asked for, so long at most."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(timeout_seconds)

    def _work(self) -> None:
        while self._take():
            try:
                self._write(self._generation())
            except BackupdError as error:
                LOGGER.warning("cannot write this host's status into the store: %s", error)
            except Exception:
                LOGGER.exception("cannot write this host's status, by a fault of backupd")
            give_memory_back()

    def _take(self) -> bool:
        with self._lock:
            is_wanted, self._is_wanted = self._is_wanted, False
            if not is_wanted:
                self._thread = None
        return is_wanted

    def _write(self, generation: Generation) -> None:
        now = datetime.now(UTC)
        facts = facts_of(self._history.pasts(), self._history.promises())
        with generation.at_work() as site:
            proofs = known_proofs(site.state)
            told = status_to_json(generation.host, __version__, now, facts, proofs)
            # Another machine of our name must not find its own status replaced.
            site.catalog.claim(site.state.machine_id(), now)
            site.store.put_bytes(status_key(site.host), json.dumps(told).encode() + b"\n")
