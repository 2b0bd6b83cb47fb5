"""What must be undone if this process dies now.

An entry is on disk, synced, before the act that it undoes, and goes away only after the undoing
was seen to work. `replay` undoes what a dead process left; it takes the source's lock first, so a
running backup's own pause is left alone. Only containers that we paused or stopped are ever
touched: by id, since a name may name another one by then.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from backupd.engine import ANSWER_TIMEOUT_SECONDS, Engine, Inspect
from backupd.engine_exec import Command, run_inside
from backupd.errors import AlreadyRunning, BackupdError, EngineError, EngineUnreachable, NotFound
from backupd.layout import Kind
from backupd.state import StateDir
from backupd.stream import Cancel

PAUSE, STOP, AFTER = "pause", "stop", "after"
_ACTS = (PAUSE, STOP, AFTER)
"""In the order in which they are undone: a command needs a container that runs."""

_USUAL_STOP_SECONDS = 10.0
"""What the engine gives a container that names no stop timeout of its own."""
_LONGEST_STOP_SECONDS = 3600.0
_KILL_SECONDS = 15.0
"""How long the engine's own SIGKILL, after the stop timeout, may take."""
_START_ATTEMPTS = 3
_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing to undo."""

    act: str
    container_id: str
    container_name: str
    engine_id: str
    started_at: str = ""
    """Of a stopped container: when it was last started before, in the engine's words."""
    stopped_by: float = 0.0
    """Of a stopped container: Unix time by which a stop that was asked for has happened."""
    commands: Sequence[Command] = ()
    """What is to run inside the container when it goes on."""


@contextmanager
def paused(state: StateDir, engine: Engine, container_id: str, name: str) -> Iterator[None]:
    """The container is paused inside, and goes on afterwards whatever happens."""
    entry = Entry(PAUSE, container_id, name, engine.version().id)
    path = _write(state, entry)
    with _undone(engine, entry, path):
        try:
            engine.pause(container_id)
        except EngineError as error:
            if "already paused" in str(error):
                path.unlink()  # somebody else's pause, just now: not ours to undo
            raise
        yield


@contextmanager
def stopped(state: StateDir, engine: Engine, container_id: str, name: str) -> Iterator[None]:
    """The container is stopped inside, and is started again afterwards whatever happens.

    One that does not run any more is left as it is. Raises EngineError for a container that would
    not be there any more, or not be the only one, once it is stopped.
    """
    found = engine.inspect_state(container_id)
    _refuse_if_it_would_vanish(found, name)
    timeout_seconds = _stop_timeout_seconds(found)
    entry = Entry(
        STOP,
        container_id,
        name,
        engine.version().id,
        started_at=str(found["State"].get("StartedAt")),
        stopped_by=time.time() + timeout_seconds + _KILL_SECONDS,
    )
    path = _write(state, entry)
    with _undone(engine, entry, path):
        if not engine.stop(container_id, timeout_seconds + ANSWER_TIMEOUT_SECONDS):
            path.unlink()  # it had ended by itself, or by somebody else: not ours to start
        yield


@contextmanager
def owing(
    state: StateDir, engine: Engine, container: tuple[str, str], commands: Sequence[Command]
) -> Iterator[None]:
    """Commands that the container (id, name) is owed; whoever leaves the block has run them.

    The entry holds the commands themselves, since the policy may have changed by then.
    """
    path = _write(state, Entry(AFTER, *container, engine.version().id, commands=commands))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _refuse_if_it_would_vanish(found: Inspect, name: str) -> None:
    if (found.get("HostConfig") or {}).get("AutoRemove"):
        raise EngineError(
            f"cannot stop container {name!r}: it was started with --rm, so the engine would remove "
            "it; use 'pause: true' instead"
        )
    if "com.docker.swarm.task.id" in ((found.get("Config") or {}).get("Labels") or {}):
        raise EngineError(
            f"cannot stop container {name!r}: it belongs to a Swarm service, which would start "
            "another one in its place; use 'pause: true' instead"
        )


def _stop_timeout_seconds(found: Inspect) -> float:
    """The container's own; below zero is for ever, which nobody can wait for."""
    given = (found.get("Config") or {}).get("StopTimeout")
    seconds = _USUAL_STOP_SECONDS if given is None else float(given)
    return _LONGEST_STOP_SECONDS if seconds < 0 else seconds


