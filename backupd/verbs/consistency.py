"""Around the reading of one container: commands before, pause or stop, and all of it undone.

Inside the block the container stands still as the policy wants it. Leaving it, however that comes
about, lets the container go on first and then runs the commands after. A container that was not
running, or that a person paused, is left exactly so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from backupd import journal
from backupd.engine_exec import Command, Ended, run_inside
from backupd.errors import EngineError, HookFailed, NotFound
from backupd.manifest import Container
from backupd.policy import Consistency, Hook
from backupd.site import Site
from backupd.stream import Cancel

HURRIED_SECONDS = 30.0
"""What a command after still gets once the work was told to stop: a service has to end soon."""

_LOOKS, _LOOK_SECONDS = 6, 0.2
"""A container that cannot start again, for want of what it needs, mostly ends within a second."""

_RUNNING = frozenset({"running", "restarting"})


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
    with journal.owing(site.state, site.engine, (container.id, container.name), commands):
        try:
            yield
        except BaseException as error:
            for what, _ in _run_after(inside, hooks):
                error.add_note(f"and its command {what}")
            raise
        fatal = []
        for what, hook in _run_after(inside, hooks):
            if hook.on_failure == "abort":
                fatal.append(what)
            else:
                inside.warn(what)
        if fatal:
            raise HookFailed(
                f"cannot back up container {container.name!r}: its command {'; '.join(fatal)}; "
                "what was read is not kept"
            )


def _run_after(inside: _Inside, hooks: Sequence[Hook]) -> list[tuple[str, Hook]]:
    """Run them all; what failed, in words."""
    failed = []
    for index, hook in enumerate(hooks):
        seconds = hook.timeout.total_seconds()
        if inside.site.cancel.is_set():
            seconds = min(seconds, HURRIED_SECONDS)
        command = Command(hook.exec, hook.user, seconds)
        # With a wish of its own: what is after a cancelled reading is still to be done.
        cause = _failure(inside, command, Cancel())
        if cause is not None:
            failed.append((f"after[{index}] {cause}", hook))
    return failed


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
        return f"did not end within {command.timeout_seconds:g} s, and may go on in there{said}"
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
