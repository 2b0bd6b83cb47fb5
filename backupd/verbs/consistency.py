"""Around the reading of one container: commands before, pause or stop, and all of it undone.

Inside the block the container stands still as the policy wants it. Leaving it, however that comes
about, lets the container go on first and then runs the commands after. A container that was not
running, or that a person paused, is left exactly so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from backupd import journal
from backupd.engine_exec import Command, Ended, run_inside
from backupd.errors import Cancelled, EngineError, HookFailed, NotFound
from backupd.manifest import Container
from backupd.policy import Consistency, Hook
from backupd.site import Site
from backupd.stream import Cancel

HURRIED_SECONDS = 30.0
"""What the commands after still get together once somebody waits for the end: a service has to end
soon. When only the time of the job is over, each of them gets so long."""

_LOOKS, _LOOK_SECONDS = 6, 0.2
"""A container that cannot start again, for want of what it needs, mostly ends within a second."""

_RUNNING = frozenset({"running", "restarting"})


_Failed = tuple[str, Hook]
"""What became of a command, and which."""


@dataclass(frozen=True, slots=True)
class _Inside:
    """One container whose commands are run."""

    site: Site
    container: Container
    warn: Callable[[str], None]


@contextmanager
def held(
    site: Site, container: Container, consistency: Consistency, warn: Callable[[str], None]
) -> Iterator[None]:
    """The container is as `consistency` wants it to be read; `warn` gets what did not stop that.

    `container` says what it was just now. Raises HookFailed, EngineError or Cancelled, before or
    after the block; by then everything is undone that could be.
    """
    inside = _Inside(site, container, warn)
    with ExitStack() as stack:
        if consistency.before or consistency.after:
            if container.state in _RUNNING:
                stack.enter_context(_after(inside, consistency.after))
                _run_before(inside, consistency.before)
            else:
                warn(f"it was not running ({container.state}), so no command was run inside it")
        if container.stopped:
            stack.callback(_warn_if_it_ended, inside)
            stack.enter_context(
                journal.stopped(site.state, site.engine, container.id, container.name)
            )
        elif container.paused:
            stack.enter_context(
                journal.paused(site.state, site.engine, container.id, container.name)
            )
        yield


def _run_before(inside: _Inside, hooks: Sequence[Hook]) -> None:
    for index, hook in enumerate(hooks):
        command = _command(hook)
        cause = _failure(inside, command, inside.site.cancel)
        if cause is None:
            continue
        what = f"before[{index}] {cause}"
        if hook.on_failure != "warn":
            raise HookFailed(
                f"cannot back up container {inside.container.name!r}: its command {what}; nothing "
                "was read"
            )
        inside.warn(what)


@contextmanager
def _after(inside: _Inside, hooks: Sequence[Hook]) -> Iterator[None]:
    """Leaving the block runs every one of `hooks`, also those behind one that fails."""
    if not hooks:
        yield
        return
    site, container = inside.site, inside.container
    commands = [_command(hook) for hook in hooks]
    with journal.owing(site.state, site.engine, (container.id, container.name), commands) as owed:
        try:
            yield
        except BaseException as error:
            for what, _ in _run_after(inside, hooks, owed):
                error.add_note(f"and its command {what}")
            raise
        fatal = []
        for what, hook in _run_after(inside, hooks, owed):
            if hook.on_failure == "abort":
                fatal.append(what)
            else:
                inside.warn(what)
        if fatal:
            raise HookFailed(
                f"cannot back up container {container.name!r}: its command {'; '.join(fatal)}; "
                "what was read is not kept"
            )


def _run_after(inside: _Inside, hooks: Sequence[Hook], owed: journal.Owed) -> list[_Failed]:
    """Run them all, as long as there is time; what failed, in words."""
    failed: list[_Failed] = []
    with _hurry(inside.site.cancel) as hurry:
        for index, hook in enumerate(hooks):
            seconds = _seconds_for(hook, inside.site.cancel)
            if seconds <= 0:
                owed.since = index
                late = "was not begun, for want of time; the next backup sees to it"
                return failed + [
                    (f"after[{n}] {late}", h) for n, h in enumerate(hooks) if n >= index
                ]
            # With a wish of its own: what is after a cancelled reading is still to be done.
            try:
                cause = _failure(inside, Command(hook.exec, hook.user, seconds), hurry)
            except Cancelled:
                cause = "did not end before the process had to, and may go on in there"
            if cause is not None:
                failed.append((f"after[{index}] {cause}", hook))
    return failed


def _seconds_for(hook: Hook, cancel: Cancel) -> float:
    """How long the command may take if it begins now; nothing where no time is left."""
    seconds = hook.timeout.total_seconds()
    if not cancel.is_set():
        return seconds
    return min(seconds, HURRIED_SECONDS - (cancel.told_seconds_ago or 0.0))


@contextmanager
def _hurry(cancel: Cancel) -> Iterator[Cancel]:
    """A wish to stop that comes when somebody has waited for the end for HURRIED_SECONDS."""
    hurry, is_over = Cancel(), threading.Event()

    def watch() -> None:
        while not is_over.wait(_LOOK_SECONDS):
            if (cancel.told_seconds_ago or 0.0) >= HURRIED_SECONDS:
                hurry.set()
                return

    threading.Thread(target=watch, name="hurry", daemon=True).start()
    try:
        yield hurry
    finally:
        is_over.set()


def _command(hook: Hook) -> Command:
    return Command(hook.exec, hook.user, hook.timeout.total_seconds())


def _failure(inside: _Inside, command: Command, cancel: Cancel) -> str | None:
    """Why the command failed, None if it did not. Raises Cancelled."""
    try:
        ended = run_inside(inside.site.engine, inside.container.id, command, cancel)
    except (EngineError, NotFound) as error:
        return f"could not be run: {error}"
    return None if ended.exit_code == 0 else _in_words(ended, command)


def _in_words(ended: Ended, command: Command) -> str:
    said = f": {ended.last_line}" if ended.last_line else ""
    if ended.exit_code is None:
        seconds = round(command.timeout_seconds, 1)
        return f"did not end within {seconds:g} s, and may go on in there{said}"
    return f"ended with exit code {ended.exit_code}{said}"


def _warn_if_it_ended(inside: _Inside) -> None:
    """A container that we started again and that ended at once is something to know."""
    for look in range(_LOOKS):
        if look:
            time.sleep(_LOOK_SECONDS)
        try:
            state = inside.site.engine.inspect_state(inside.container.id)["State"]
        except (EngineError, NotFound):
            return
        if not state.get("Running"):
            if state.get("ExitCode"):
                inside.warn(
                    "it was started again after it was read, and ended with exit code "
                    f"{state['ExitCode']}; see `docker logs {inside.container.name}`"
                )
            return
