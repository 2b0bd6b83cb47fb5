"""The files of the journal: what is to be undone, on disk before it is done.

Each is written beside its place, locked and synced, and moved there whole: who dies in the middle
leaves a partial file that nobody locks, which `forget_partials` removes. Only its owner can read a
file, since a command may hold a password.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from backupd.engine_exec import Command
from backupd.state import StateDir, forgotten

PAUSE, STOP, AFTER = "pause", "stop", "after"
FOLDER = "journal"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing to undo."""

    act: str
    container_id: str
    container_name: str
    engine_id: str
    started_at: str = ""
    """Of a stopped container: when it was last started before, in the engine's words."""
    done_by: float = 0.0
    """Unix time by which the pause or stop that was asked for has happened."""
    commands: Sequence[Command] = ()
    """What is to run inside the container when it goes on."""
    first: int = 0
    """How many commands of the policy come before these: they were run."""

    @property
    def left(self) -> str:
        """What became of a container for which this was not undone."""
        return {PAUSE: "paused", STOP: "stopped"}.get(self.act, "without its commands after")


def path_of(folder: Path, act: str, container_id: str) -> Path:
    """Where the entry of one act on one container is."""
    return folder / f"{act}-{container_id[:32]}.json"


def write(state: StateDir, entry: Entry) -> Path:
    """Write the entry; where it is, whole and synced. Raises UsageError."""
    return write_synced(state, path_of(Path(), entry.act, entry.container_id).name, asdict(entry))


def write_synced(state: StateDir, name: str, told: dict[str, Any]) -> Path:
    """Write a file of the journal; where it is, whole and synced. Raises UsageError."""
    folder = state.folder(FOLDER)
    path = folder / name
    partial = path.with_suffix(".partial")
    handle = state.open_taken(partial, mode=0o600)
    with state.in_use():
        with os.fdopen(handle, "w") as file:
            file.truncate()  # what a dead process had begun may be longer
            json.dump(told, file)
            file.flush()
            os.fsync(file.fileno())
            partial.replace(path)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return path


def forget_partials(folder: Path) -> None:
    """Remove what dead processes had only begun to write: none of it was done."""
    for path in folder.glob("*.partial"):
        forgotten(path)


def entries(state: StateDir) -> list[Entry]:
    """All that is written down now, whoever did it."""
    found = [read(path) for path in sorted((state.path / FOLDER).glob("*.json"))]
    return [entry for entry in found if entry is not None]


def read(path: Path) -> Entry | None:
    """The entry, or None for a file that no run of ours completed."""
    try:
        told = json.loads(path.read_bytes())
        commands = tuple(
            Command(tuple(one["argv"]), one["user"], one["timeout_seconds"])
            for one in told.pop("commands", ())
        )
        return Entry(**told, commands=commands)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
