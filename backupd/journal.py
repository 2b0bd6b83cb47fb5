"""What must be undone if this process dies now.

An entry is on disk, synced, before the act that it undoes, and goes away only after the undoing
was seen to work. `replay` undoes what a dead process left; it takes the source's lock first, so a
running backup's own pause is left alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from backupd.engine import Engine
from backupd.errors import AlreadyRunning, BackupdError, EngineError, NotFound
from backupd.layout import Kind
from backupd.state import StateDir


@dataclass(frozen=True, slots=True)
class Entry:
    """One container that we paused: by id, since a name may name another one by then."""

    act: str
    container_id: str
    container_name: str
    engine_id: str


@contextmanager
def paused(state: StateDir, engine: Engine, container_id: str, name: str) -> Iterator[None]:
    """The container is paused inside, and goes on afterwards whatever happens."""
    entry = Entry("pause", container_id, name, engine.version().id)
    path = _write(state, entry)
    try:
        _pause(engine, entry, path)
        yield
    except BaseException as error:
        try:
            _finish(engine, entry, path)
        except BackupdError as failure:
            error.add_note(f"and it may still be paused; the next backup sees to it: {failure}")
        raise
    _finish(engine, entry, path)


def _pause(engine: Engine, entry: Entry, path: Path) -> None:
    try:
        engine.pause(entry.container_id)
    except EngineError as error:
        if "already paused" in str(error):
            path.unlink()  # somebody else's pause, just now: not ours to undo
        raise


def _finish(engine: Engine, entry: Entry, path: Path) -> None:
    """Undo what is still written down, then forget it."""
    if path.exists():
        undo(engine, entry)
        path.unlink(missing_ok=True)


def replay(state: StateDir, engine: Engine, say: Callable[[str], None]) -> None:
    """Undo what dead processes left on this engine; `say` gets a sentence for each."""
    for path in sorted(state.folder("journal").glob("*.json")):
        entry = _read(path)
        if entry is None or entry.engine_id != engine.version().id:
            continue
        try:
            with state.lock_source(Kind.CONTAINER, entry.container_name, "recover"):
                if path.exists() and undo(engine, entry):
                    say(
                        f"container {entry.container_name!r} was left paused by a backup that "
                        "died; it goes on now"
                    )
                path.unlink(missing_ok=True)
        except AlreadyRunning:
            continue


def undo(engine: Engine, entry: Entry) -> bool:
    """Unpause the container if it still is paused; whether there was anything to undo."""
    try:
        if not engine.inspect_container(entry.container_id)["State"].get("Paused"):
            return False
        engine.unpause(entry.container_id)
    except NotFound:
        return False
    return True


def _write(state: StateDir, entry: Entry) -> Path:
    folder = state.folder("journal")
    path = folder / f"{entry.act}-{entry.container_id[:32]}.json"
    partial = path.with_suffix(".partial")
    with partial.open("w") as handle:
        json.dump(asdict(entry), handle)
        handle.flush()
        os.fsync(handle.fileno())
    state.hand_over(partial)
    partial.replace(path)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return path


def _read(path: Path) -> Entry | None:
    """The entry, or None for a file that no run of ours completed."""
    try:
        return Entry(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