@contextmanager
def _undone(engine: Engine, entry: Entry, path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        try:
            _finish(engine, entry, path)
        except BackupdError as failure:
            error.add_note(f"and it may still be {_left(entry)}; {_SEEN_TO}: {failure}")
        raise
    _finish(engine, entry, path)


_SEEN_TO = "the next backup sees to it"


def _left(entry: Entry) -> str:
    return "paused" if entry.act == PAUSE else "stopped"


def _finish(engine: Engine, entry: Entry, path: Path) -> None:
    """Undo what is still written down, then forget it."""
    if path.exists():
        undo(engine, entry)
        path.unlink(missing_ok=True)


def replay(state: StateDir, engine: Engine, say: Callable[[str], None]) -> None:
    """Undo what dead processes left on this engine; `say` gets a sentence for each.

    What the engine refuses to undo stays written down. Raises EngineUnreachable.
    """
    folder = state.folder("journal")
    for act in _ACTS:
        for path in sorted(folder.glob(f"{act}-*.json")):
            entry = _read(path)
            if entry is None or entry.engine_id != engine.version().id:
                continue
            try:
                with state.lock_source(Kind.CONTAINER, entry.container_name, "recover"):
                    _recover(engine, entry, path, say)
            except AlreadyRunning:
                continue
            except EngineUnreachable:
                raise
            except EngineError as error:
                say(
                    f"warning: container {entry.container_name!r} was left {_left(entry)} by a "
                    f"backup that died, and may still be; {_SEEN_TO}: {error}"
                )


def _recover(engine: Engine, entry: Entry, path: Path, say: Callable[[str], None]) -> None:
    if not path.exists():
        return  # its own process came to an end while we waited for the lock
    if entry.act == AFTER:
        if any(_path(path.parent, act, entry.container_id).exists() for act in (PAUSE, STOP)):
            return
        _run_owed(engine, entry, say)
    elif undo(engine, entry):
        say(
            f"container {entry.container_name!r} was left {_left(entry)} by a backup that died; "
            "it goes on now"
        )
    path.unlink(missing_ok=True)


def _run_owed(engine: Engine, entry: Entry, say: Callable[[str], None]) -> None:
    """Run each command once, whatever becomes of the others."""
    what = f"container {entry.container_name!r}: a backup that died had not run after"
    for index, command in enumerate(entry.commands):
        try:
            ended = run_inside(engine, entry.container_id, command, Cancel())
        except NotFound:
            return
        except EngineUnreachable:
            raise
        except EngineError as error:
            say(f"warning: {what}[{index}], and it cannot be run now: {error}")
            continue
        code = "did not end in its time" if ended.exit_code is None else f"gave {ended.exit_code}"
        say(f"{what}[{index}]; it was run now and {code}")


def undo(engine: Engine, entry: Entry) -> bool:
    """Let the container go on if it still is as we left it; whether there was anything to undo."""
    try:
        if entry.act == STOP:
            return _start_again(engine, entry)
        if not engine.inspect_state(entry.container_id)["State"].get("Paused"):
            return False
        engine.unpause(entry.container_id)
    except NotFound:
        return False
    return True


def _start_again(engine: Engine, entry: Entry) -> bool:
    """Start the container, unless somebody did; whether that was needed."""
    if _runs(engine, entry):
        return False
    for attempts_left in reversed(range(_START_ATTEMPTS)):
        try:
            engine.start(entry.container_id)
            break
        except EngineError:
            # What it needs (a port, a mount) may be held a moment longer by what just ended.
            if not attempts_left:
                raise
            time.sleep(1)
    state = engine.inspect_state(entry.container_id)["State"]
    if not state.get("Running") and state.get("StartedAt") == entry.started_at:
        raise EngineError(
            f"cannot start container {entry.container_name!r}: the engine started it, and still "
            "shows it as stopped"
        )
    return True


def _runs(engine: Engine, entry: Entry) -> bool:
    """Whether the container runs and will go on running.

    The engine goes on with a stop whose asker died: one that still runs as before is waited for
    until the stop must have happened, if it was asked for at all.
    """
    while True:
        state = engine.inspect_state(entry.container_id)["State"]
        if not state.get("Running"):
            return False
        left_seconds = entry.stopped_by - time.time()
        is_as_before = state.get("StartedAt") == entry.started_at
        if not is_as_before or not 0 < left_seconds < _LONGEST_STOP_SECONDS + _KILL_SECONDS:
            return True
        time.sleep(_LOOK_SECONDS)


def _path(folder: Path, act: str, container_id: str) -> Path:
    return folder / f"{act}-{container_id[:32]}.json"


def _write(state: StateDir, entry: Entry) -> Path:
    folder = state.folder("journal")
    path = _path(folder, entry.act, entry.container_id)
    partial = path.with_suffix(".partial")
    # A command may hold a password: nobody else reads it here.
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump(asdict(entry), file)
        file.flush()
        os.fsync(file.fileno())
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
        told = json.loads(path.read_bytes())
        commands = tuple(
            Command(tuple(one["argv"]), one["user"], one["timeout_seconds"])
            for one in told.pop("commands", ())
        )
        return Entry(**told, commands=commands)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
