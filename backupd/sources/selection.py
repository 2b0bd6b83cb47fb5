"""What a job's selectors found on the engine: the value that `select` fills."""

from __future__ import annotations

from dataclasses import dataclass, field

from backupd.engine import Inspect
from backupd.layout import Kind
from backupd.sources import SelectedBy, Source


@dataclass(frozen=True, slots=True)
class Missing:
    """A literal of the policy that is not on the engine."""

    kind: Kind
    name: str
    where: str
    """Its place in the policy, such as `jobs.nightly.images[0]`."""


@dataclass(slots=True)
class Selection:
    """What one job selects now, in the policy's order, each source once."""

    sources: dict[tuple[Kind, str], Source] = field(default_factory=dict)
    selected_by: dict[tuple[Kind, str], SelectedBy] = field(default_factory=dict)
    missing: list[Missing] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, source: Source, selected_by: SelectedBy) -> None:
        """Take a source; the first selector that names it decides its options."""
        self.sources.setdefault((source.kind, source.name), source)
        self.selected_by.setdefault((source.kind, source.name), selected_by)


def labelled(thing: Inspect, label: str) -> bool:
    """Whether something of a listing carries `key` (any value) or `key=value`."""
    labels = thing.get("Labels") or {}
    key, equals, value = label.partition("=")
    return labels.get(key) == value if equals else key in labels
