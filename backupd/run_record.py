"""What is known of a run and of a job: values that the history keeps, and that others are told of.

Pure: no clock, no file; `backupd.history` writes and reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from backupd.schedule import Schedule
from backupd.timetable import Timetable

RunState = Literal["running", "good", "failed", "interrupted", "skipped"]
SourceState = Literal["saved", "unchanged", "failed", "missing"]

PRUNE, VERIFY, DRILL = "@prune", "@verify", "@drill"
CHORES = {
    PRUNE: "the scheduled prune",
    VERIFY: "the scheduled verify",
    DRILL: "the scheduled drill",
}
"""What has a schedule of its own beside the jobs: the name under which its runs stand, which no job
of a policy can have, and what people call it."""


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """What became of one source in a run."""

    kind: str
    name: str
    state: SourceState
    backup_id: str | None = None
    size_bytes: int | None = None
    """Of the plain tar."""
    stored_bytes: int | None = None
    duration_seconds: float = 0.0
    error: str | None = None
    oddity: str | None = None
    """Why its backup, which was made, may not be what the source should be."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run of one job; `job` is `PRUNE`, say, for a prune by its own schedule."""

    job: str
    started_at: datetime
    ended_at: datetime | None
    state: RunState
    sources: tuple[SourceRecord, ...] = ()
    note: str = ""

    @property
    def is_success(self) -> bool:
        """Whether it made a backup of all that it selected.

        One that selected nothing failed at nothing, but it made no backup either.
        """
        return self.state == "good" and (self.job in CHORES or self.made > 0)

    @property
    def made(self) -> int:
        """How many of its sources are backed up."""
        return sum(source.state in ("saved", "unchanged") for source in self.sources)

    @property
    def has_begun(self) -> bool:
        """Whether it began at all: of those skipped, only one that found its sources busy did."""
        return self.state != "skipped" or bool(self.sources)


@dataclass(frozen=True, slots=True)
class Promise:
    """By which schedule the daemon took a job up, and since when."""

    expression: str
    zone: str
    delay_seconds: int
    since: datetime

    @property
    def timetable(self) -> Timetable:
        """When the job is due. Raises ValueError where this machine lost the time zone."""
        schedule = Schedule.parse(self.expression, self.zone)
        return Timetable(schedule, timedelta(seconds=self.delay_seconds))

    def is_as(self, other: Promise) -> bool:
        """Whether both promise the same, whenever they were made."""
        mine = (self.expression, self.zone, self.delay_seconds)
        return mine == (other.expression, other.zone, other.delay_seconds)


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of one job."""

    last: RunRecord | None = None
    """The newest run, but for those that were skipped."""
    last_good: RunRecord | None = None
    """The newest that made a backup of everything it selected."""
    last_ended: RunRecord | None = None
    """The newest that came to its own end, good or not."""
    interruptions: int = 0
    """How many were interrupted after that one."""
    skipped: int = 0
    """How many were skipped after the newest good one."""
    last_skipped: RunRecord | None = None
    """The newest that was due and not begun."""
