"""What retention rules would leave on a later day, if backups go on as scheduled.

`prune --until` shows it, so that a person sees what a policy means before time does. Pure: the
moments to come are a parameter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from backupd.retention import Rules, survivors
from backupd.timeline import Candidate, Entry, entry_of, newest_first


@dataclass(frozen=True, slots=True)
class Planned:
    """A backup that is not there yet; it counts as good."""

    taken_at: datetime
    pinned: bool = False
    held: str | None = None
    good: bool = True

    @property
    def id(self) -> str:
        """The word `planned` and its moment."""
        return f"planned {self.taken_at.isoformat()}"


def forecast(
    backups: Iterable[Candidate],
    rules: Rules,
    zone: ZoneInfo,
    schedule_moments: Iterable[datetime],
) -> list[Candidate]:
    """The backups of one group that are left, newest first, after the last of `schedule_moments`.

    At each of these moments a backup is made and the group is pruned, as the daemon does; with no
    moments the group is pruned once. What is pinned or held now is taken to stay so, and the source
    to stay on the engine. Time grows with the moments times the backups that survive each prune.
    """
    entries: list[Entry[Candidate]] = survivors(newest_first(backups, zone), rules, zone)
    for moment in sorted(schedule_moments):
        coming: Entry[Candidate] = entry_of(Planned(moment), zone)
        if entries and entries[0].moment >= coming.moment:
            entries = newest_first([*(entry.backup for entry in entries), coming.backup], zone)
        else:
            entries = [coming, *entries]
        entries = survivors(entries, rules, zone)
    return [entry.backup for entry in entries]
