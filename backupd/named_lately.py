"""Manifests of the last hour that name an archive which was there before: kept beside the locks.

A listing may not show them yet, and whoever removes the last backup that it does show would take
their archive too. So they are noted before they are written, and a removal heeds them until they
are old enough to be listed. Called under the lock of the host's archives; the file can be deleted.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from backupd.errors import UsageError
from backupd.foreign_json import read_json
from backupd.layout import BackupKey, parse_backup_key, segment
from backupd.state import StateDir

LISTED_WITHIN = timedelta(hours=1)
"""After it a listing is believed: no store that we know of lags by more than minutes."""


def note(state: StateDir, host: str, keys: Iterable[str], now: datetime) -> None:
    """Remember manifests that are about to be written. Raises UsageError."""
    _write(state, host, {**_read(state, host, now), **dict.fromkeys(keys, now)})


def forget(state: StateDir, host: str, keys: Collection[str], now: datetime) -> None:
    """Let manifests that are gone name nothing any more, where there is room to say so."""
    noted = _read(state, host, now)
    if noted.keys().isdisjoint(keys):
        return
    try:
        _write(state, host, {key: at for key, at in noted.items() if key not in keys})
    except UsageError:
        return  # on a full disk their archives stay until they are swept


def named_lately(state: StateDir, host: str, now: datetime) -> set[str]:
    """The ids of archives that must stay, whatever a listing shows."""
    parsed = (parse_backup_key(key) for key in _read(state, host, now))
    return {key.archive_id for key in parsed if isinstance(key, BackupKey)}


def _name(host: str) -> str:
    return f"named-lately-{segment(host)}.json"


def _read(state: StateDir, host: str, now: datetime) -> dict[str, datetime]:
    """Those that are not too old; of a file that nobody can read none."""
    try:
        text = (state.path / _name(host)).read_bytes()
        noted = {str(key): datetime.fromisoformat(at) for key, at in read_json(text).items()}
        return {key: at for key, at in noted.items() if now - at < LISTED_WITHIN}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write(state: StateDir, host: str, noted: dict[str, datetime]) -> None:
    text = json.dumps({key: at.isoformat() for key, at in noted.items()})
    state.write(_name(host), text.encode() + b"\n")
