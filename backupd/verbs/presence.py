"""Since when sources are missing on the engine, as far as this machine has noticed.

Kept in the state directory, beside everything that can be lost: without it the count begins anew,
so a source is taken to be gone for too short a time and never for too long.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from backupd.engine import Engine
from backupd.layout import BackupKey, Kind
from backupd.policy import Job
from backupd.sources.select import references_of, select
from backupd.sources.select_volumes import wants_volumes
from backupd.state import StateDir
from backupd.stream import Cancel
from backupd.verbs.prune import Source, as_listed
from backupd.volume_access import mounted_by, volumes

_FILE = "gone.json"


def present(engine: Engine, name: str, job: Job) -> set[Source]:
    """What the job selects now, and whatever else is on the engine. Raises EngineError.

    A source that only lost its label, say, is not gone.
    """
    found = {as_listed(kind, source) for kind, source in select(engine, name, job).sources}
    for image in engine.images():
        found |= {as_listed(Kind.IMAGE, reference) for reference in references_of(image)}
    for container in engine.containers():
        found |= {as_listed(Kind.CONTAINER, each.lstrip("/")) for each in container["Names"]}
        found |= {as_listed(Kind.VOLUME, each) for each in mounted_by(container)}
    if wants_volumes(job):
        found |= {as_listed(Kind.VOLUME, each["Name"]) for each in volumes(engine)}
    return found


def absences(
    state: StateDir,
    job: str,
    backups: Iterable[BackupKey],
    there: Collection[Source],
    now: datetime,
) -> dict[Source, datetime]:
    """The backed-up sources that are missing now, each with the moment since when.

    A source counts as gone from when its absence was first noticed, and never before its newest
    backup.
    """
    newest: dict[Source, datetime] = {}
    for backup in backups:
        source = (backup.kind, backup.name)
        newest[source] = max(backup.taken_at, newest.get(source, backup.taken_at))
    known = _read(state)
    return {
        source: max(taken_at, known.get(_label(job, source), now))
        for source, taken_at in newest.items()
        if source not in there
    }


def remember(state: StateDir, job: str, absent: Mapping[Source, datetime], cancel: Cancel) -> None:
    """Keep what was noticed of a job's sources, in place of what was known. Raises Cancelled."""
    with state.lock_absences(cancel):
        others = {
            label: since for label, since in _read(state).items() if not label.startswith(f"{job}/")
        }
        mine = {_label(job, source): since for source, since in absent.items()}
        texts = {label: since.isoformat() for label, since in {**others, **mine}.items()}
        state.write(_FILE, json.dumps(texts, indent=1).encode())


def _label(job: str, source: Source) -> str:
    return f"{job}/{source[0]}/{source[1]}"


def _read(state: StateDir) -> dict[str, datetime]:
    """What was noticed so far; nothing when the file is not as we wrote it."""
    try:
        known = json.loads((state.path / _FILE).read_bytes())
        moments = {str(label): datetime.fromisoformat(text) for label, text in known.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
    return {label: moment for label, moment in moments.items() if moment.tzinfo is not None}
