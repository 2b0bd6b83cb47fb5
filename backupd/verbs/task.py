"""What a run of backups is told to do, and what it tells: tasks, outcomes, reports."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from backupd.catalog import fingerprint
from backupd.errors import BackupdError
from backupd.layout import Kind
from backupd.manifest import Manifest
from backupd.policy import Compression
from backupd.sources import SelectedBy, Source
from backupd.verbs.transfer import Progress


@dataclass(frozen=True, slots=True)
class Task:
    """One source, as one job wants it backed up."""

    job: str
    source: Source
    compression: Compression
    selected_by: SelectedBy
    timeout: timedelta | None = None
    """How long the whole run of its job may take; None is for ever."""
    anomaly_percent: int | None = None
    """How much smaller than its predecessors a backup is odd; None for never."""
    recipients: frozenset[str] = frozenset()
    """For whom archive and record are encrypted; empty for nobody: in the clear."""

    def mark(self, content: str | None) -> str:
        """The fingerprint of an archive of this content as this task wants it coded."""
        return fingerprint(content, self.compression.method.value, self.recipients)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one task: a manifest, or the error that stopped it."""

    job: str
    kind: Kind
    name: str
    duration: timedelta
    manifest: Manifest | None = None
    error: BackupdError | None = None
    oddity: str = ""
    """Why the backup, which was made, may not be what the source should be; a sentence."""


class Report(Protocol):
    """Who is told how a run goes: by several threads, but one at a time."""

    def begin(self, task: Task) -> Progress:
        """A source begins; what comes back is told its plain bytes, by any thread."""

    def end(self, outcome: Outcome) -> None:
        """A source ended, well or not."""

    def note(self, text: str) -> None:
        """Something a person should know."""
