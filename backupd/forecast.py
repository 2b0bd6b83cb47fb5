"""What retention rules would leave on a later day, if backups go on as scheduled.

`prune --until` shows it, so that a person sees what a policy means before time does. Pure: the
moments to come are a parameter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from backupd.object_lock import locked_until
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
    *,
    locked_for: timedelta = timedelta(),
    until: datetime | None = None,
) -> list[Candidate]:
    """The backups of one group that are left, newest first, after the last of `schedule_moments`.

    At each of these moments a backup is made and the group is pruned, as the daemon does; with no
    moments the group is pruned once, at `until`. What is pinned or held now is taken to stay so,
    and the source to stay on the engine; what is younger than `locked_for` no prune removes. Time
    grows with the moments times the backups that survive each prune.
    """

    def pruned(entries: list[Entry[Candidate]], now: datetime | None) -> list[Entry[Candidate]]:
        kept = survivors(entries, rules, zone)
        if not locked_for or now is None:
            return kept
        by_rule = {id(entry) for entry in kept}
        return [
            entry
            for entry in entries
            if id(entry) in by_rule or locked_until(entry.moment, locked_for, now)
        ]

    moments = sorted(schedule_moments)
    entries = pruned(newest_first(backups, zone), moments[0] if moments else until)
    for moment in moments:
        coming: Entry[Candidate] = entry_of(Planned(moment), zone)
        if entries and entries[0].moment >= coming.moment:
            entries = newest_first([*(entry.backup for entry in entries), coming.backup], zone)
        else:
            entries = [coming, *entries]
        entries = pruned(entries, moment)
    return [entry.backup for entry in entries]


def let_go(rules: Rules, zone: ZoneInfo, moments: Collection[datetime]) -> int:
    """How many of backups of one source, taken at these moments, the rules would not keep."""
    entries = newest_first([Planned(moment) for moment in moments], zone)
    return len(entries) - len(survivors(entries, rules, zone))
