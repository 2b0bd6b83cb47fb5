"""One policy as it was read, with the engine and the store that it names.

A run holds the generation it began with, so a reload changes nothing for it. Engine and store are
opened for the first run and closed after the last one: a daemon idles for most of its life, and
gives back what they took.
"""

from __future__ import annotations

import ctypes
import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime

from backupd.config import Loaded
from backupd.daemon.chores import CHORES
from backupd.policy import Policy
from backupd.run_record import Promise
from backupd.schedule import Schedule
from backupd.site import Site
from backupd.stream import Cancel
from backupd.timetable import Timetable, delay_of

OpenSite = Callable[[Policy], AbstractContextManager[Site]]


@dataclass(frozen=True, slots=True)
class Source:
    """Where policies come from."""

    path: str
    """Of the file, for people."""
    read: Callable[[], Loaded]
    """Reads and checks all of it. Raises PolicyError."""
    open_site: Callable[[Loaded], AbstractContextManager[Site]]
    """What a policy names, its store's keys as they are by now."""


class Generation:
    """A policy in force. Safe to use from several threads."""

    def __init__(self, policy: Policy, host: str, open_site: OpenSite) -> None:
        self.policy = policy
        self.host = host
        self.timetables = timetables_of(policy, host)
        self._open_site = open_site
        self._lock = threading.Lock()
        self._users = 0
        self._site: Site | None = None
        self._on_idle = ExitStack()

    @contextmanager
    def at_work(self, cancel: Cancel | None = None) -> Iterator[Site]:
        """The site, with a cancel of its own, for one piece of work. Raises BackupdError."""
        with self._lock:
            if self._site is None:
                self._site = self._on_idle.enter_context(self._open_site(self.policy))
            site = self._site
            self._users += 1
        try:
            yield replace(site, cancel=cancel or Cancel())
        finally:
            del site
            self._leave()

    def promises(self, at: datetime) -> dict[str, Promise]:
        """What is promised by this policy from `at` on."""
        return {
            name: Promise(
                timetable.schedule.expression,
                timetable.schedule.zone.key,
                int(timetable.delay.total_seconds()),
                at,
            )
            for name, timetable in self.timetables.items()
        }

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users:
                return
            self._site = None
            self._on_idle.close()


def timetables_of(policy: Policy, host: str) -> dict[str, Timetable]:
    """The timetable of every job, and of every chore beside them, that has a schedule."""
    found = {}
    for name, job in policy.jobs.items():
        schedule = policy.schedule_of(job)
        if schedule is not None:
            found[name] = Timetable(schedule, delay_of(host, name, job.jitter))
    for name, chore in CHORES.items():
        expression = chore.schedule_of(policy)
        if expression is not None:
            found[name] = Timetable(Schedule.parse(expression, policy.timezone))
    return found


def give_memory_back() -> None:
    """Return to the system what the last work took; Python alone keeps most of it.

    To be called when no variable names that work's site any more: a store's client holds 20 MiB.
    """
    gc.collect()
    with suppress(OSError, AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)
