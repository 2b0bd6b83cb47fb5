"""What must be undone if this process dies now.

An entry is on disk, synced, before the act that it undoes, and goes away only after the undoing
was seen to work. `replay` undoes what a dead process left; it takes the source's lock first, so a
running backup's own pause is left alone. Only containers that we paused or stopped are ever
touched: by id, since a name may name another one by then. The engine goes on with what a dead
process asked it for, so an act that may still come is waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from backupd import half_imports
from backupd.engine import Engine, Inspect
from backupd.engine_exec import Command, run_inside
from backupd.engine_link import ANSWER_TIMEOUT_SECONDS
from backupd.errors import (
    AlreadyRunning,
    BackupdError,
    EngineCut,
    EngineError,
    EngineUnreachable,
    NotFound,
    UsageError,
)
from backupd.journal_file import (
    AFTER,
    FOLDER,
    PAUSE,
    STOP,
    Entry,
    forget_partials,
    path_of,
    read,
    write,
)
from backupd.layout import Kind
from backupd.state import StateDir
from backupd.stream import Cancel

_ACTS = (PAUSE, STOP, AFTER)
"""In the order in which they are undone: a command needs a container that runs."""

_USUAL_STOP_SECONDS = 10.0
"""What the engine gives a container that names no stop timeout of its own."""
_LONGEST_STOP_SECONDS = 3600.0
_PAUSE_SECONDS = 10.0
"""How long after it was written down a pause that a dead process asked for may still come."""
_KILL_SECONDS = 15.0
"""How long the engine's own SIGKILL, after the stop timeout, may take."""
_START_ATTEMPTS = 3
_LOOK_SECONDS = 0.2
_PAUSES_SECONDS = (0.2, 1.0, 4.0)
"""Before an undoing that found no engine is tried again: one restarts in about three seconds."""


@contextmanager
def paused(state: StateDir, engine: Engine, container_id: str, name: str) -> Iterator[None]:
    """The container is paused inside, and goes on afterwards whatever happens."""
    entry = Entry(PAUSE, container_id, name, engine.version().id)
    # Only for who comes after our death: we ourselves hear whether it happened.
    path = write(state, replace(entry, done_by=time.time() + _PAUSE_SECONDS))
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
        done_by=time.time() + timeout_seconds + _KILL_SECONDS,
    )
    path = write(state, entry)
    with _undone(engine, entry, path):
        if not engine.stop(container_id, timeout_seconds + ANSWER_TIMEOUT_SECONDS):
            path.unlink()  # it had ended by itself, or by somebody else: not ours to start
        yield


@dataclass
class Owed:
    """What whoever leaves the block of `owing` has not done."""

    since: int | None = None
    """The number of the first command that was not begun; None if all were."""


@contextmanager
def owing(
    state: StateDir, engine: Engine, container: tuple[str, str], commands: Sequence[Command]
) -> Iterator[Owed]:
    """Commands that the container (id, name) is owed; whoever leaves the block has run them.

    Those that were not begun, as told in what comes out, stay owed. The entry holds the commands
    themselves, since the policy may have changed by then.
    """
    entry = Entry(AFTER, *container, engine.version().id, commands=commands)
    path, owed = write(state, entry), Owed()
    try:
        yield owed
    finally:
        if owed.since is None:
            path.unlink(missing_ok=True)
        else:
            rest = replace(entry, commands=commands[owed.since :], first=owed.since)
            # Where there is no room for it, all of them stay owed: better twice than never.
            with suppress(OSError, UsageError):
                write(state, rest)


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
            error.add_note(f"and it may still be {entry.left}; {_SEEN_TO}: {failure}")
        raise
    _finish(engine, entry, path)


_SEEN_TO = "the next backup sees to it"


def _finish(engine: Engine, entry: Entry, path: Path) -> None:
    """Undo what is still written down, then forget it."""
    if path.exists():
        _undo_patiently(engine, entry)
        path.unlink(missing_ok=True)


