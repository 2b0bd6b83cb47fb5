"""What the loop asks of the history, and what it tells the listeners: what was missed, skipped,
interrupted, and how runs ended."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from backupd.daemon.generation import Generation
from backupd.daemon.listeners import Listeners
from backupd.errors import UsageError
from backupd.history import PRUNE, History, Past, Promise, RunRecord
from backupd.timetable import Timetable, missed

LOGGER = logging.getLogger(__name__)

Tell = Callable[[], Listeners]
"""The listeners of now: a reload replaces them."""


class Ledger:
    """Used by the loop's thread only."""

    def __init__(self, history: History, listeners: Tell) -> None:
        self._history = history
        self._listeners = listeners
        self._ailing: set[str] = set()
        """Jobs whose last run was not good."""

    def open(self, now: datetime) -> bool:
        """Close what dead processes left; whether there was anything."""
        self._history.check()
        died = self._history.close_interrupted(now)
        for record in died:
            LOGGER.warning(
                "the run of job %s that began at %s was interrupted: %s",
                record.job,
                record.started_at.isoformat(timespec="seconds"),
                record.note,
            )
        pasts = self._pasts()
        self._ailing = {job for job, past in pasts.items() if _is_ailing(past)}
        for record in died:
            self._listeners().job_ended(record, recovered=False)
        return bool(died)

    def take_up(self, generation: Generation, now: datetime) -> None:
        """Remember what is promised from now on."""
        self._history.take_up(generation.promises(now))

    def missed_runs(self, generation: Generation, now: datetime) -> dict[str, datetime]:
        """Job → when a run was due that never came; for jobs that want to catch up.

        To be asked before `take_up`: a schedule that was changed meanwhile has promised nothing.
        """
        pasts, promises = self._pasts(), self._promises()
        found = {}
        for job, timetable in generation.timetables.items():
            if job != PRUNE and not generation.policy.jobs[job].catch_up:
                continue
            due = _missed(timetable, pasts.get(job, Past()), promises.get(job), now)
            if due is not None:
                found[job] = due
        return found

    def started(self, job: str, at: datetime) -> None:
        """A run began."""
        LOGGER.info("job %s begins", job)
        self._listeners().job_started(job, at)

    def ended(self, record: RunRecord) -> None:
        """A run ended."""
        recovered = record.state == "good" and record.job in self._ailing
        if record.state == "good":
            self._ailing.discard(record.job)
        elif record.state in ("failed", "interrupted"):
            self._ailing.add(record.job)
        level = {"good": logging.INFO, "skipped": logging.WARNING}.get(record.state, logging.ERROR)
        LOGGER.log(level, "job %s ended: %s", record.job, ending_words(record))
        self._listeners().job_ended(record, recovered=recovered)

    def skipped(self, job: str, due: Sequence[datetime], note: str) -> None:
        """A run that was due is not begun: logged, recorded and told."""
        LOGGER.warning("job %s is skipped, due at %s: %s", job, due[-1].isoformat(), note)
        record = RunRecord(job, due[-1], due[-1], "skipped", (), note)
        self._history.add(record)
        self._listeners().job_ended(record, recovered=False)

    def _pasts(self) -> Mapping[str, Past]:
        try:
            return self._history.pasts()
        except UsageError as error:
            LOGGER.warning("%s", error)
            return {}

    def _promises(self) -> Mapping[str, Promise]:
        try:
            return self._history.promises()
        except UsageError:
            return {}


def ending_words(record: RunRecord) -> str:
    """How a run ended: `good, 3 saved, 2 unchanged`."""
    states = [source.state for source in record.sources]
    counts = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    return ", ".join([record.state, *counts, *([record.note] if record.note else [])])


def _missed(
    timetable: Timetable, past: Past, promise: Promise | None, now: datetime
) -> datetime | None:
    if past.last is not None and past.last.state == "running":
        return None  # a person runs it by hand just now
    ended = past.last_ended.ended_at if past.last_ended else None
    since = promise.since if promise else None
    seen = max((moment for moment in (ended, since) if moment is not None), default=None)
    return missed(timetable, seen=seen, now=now, interruptions=past.interruptions)


def _is_ailing(past: Past) -> bool:
    return past.last is not None and past.last.state in ("failed", "interrupted")
