"""What those who tell need to know of the daemon that they tell of: asked for, never pushed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from backupd.run_record import Past
from backupd.verbs.proofs import SourceProof


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a job's schedule promises, and whether that is kept, by the rule of `backupd status`."""

    next_due: datetime | None = None
    """Always ahead of now, so it tells nothing about runs that never came."""
    interval: timedelta | None = None
    """The usual time between two runs."""
    is_fresh: bool | None = None
    """Whether the last success is as fresh as promised; None where nothing is promised."""
    outstanding_since: datetime | None = None
    """The due moment after which no good run has ended."""


@dataclass(frozen=True, slots=True)
class DaemonView:
    """The daemon as its listeners see it. All but `host` may be called from any thread."""

    host: str
    now: Callable[[], datetime]
    past_of: Callable[[str], Past]
    """What the history knows of a job."""
    pasts: Callable[[], Mapping[str, Past]]
    """The same for every job that ever ran."""
    outlooks: Callable[[], Mapping[str, Outlook]]
    """For every job of the policy in force, those that run by hand only included."""
    ailment: Callable[[], str]
    """Why not every job is as fresh as its schedule promises, in a sentence; empty if all are."""

    proofs: Callable[[], Sequence[SourceProof]] = tuple
    """When each source was last proven, of this host's jobs, present and past."""

    def last_good_of(self, job: str) -> datetime | None:
        """When the job's last good run ended."""
        good = self.past_of(job).last_good
        return good.ended_at if good else None
