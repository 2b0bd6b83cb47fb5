"""How long one job may take, from its first question to its last deletion."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

from backupd.errors import BackupdError, Cancelled
from backupd.policy.section import span_text
from backupd.site import Site
from backupd.stream import Cancel


@dataclass(frozen=True, slots=True)
class Deadline:
    """One job's part of a run: the site with a wish to stop of its own, and how long it has."""

    site: Site
    timeout: timedelta | None
    is_over: threading.Event

    def reason(self, job: str, error: BackupdError) -> BackupdError:
        """The error as it is to be told: who timed out has failed because of that."""
        if not self.is_over.is_set() or not isinstance(error, Cancelled) or self.timeout is None:
            return error
        after = span_text(self.timeout)
        told = Cancelled(f"timed out after {after}; raise jobs.{job}.timeout")
        for note in getattr(error, "__notes__", ()):
            told.add_note(note)
        return told


@contextmanager
def bounded(site: Site, timeout: timedelta | None) -> Iterator[Deadline]:
    """A deadline counted from now, which never sets the site's own wish to stop."""
    deadline = Deadline(replace(site, cancel=Cancel()), timeout, threading.Event())

    def expire() -> None:
        deadline.is_over.set()
        deadline.site.cancel.expire()

    with site.cancel.closing(deadline.site.cancel.set):
        if timeout is None:
            yield deadline
            return
        timer = threading.Timer(timeout.total_seconds(), expire)
        timer.name, timer.daemon = "deadline", True
        timer.start()
        try:
            yield deadline
        finally:
            timer.cancel()
