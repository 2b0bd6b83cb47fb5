"""What a schedule promises: when a job is due, what was missed, and whether a backup is fresh.

A job with jitter is due a fixed delay after its schedule's moments: the same every time, so that
the gap between two runs stays even, and another one for each host and job, so that a fleet does not
knock at its store all at once. Pure: no clock, `now` is a parameter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from backupd.schedule import Schedule

TOLERANCE = timedelta(minutes=5)
"""How long after its due moment a run may begin before the job counts as late."""
ATTEMPTS = 3
"""How often one missed run is begun: after so many interruptions something is wrong with it."""


@dataclass(frozen=True, slots=True)
class Timetable:
    """A job's schedule with its delay."""

    schedule: Schedule
    delay: timedelta = timedelta(0)

    def next_after(self, moment: datetime) -> datetime:
        """The first moment, in UTC, at which the job is due after `moment` (aware)."""
        return self.schedule.next_after(moment - self.delay) + self.delay

    def coming(self, moment: datetime) -> Iterator[datetime]:
        """Every moment at which the job is due after `moment`, without an end."""
        while True:
            moment = self.next_after(moment)
            yield moment


def delay_of(host: str, job: str, jitter: timedelta) -> timedelta:
    """A whole number of seconds from nothing to `jitter`, always the same for this host and job."""
    digest = hashlib.sha256(f"{host}\n{job}".encode()).digest()
    share = int.from_bytes(digest[:8]) / (1 << 64)
    return timedelta(seconds=int(jitter.total_seconds() * share))


def missed(
    timetable: Timetable, *, seen: datetime | None, now: datetime, interruptions: int = 0
) -> datetime | None:
    """The first moment since `seen` at which a run was due that did not come; None for none.

    `seen` is when the last run ended, or when the job was first taken up; None is a job of which
    nothing is known, which has missed nothing. After `ATTEMPTS` interruptions nothing is missed:
    the next moment is waited for, so that a run that kills its own process does not do so for ever.
    """
    if seen is None or interruptions >= ATTEMPTS:
        return None
    due = timetable.next_after(seen)
    return due if due <= now else None


class Freshness(StrEnum):
    """How a job's newest good backup stands against its schedule."""

    FRESH = "fresh"
    """No run that should have ended well by now is outstanding."""
    LATE = "late"
    """A due moment passed, and no good run has ended since."""
    UNKNOWN = "unknown"
    """Nobody has taken this schedule up: no run is known, and no daemon has promised one."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a job when its freshness is judged."""

    since: datetime | None = None
    """When the daemon took this very schedule up."""
    good_until: datetime | None = None
    """When the newest good run ended."""
    failed_at: datetime | None = None
    """When the newest run began, if it failed or was interrupted."""
    running_since: datetime | None = None
    """When the run that goes on now began."""


def judge(timetable: Timetable, facts: Facts, now: datetime) -> tuple[Freshness, datetime | None]:
    """Whether the job's last success is as fresh as its schedule says; and what is outstanding.

    The first due moment after the newest good run ended (or after the schedule was taken up, if
    that was later) must not have passed. It is given `TOLERANCE` for a run to begin, and a run that
    began in time may go on until the next due moment; one that failed is given nothing. A new
    schedule makes nothing fresh: a job that failed before it was taken up is late until it
    succeeds.
    """
    reference = max((t for t in (facts.since, facts.good_until) if t is not None), default=None)
    if reference is None:
        return Freshness.UNKNOWN, None
    if _failed_before(facts):
        return Freshness.LATE, facts.failed_at
    due = timetable.next_after(reference)
    if due > now:
        return Freshness.FRESH, None
    if facts.running_since is not None:
        in_time = timetable.next_after(due) > now
        return (Freshness.FRESH if in_time else Freshness.LATE), due
    has_failed = facts.failed_at is not None and facts.failed_at >= due
    if not has_failed and now < due + TOLERANCE:
        return Freshness.FRESH, due
    return Freshness.LATE, due


def _failed_before(facts: Facts) -> bool:
    """Whether the newest run failed before the schedule was taken up, with no good one since."""
    since, failed_at, good = facts.since, facts.failed_at, facts.good_until
    if since is None or failed_at is None or facts.running_since is not None:
        return False
    return failed_at < since and (good is None or good < failed_at)
