"""What the daemon does before its first run: wait for what it needs, and undo what died.

At boot the engine may come up after us and the network later still, so both are waited for, with
growing pauses and for a limited time: then runs begin all the same, and say what is missing by
failing. Everything undone here is undone under the lock of what it touches, so a backup that a
person started just now is left alone.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from backupd import journal
from backupd.daemon.generation import Generation
from backupd.errors import BackupdError, EngineUnreachable, UsageError
from backupd.leftovers import sweep
from backupd.policy import StoreSpec
from backupd.site import Site
from backupd.state import StateDir
from backupd.stream import Cancel
from backupd.verbs.remove import drop_uploads, forgotten_before

LOGGER = logging.getLogger(__name__)
PATIENCE_SECONDS = 600.0
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 15.0

Tell = Callable[[str, str], None]
"""Told of trouble: what (`engine`, `store`), and a sentence."""


OWED_FILE = "uploads-owed"
"""In the state directory from when a killed run is known until its uploads were dropped, so that a
daemon which is killed in between does not leave them to the grace of what is forgotten."""


def owe_uploads(state: StateDir) -> None:
    """Remember that a process of ours was killed in the middle of a run."""
    try:
        state.write(OWED_FILE, b"")
    except (OSError, UsageError) as error:
        LOGGER.warning("unfinished uploads may stay for a day: %s", error)


class Recovery:
    """The work of one thread, from the daemon's start until runs may begin."""

    def __init__(self, generation: Generation, *, tell: Tell) -> None:
        self._generation = generation
        self._tell = tell
        self._stop = threading.Event()
        self._cancel = Cancel()
        self.waits_for = ""
        """What is waited for now, in words."""
        self.is_undoing = False
        """Whether containers are set going again just now: who ends may wait for that."""

    @property
    def shown(self) -> str:
        """What keeps the first run from beginning, in words; empty for nothing to speak of."""
        return "what a backup that died left" if self.is_undoing else self.waits_for

    def stop(self) -> None:
        """Wait no longer: the daemon ends."""
        self._stop.set()

    def cancel(self) -> None:
        """End what is being undone as well: what is left of it is done at the next start."""
        self._cancel.set()

    def run(self) -> None:
        """Wait, then undo. Raises nothing.

        Containers first, since somebody misses them: they do not wait for the store.
        """
        try:
            with self._generation.at_work() as site:
                self._wait_for_engine(site)
                self._try("engine", lambda: self._undo(site))
                self._wait_for_store(self._generation.policy.store)
                self._try("store", lambda: self._drop_uploads(site))
        except BackupdError as error:
            self._complain("policy", error)
        except Exception:
            LOGGER.exception("cannot make ready for the first run, by a fault of backupd")

    def _try(self, what: str, act: Callable[[], None]) -> None:
        """Do it unless the daemon ends; that it fails keeps nothing else from being done."""
        if self._stop.is_set():
            return
        try:
            act()
        except BackupdError as error:
            self._complain(what, error)

    def _complain(self, what: str, error: BackupdError) -> None:
        LOGGER.warning("cannot make ready for the first run: %s", error)
        self._tell(what, str(error))

    def _wait_for_engine(self, site: Site) -> None:
        def is_there() -> str | None:
            try:
                site.engine.version()
            except EngineUnreachable as error:
                return str(error)
            except BackupdError:
                return None  # it is there, and what it says is the first run's business
            return None

        self._wait("the engine", is_there)

    def _wait_for_store(self, spec: StoreSpec) -> None:
        name = host_of(spec, os.environ.get("AWS_DEFAULT_REGION", ""))

        def resolves() -> str | None:
            try:
                socket.getaddrinfo(name, None)
            except OSError as error:
                return f"the store's name {name} does not resolve ({error.strerror})"
            return None

        if name is not None:
            self._wait("the store's name", resolves)

    def _wait(self, what: str, problem: Callable[[], str | None]) -> None:
        """Return when there is no problem any more, or no patience. Each thing is logged once."""
        deadline, pause_seconds = time.monotonic() + PATIENCE_SECONDS, _FIRST_PAUSE_SECONDS
        while (sentence := problem()) is not None and not self._stop.is_set():
            if not self.waits_for:
                LOGGER.warning("waiting for %s: %s", what, sentence)
                self.waits_for = what
            if time.monotonic() > deadline:
                LOGGER.error("waited in vain for %s: %s", what, sentence)
                self._tell(what.split()[-1], sentence)
                break
            self._stop.wait(pause_seconds)
            pause_seconds = min(pause_seconds * 2, _LONGEST_PAUSE_SECONDS)
        if self.waits_for and sentence is None:
            LOGGER.info("%s is there", what)
        self.waits_for = ""

    def _undo(self, site: Site) -> None:
        self.is_undoing = True
        try:
            journal.replay(site.state, site.engine, LOGGER.warning, self._cancel)
            sweep(site.state, site.engine, LOGGER.warning)
        finally:
            self.is_undoing = False

    def _drop_uploads(self, site: Site) -> None:
        # Uploads of this machine whose source nobody works on are dead for sure when a run of ours
        # died; otherwise the grace protects what somebody does with a state directory of his own.
        owed = site.state.path / OWED_FILE
        before = site.now() if owed.exists() else forgotten_before(site)
        site.catalog.require_ours(site.state.machine_id())
        dropped = drop_uploads(site, site.catalog, before)
        owed.unlink(missing_ok=True)
        if dropped.uploads:
            LOGGER.info("dropped %d unfinished uploads", dropped.uploads)
        for complaint in dropped.complaints:
            LOGGER.warning("%s", complaint)


def host_of(spec: StoreSpec, region: str) -> str | None:
    """The name that must resolve before the store can answer; None for a directory."""
    if spec.scheme != "s3":
        return None
    if spec.endpoint:
        return urlsplit(spec.endpoint).hostname
    return f"s3.{spec.region or region or 'us-east-1'}.amazonaws.com"
