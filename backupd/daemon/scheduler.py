"""What is due now: APScheduler with a trigger of our own, turned by the daemon's loop.

Our trigger follows cron's meaning, which APScheduler's does not. It keeps no job store on disk
(history knows what was missed) and no pool: what is due is handed to `fire` with every moment that
passed, late ones included, and whoever is told decides what that means. Nothing is ever dropped for
being late. What `fire` raises comes out of `turn`; APScheduler itself would only log it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from datetime import UTC, datetime, timedelta

from backupd.late_import import put_off, stood_in
from backupd.timetable import Timetable

# Its coroutines and its pools of processes would cost 2 MiB for as long as the daemon lives.
with (
    put_off("multiprocessing"),
    stood_in("concurrent.futures.process", BrokenProcessPool=BrokenExecutor),
    stood_in("asyncio", iscoroutinefunction=inspect.iscoroutinefunction),
):
    from apscheduler.executors.base import BaseExecutor
    from apscheduler.job import Job
    from apscheduler.schedulers.base import BaseScheduler
    from apscheduler.triggers.base import BaseTrigger

LONGEST_GAP = timedelta(days=7)

Fire = Callable[[str, Sequence[datetime]], None]
"""Told the name of what is due, and each moment since the last time at which it was."""


class TimetableTrigger(BaseTrigger):  # type: ignore[misc] # APScheduler 3 has no types
    """Fires when the timetable says."""

    def __init__(self, timetable: Timetable) -> None:
        self.timetable = timetable

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """The first moment after the last one, or after now.

        Not further back than `LONGEST_GAP`: a machine that starts with its clock in 1970 and then
        hears the time would count fifty years of moments one by one.
        """
        if previous_fire_time is None:
            return self.timetable.next_after(now)
        return self.timetable.next_after(max(previous_fire_time, now - LONGEST_GAP))


class _Gathering(BaseExecutor):  # type: ignore[misc]
    """Gathers what is due, and neither limits nor runs anything itself."""

    def __init__(self) -> None:
        super().__init__()
        self._due: list[tuple[str, Sequence[datetime]]] = []

    def submit_job(self, job: Job, run_times: Sequence[datetime]) -> None:
        self._due.append((job.id, run_times))

    def taken(self) -> list[tuple[str, Sequence[datetime]]]:
        """What was gathered since the last time."""
        due, self._due = self._due, []
        return due

    def _do_submit_job(self, job: Job, run_times: Sequence[datetime]) -> None:
        raise NotImplementedError


class Scheduler(BaseScheduler):  # type: ignore[misc]
    """Timetables by name; `turn` fires what is due. Used by one thread."""

    def __init__(self, fire: Fire) -> None:
        defaults = {"misfire_grace_time": None, "coalesce": False}
        self._fire, self._gathering = fire, _Gathering()
        executors = {"default": self._gathering}
        super().__init__(timezone=UTC, job_defaults=defaults, executors=executors)
        self.start()

    def wakeup(self) -> None:
        """Nothing: the daemon's loop turns when it wants to."""

    def shutdown(self, wait: bool = True) -> None:
        """Fire nothing any more."""
        super().shutdown(wait)

    def turn(self) -> float | None:
        """Fire what is due; seconds until something is due again, None if nothing ever is."""
        seconds: float | None = self._process_jobs()
        for name, moments in self._gathering.taken():
            self._fire(name, moments)
        return seconds

    def follow(self, timetables: Mapping[str, Timetable], *, since: datetime | None = None) -> None:
        """Follow these timetables from `since` on, which is now unless it is given.

        What became due meanwhile is fired by the next turn: up to `since` somebody else has looked
        at what was missed, and that may take seconds. One that stays as it was keeps its next
        moment: a reload at the very moment at which it is due must not lose it.
        """
        kept = {job.id: job for job in self.get_jobs()}
        self.remove_all_jobs()
        for name, timetable in timetables.items():
            old = kept.get(name)
            is_same = old is not None and old.trigger.timetable == timetable
            trigger = TimetableTrigger(timetable)
            next_run = old.next_run_time if old and is_same else None
            if next_run is None and since is not None:
                next_run = trigger.get_next_fire_time(None, since)
            more = {} if next_run is None else {"next_run_time": next_run}
            self.add_job(_nothing, trigger, id=name, **more)

    def follow_anew(self, timetables: Mapping[str, Timetable]) -> None:
        """The same by the clock alone: after it was set back, what was known of it is wrong."""
        self.remove_all_jobs()
        self.follow(timetables)

    def next_runs(self) -> list[tuple[str, datetime]]:
        """What is due next and when, in UTC, the first one first."""
        return [(job.id, job.next_run_time.astimezone(UTC)) for job in self.get_jobs()]


def _nothing() -> None:
    """APScheduler wants something to call; `_Gathering` never calls it."""
