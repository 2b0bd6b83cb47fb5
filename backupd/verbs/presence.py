"""Since when sources are missing on the engine, as far as this machine has noticed.

Kept in the state directory, beside everything that can be lost: without it the count begins anew,
so a source is taken to be gone for too short a time and never for too long.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from datetime import datetime

from backupd.layout import BackupKey, Kind
from backupd.state import StateDir

Source = tuple[Kind, str]


def note_absences(
    state: StateDir,
    job: str,
    backups: Iterable[BackupKey],
    present: Collection[Source],
    now: datetime,
) -> Callable[[Source], datetime | None]:
    """Remember which backed-up sources are missing now; who is asked tells since when.

    A source counts as gone from when its absence was first noticed, and never before its newest
    backup.
    """
    path = state.folder(".") / "gone.json"
    known = _read(path.read_text() if path.exists() else "{}")
    newest: dict[Source, datetime] = {}
    for backup in backups:
        source = (backup.kind, backup.name)
        newest[source] = max(backup.taken_at, newest.get(source, backup.taken_at))
    mine = {_label(job, source): source for source in newest if source not in present}
    others = {label: text for label, text in known.items() if not label.startswith(f"{job}/")}
    noticed = {label: known.get(label, now.isoformat()) for label in mine}
    state.write("gone.json", json.dumps({**others, **noticed}, indent=1).encode())
    since = {mine[label]: datetime.fromisoformat(text) for label, text in noticed.items()}
    return lambda source: max(since[source], newest[source]) if source in since else None


def _label(job: str, source: Source) -> str:
    return f"{job}/{source[0]}/{source[1]}"


def _read(text: str) -> dict[str, str]:
    """What was noticed so far; nothing when the file is not as we wrote it."""
    try:
        known = json.loads(text)
        return {str(label): datetime.fromisoformat(t).isoformat() for label, t in known.items()}
    except (ValueError, TypeError, AttributeError):
        return {}