def _undo_patiently(engine: Engine, entry: Entry) -> bool:
    """As `undo`, which may be asked again: a connection that breaks off just then must not leave a
    container as it is until the next backup."""
    for pause_seconds in _PAUSES_SECONDS:
        try:
            return undo(engine, entry)
        except (EngineCut, EngineUnreachable):
            time.sleep(pause_seconds)
    return undo(engine, entry)


def replay(state: StateDir, engine: Engine, say: Callable[[str], None], cancel: Cancel) -> None:
    """Undo what dead processes left on this engine; `say` gets a sentence for each.

    What the engine refuses to undo stays written down, and so does a command that `cancel` cut off.
    Raises EngineUnreachable, Cancelled.
    """
    folder = state.folder(FOLDER)
    with state.in_use():
        forget_partials(folder)
        left = [path for act in _ACTS for path in sorted(folder.glob(f"{act}-*.json"))]
    for path in left:
        entry = read(path)
        if entry is None or entry.engine_id != engine.version().id:
            continue
        try:
            with state.lock_source(Kind.CONTAINER, entry.container_name, "recover"):
                _recover(engine, entry, path, _Told(say, cancel))
        except AlreadyRunning:
            continue
        except EngineUnreachable:
            raise
        except EngineError as error:
            say(
                f"warning: container {entry.container_name!r} was left {entry.left} by a "
                f"backup that died, and may still be; {_SEEN_TO}: {error}"
            )
    half_imports.remove(state, engine, say)


@dataclass(frozen=True, slots=True)
class _Told:
    """Who hears of a recovery, and who may end it."""

    say: Callable[[str], None]
    cancel: Cancel


def _recover(engine: Engine, entry: Entry, path: Path, told: _Told) -> None:
    if not path.exists():
        return  # its own process came to an end while we waited for the lock
    if entry.act == AFTER:
        if any(path_of(path.parent, act, entry.container_id).exists() for act in (PAUSE, STOP)):
            return
        _run_owed(engine, entry, told)
    elif _undo_patiently(engine, entry):
        told.say(
            f"container {entry.container_name!r} was left {entry.left} by a backup that died; "
            "it goes on now"
        )
    path.unlink(missing_ok=True)


def _run_owed(engine: Engine, entry: Entry, told: _Told) -> None:
    """Run each command once, whatever becomes of the others."""
    for index, command in enumerate(entry.commands, entry.first):
        what = f"container {entry.container_name!r}:"
        after, limit = f"after[{index}]", f"{command.timeout_seconds:g} s"
        told.say(
            f"{what} a backup that was cut off had not run {after}; it is run now, for {limit} at "
            "most"
        )
        try:
            ended = run_inside(engine, entry.container_id, command, told.cancel)
        except NotFound:
            return
        except EngineUnreachable:
            raise
        except EngineError as error:
            told.say(f"warning: {what} {after} cannot be run now: {error}")
            continue
        code = "did not end in its time" if ended.exit_code is None else f"gave {ended.exit_code}"
        told.say(f"{what} {after} {code}")


def undo(engine: Engine, entry: Entry) -> bool:
    """Let the container go on if it still is as we left it; whether there was anything to undo."""
    try:
        if entry.act == STOP:
            return _start_again(engine, entry)
        if not _is_paused(engine, entry):
            return False
        engine.unpause(entry.container_id)
    except NotFound:
        return False
    return True


def _is_paused(engine: Engine, entry: Entry) -> bool:
    """Whether it is paused, now or within the time in which the pause may still come."""
    while True:
        state = engine.inspect_state(entry.container_id)["State"]
        if state.get("Paused") or not state.get("Running"):
            return bool(state.get("Paused"))
        if not 0 < entry.done_by - time.time() <= _PAUSE_SECONDS:
            return False
        time.sleep(_LOOK_SECONDS)


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
        left_seconds = entry.done_by - time.time()
        is_as_before = state.get("StartedAt") == entry.started_at
        if not is_as_before or not 0 < left_seconds < _LONGEST_STOP_SECONDS + _KILL_SECONDS:
            return True
        time.sleep(_LOOK_SECONDS)
