"""Shows what the daemon does: daemon.json for `backupd status`, STATUS= for `systemctl status`.

Written when something changed, and every few seconds while bytes flow.
"""

from __future__ import annotations

import itertools
import logging
import os
import time
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from backupd import __version__
from backupd.daemon import statefile
from backupd.daemon.in_force import InForce
from backupd.daemon.runs import Running, Runs
from backupd.daemon.scheduler import Scheduler
from backupd.daemon.sd_notify import ServiceManager
from backupd.daemon.statefile import DaemonNow, RunNow, SourceNow
from backupd.daemon.words import status_line
from backupd.errors import UsageError
from backupd.state import StateDir

LOGGER = logging.getLogger(__name__)
SHOWN_NEXT = 10
PROGRESS_SECONDS = 5.0


class Showing:
    """Used by the loop's thread only."""

    def __init__(self, state: StateDir, manager: ServiceManager) -> None:
        self._state = state
        self._manager = manager
        self._started_at = datetime.now(UTC)
        self._shown: DaemonNow | None = None
        self._shown_line = ""
        self._shown_at = 0.0
        self._is_broken = False

    def show(
        self, force: InForce, runs: Runs, scheduler: Scheduler, *, waits_for: str, stops: bool
    ) -> None:
        """Tell what changed since the last time."""
        running = [_run(running) for running in list(runs.running.values())]
        now = DaemonNow(
            pid=os.getpid(),
            version=__version__,
            host=force.generation.host,
            started_at=self._started_at,
            written_at=self._started_at,  # the same each time, for the comparison
            policy=force.shown,
            waits_for=waits_for,
            running=running,
            waiting=runs.waiting,
            next_runs=dict(itertools.islice(scheduler.next_runs(), SHOWN_NEXT)),
        )
        line = status_line(now, ZoneInfo(force.generation.policy.timezone), stops=stops)
        is_progress = self._shown is not None and _still(now) == _still(self._shown)
        if is_progress and line == self._shown_line:
            return
        if is_progress and time.monotonic() < self._shown_at + PROGRESS_SECONDS:
            return
        self._shown, self._shown_line, self._shown_at = now, line, time.monotonic()
        self._manager.status(line)
        self._write(replace(now, written_at=datetime.now(UTC)))

    def _write(self, now: DaemonNow) -> None:
        """A full disk is no reason to end; it is told once."""
        try:
            statefile.write(self._state, now)
            self._is_broken = False
        except (OSError, UsageError) as error:
            if not self._is_broken:
                LOGGER.warning("cannot write %s: %s", statefile.FILE_NAME, error)
            self._is_broken = True


def _run(running: Running) -> RunNow:
    sources = [SourceNow(*key, done_bytes=done) for key, done in list(running.sources.items())]
    return RunNow(running.job, running.started_at, sources)


def _still(now: DaemonNow) -> DaemonNow:
    """Without what flows."""
    return replace(
        now,
        running=[
            replace(run, sources=[replace(source, done_bytes=0) for source in run.sources])
            for run in now.running
        ],
    )
