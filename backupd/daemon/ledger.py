"""What the loop asks of the history, and what it tells the listeners: what was missed, skipped,
interrupted, and how runs ended."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from backupd.daemon.generation import Generation
from backupd.daemon.listeners import Listeners
from backupd.errors import UsageError
from backupd.history import History
from backupd.run_record import CHORES, Past, Promise, RunRecord
from backupd.timetable import ATTEMPTS, TOLERANCE, Timetable, missed

LOGGER = logging.getLogger(__name__)

Tell = Callable[[], Listeners]
"""The listeners of now: a reload replaces them."""


class Ledger:
    """Used by the loop's thread only."""

    def __init__(self, history: History, listeners: Tell) -> None:
        self._history = history
        self._listeners = listeners
        self._ailing: set[str] = set()
        """Jobs whose last run was no success."""

    def open(self, now: datetime, before: Callable[[], object] = lambda: None) -> None:
        """Close what dead processes left, if there is anything; `before` is called then."""
        self._history.check()
        died = self._history.close_interrupted(now, before)
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

    def take_up(self, generation: Generation, now: datetime) -> None:
        """Remember what is promised from now on."""
        self._history.take_up(generation.promises(now))

    def missed_runs(self, generation: Generation, now: datetime) -> dict[str, datetime]:
        """Job → when a run was due that never came, of those that are to run now.

        A job that does not want to catch up runs if it is still in time; otherwise its missed run
        is recorded as skipped, once. What counts is the schedule that was promised, so this is to
        be asked before `take_up`: one that was changed meanwhile has promised nothing.
        """
        pasts, promises = self._pasts(), self._promises()
        found = {}
        for job, timetable in generation.timetables.items():
            past = pasts.get(job, Past())
            if past.interruptions >= ATTEMPTS:
                LOGGER.warning(
                    "job %s was interrupted %d times in a row: it waits for its next moment",
                    job,
                    past.interruptions,
                )
            wants = job in CHORES or generation.policy.jobs[job].catch_up
            due = _missed(past, promises.get(job), now, heeds_skips=not wants)
            if due is None:
                continue
            if wants or _is_in_time(timetable, now):
                found[job] = due
            else:
                self.skipped(job, [due], "nothing ran it in time, and catch_up is false", now)
        return found

    def started(self, job: str, at: datetime) -> None:
        """A run began."""
        LOGGER.info("job %s begins", job)
        self._listeners().job_started(job, at)

    def ended(self, record: RunRecord) -> None:
        """A run ended."""
        recovered = record.is_success and record.job in self._ailing
        if record.is_success:
            self._ailing.discard(record.job)
        elif record.state != "skipped":
            self._ailing.add(record.job)
        level = {"good": logging.INFO, "skipped": logging.WARNING}.get(record.state, logging.ERROR)
        if record.state == "good" and not record.is_success:
            level = logging.WARNING
        LOGGER.log(level, "job %s ended: %s", record.job, ending_words(record))
        self._listeners().job_ended(record, recovered=recovered)

    def skipped(
        self, job: str, due: Sequence[datetime], note: str, seen_at: datetime | None = None
    ) -> None:
        """A run that was due is not begun: logged, recorded and told."""
        LOGGER.warning("job %s is skipped, due at %s: %s", job, due[-1].isoformat(), note)
        record = RunRecord(job, due[-1], seen_at or due[-1], "skipped", (), note)
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
    past: Past, promise: Promise | None, now: datetime, *, heeds_skips: bool
) -> datetime | None:
    """When the first run was due, by the schedule that was promised, that never came."""
    if promise is None or (past.last is not None and past.last.state == "running"):
        return None  # by that one a person runs it by hand just now
    try:
        timetable = promise.timetable
    except ValueError:  # this machine lost the time zone
        return None
    known = [past.last_ended, past.last_skipped if heeds_skips else None]
    moments = [record.ended_at for record in known if record and record.ended_at]
    seen = max([*moments, promise.since])
    return missed(timetable, seen=seen, now=now, interruptions=past.interruptions)


def _is_in_time(timetable: Timetable, now: datetime) -> bool:
    """Whether the job was due so lately that a run is in time."""
    return timetable.next_after(now - TOLERANCE) <= now


def _is_ailing(past: Past) -> bool:
    return past.last is not None and past.last.state != "running" and not past.last.is_success
