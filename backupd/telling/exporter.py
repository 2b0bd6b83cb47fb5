"""The listener that keeps the numbers, and the front where they are shown, for a daemon's life.

An address that cannot be had, since another program has it or the network is not up yet, is tried
again until it can; until then the pages stay where they were. Backups never wait for that.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from datetime import datetime

from backupd.errors import UsageError
from backupd.run_record import RunRecord
from backupd.telling.server import Pages, Server

LOGGER = logging.getLogger("backupd.telling")
RETRY_SECONDS = 30.0

Address = tuple[str, int]


class Front:
    """Shows the newest pages at the newest address, one server at a time. Safe to use from threads.

    At a reload the new pages are shown before the old ones are withdrawn, or after.
    """

    def __init__(self, retry_seconds: float = RETRY_SECONDS) -> None:
        self._retry_seconds = retry_seconds
        self._lock = threading.Lock()
        self._pages: Pages | None = None
        self._server: Server | None = None
        self._moved_on = threading.Event()
        """Set when nobody wants the address any more that is tried again."""

    def show(self, pages: Pages, address: Address) -> None:
        """Show `pages` there, whoever showed others before.

        Raises UsageError if that is not possible now: it is tried again by a thread.
        """
        with self._lock:
            self._moved_on.set()
            self._moved_on = moved_on = threading.Event()
            self._pages = pages
            if self._server is not None:
                self._server.pages = pages
            try:
                self._move(pages, address)
            except UsageError:
                threading.Thread(
                    target=self._insist,
                    args=(pages, address, moved_on),
                    name="metrics-retry",
                    daemon=True,
                ).start()
                raise

    def withdraw(self, pages: Pages) -> None:
        """Show nothing any more, unless others' pages are shown meanwhile."""
        with self._lock:
            if self._pages is not pages:
                return
            self._moved_on.set()
            self._pages = None
            if self._server is not None:
                self._server.close()
                self._server = None

    def _move(self, pages: Pages, address: Address) -> None:
        """Listen at `address` instead of where the server is now. Raises UsageError."""
        old = self._server
        if old is not None and old.address == address:
            return
        try:
            self._server = Server(address, pages)
        except UsageError:
            if old is None or old.address[1] != address[1]:
                raise
            # The one may be a part of the other: 0.0.0.0 takes its port of every address.
            old.close()
            self._server = None
            try:
                self._server = Server(address, pages)
            except UsageError:
                with suppress(UsageError):
                    self._server = Server(old.address, pages)
                raise
        if old is not None:
            old.close()

    def _insist(self, pages: Pages, address: Address, moved_on: threading.Event) -> None:
        """Try again until it works or nobody wants it; the thread of one address."""
        while not moved_on.wait(self._retry_seconds):
            with self._lock, suppress(UsageError):
                if moved_on.is_set():
                    return
                self._move(pages, address)
                LOGGER.info("metrics are at port %d now", address[1])
                return


class Exporter:
    """Keeps the numbers; its pages are at the front until it is closed or another's are."""

    def __init__(self, pages: Pages, front: Front) -> None:
        self._pages = pages
        self._front = front

    def job_started(self, job: str, at: datetime) -> None:
        """Count it."""
        self._pages.numbers.started(job)

    def job_ended(self, record: RunRecord, recovered: bool) -> None:
        """Count it."""
        self._pages.numbers.ended(record)

    def trouble(self, what: str, sentence: str) -> None:
        """Nothing: /healthz tells of it."""

    def close(self) -> None:
        """Show nothing, unless another took the front over at a reload of the policy."""
        self._front.withdraw(self._pages)
