"""Runs of jobs: each in a thread of its own, no job beside itself, only so many at a time.

Only the loop's thread calls the methods here; a run's thread works on its own `Running` and hands
its end to `on_end`, which must take it from any thread. How many sources are read at a time is not
decided here: a job that waits for its turn is a run already.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from backupd.daemon.chores import CHORES
from backupd.daemon.generation import Generation, give_memory_back
from backupd.errors import BackupdError, Cancelled
from backupd.history import History
from backupd.log import LogReport
from backupd.run_record import RunRecord
from backupd.stream import Cancel
from backupd.verbs.recorded import run_recorded
from backupd.verbs.task import Outcome, Task
from backupd.verbs.transfer import Progress

LOGGER = logging.getLogger(__name__)
MOST_AT_ONCE = 8
"""Runs under way at a time; each lists the store and the engine. More wait in their order."""


@dataclass
class Running:
    """One run under way."""

    job: str
    started_at: datetime
    cancel: Cancel = field(default_factory=Cancel)
    record: RunRecord | None = None
    """What became of it, once it ended."""
    sources: dict[tuple[str, str], int] = field(default_factory=dict)
    """(kind, name) of what is read now → plain bytes so far."""
    thread: threading.Thread | None = None


class _Report(LogReport):
    """Logs a run and keeps where it stands."""

    def __init__(self, running: Running) -> None:
        self._sources = running.sources

    def begin(self, task: Task) -> Progress:
        super().begin(task)
        key = (str(task.source.kind), task.source.name)
        self._sources[key] = 0

        def progress(done_bytes: int) -> None:
            self._sources[key] = done_bytes

        return progress

    def end(self, outcome: Outcome) -> None:
        self._sources.pop((str(outcome.kind), outcome.name), None)
        super().end(outcome)


class _Recorder:
    """Records a run in the history, and for whoever waits for its end."""

    def __init__(self, history: History, running: Running) -> None:
        self._history = history
        self._running = running

    def begin(self, job: str, at: datetime) -> int | None:
        return self._history.begin(job, at)

    def end(self, run_id: int | None, record: RunRecord) -> None:
        self._running.record = record
        self._history.end(run_id, record)


class Runs:
    """What runs now and what waits for a place."""

    def __init__(self, history: History, on_end: Callable[[Running], None]) -> None:
        self._history = history
        self._on_end = on_end
        self.running: dict[str, Running] = {}
        self._waiting: deque[str] = deque()
        self._is_open = False

    @property
    def waiting(self) -> list[str]:
        """Jobs that are due and have no place yet."""
        return list(self._waiting)

    def is_busy_with(self, job: str) -> bool:
        """Whether the job runs or waits to."""
        return job in self.running or job in self._waiting

    def ask(self, job: str) -> None:
        """Run the job as soon as there is a place."""
        self._waiting.append(job)

    def open(self) -> None:
        """Let runs begin: what they need is there."""
        self._is_open = True

    def close(self) -> list[str]:
        """Let no run begin any more; what waited for one."""
        self._is_open = False
        waiting = list(self._waiting)
        self._waiting.clear()
        return waiting

    def start_waiting(self, generation: Generation) -> list[Running]:
        """Begin the runs for which there is a place, under the policy in force; those that began.

        A job that the policy no longer names is not begun.
        """
        started = []
        while self._is_open and self._waiting and len(self.running) < MOST_AT_ONCE:
            job = self._waiting.popleft()
            if job not in generation.timetables:
                LOGGER.warning("job %s was due, and the new policy does not schedule it", job)
                continue
            running = Running(job, datetime.now(UTC))
            self.running[job] = running
            running.thread = threading.Thread(
                target=self._work, args=(running, generation), name=f"run-{job}", daemon=True
            )
            running.thread.start()
            started.append(running)
        return started

    def ended(self, running: Running) -> None:
        """Forget a run that ended."""
        self.running.pop(running.job, None)

    def cancel(self) -> None:
        """Tell all runs to stop now."""
        for running in self.running.values():
            running.cancel.set()

    def wait(self, timeout_seconds: float) -> None:
        """Wait for the threads of all runs, so long at most; for a loop that turns no more."""
        deadline = time.monotonic() + timeout_seconds
        for running in self.running.values():
            if running.thread is not None and running.thread.is_alive():
                running.thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self, running: Running, generation: Generation) -> None:
        """The thread of one run."""
        try:
            self._run(running, generation)
            give_memory_back()
        finally:
            self._on_end(running)

    def _run(self, running: Running, generation: Generation) -> None:
        """Run the job: whatever happens in it ends here."""
        job = running.job
        try:
            with generation.at_work(running.cancel) as site:
                recorder, report = _Recorder(self._history, running), _Report(running)
                work = CHORES[job].run if job in CHORES else run_recorded
                work(recorder, site, generation.policy, job, report)
        except Cancelled:
            LOGGER.warning("the run of job %s was stopped", job)
        except BackupdError as error:
            LOGGER.error("cannot run job %s: %s", job, error)
            self._record_failure(running, str(error))
        except Exception as error:
            LOGGER.exception("the run of job %s failed by a fault of backupd", job)
            self._record_failure(running, f"internal error: {error!r}")

    def _record_failure(self, running: Running, note: str) -> None:
        """Record a run that failed before there was anything to record."""
        if running.record is None:
            now = datetime.now(UTC)
            running.record = RunRecord(running.job, running.started_at, now, "failed", (), note)
            self._history.add(running.record)
