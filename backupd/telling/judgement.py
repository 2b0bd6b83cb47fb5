"""How the jobs stand, for whoever asks often: what cannot have changed is not reckoned again.

The judgement itself is that of `backupd status`. Reckoning the next moments of thousands of cron
expressions takes most of its time, and they stay the same until the next one comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from backupd.history import History
from backupd.policy import Policy
from backupd.timetable import Freshness, Timetable
from backupd.verbs.status import JobFacts, Standing, facts_by_policy, standing


class Judgement:
    """The standings of one policy's jobs. Safe to use from several threads."""

    def __init__(
        self, policy: Policy, timetables: Mapping[str, Timetable], history: History
    ) -> None:
        self._policy = policy
        self._timetables = timetables
        self._history = history
        self._known: Mapping[str, tuple[datetime, Standing]] = {}
        """Job → when it was reckoned, and what came out; replaced whole."""

    def standings(self, now: datetime) -> tuple[Standing, ...]:
        """As `backupd.verbs.status.standings_of`. Raises UsageError."""
        pasts, promises = self._history.pasts(), self._history.promises()
        facts = facts_by_policy(self._policy, self._timetables, pasts, promises)
        known = self._known
        reckoned = {job: _reckoned(job, each, now, known.get(job)) for job, each in facts.items()}
        self._known = reckoned
        found = (one for _, one in reckoned.values())
        return tuple(sorted(found, key=lambda one: (one.is_fine, one.job)))


def _reckoned(
    job: str, facts: JobFacts, now: datetime, known: tuple[datetime, Standing] | None
) -> tuple[datetime, Standing]:
    if known is not None and _holds(*known, facts, now):
        return known
    return now, standing(job, facts, now)


def _holds(reckoned_at: datetime, known: Standing, facts: JobFacts, now: datetime) -> bool:
    """Whether a standing is still what the facts say.

    With the same facts a late job stays late, and a fresh one that owes nothing is fresh until it
    is due. One that is due and not yet late becomes so at a moment that is not known here.
    """
    if known.facts != facts or now < reckoned_at:
        return False
    if known.freshness is Freshness.FRESH and known.outstanding_since is not None:
        return False
    return known.next_due is None or now < known.next_due
