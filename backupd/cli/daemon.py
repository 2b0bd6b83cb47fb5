"""`backupd daemon`: run the policy by its schedules, until told to stop."""

from __future__ import annotations

import faulthandler
import gc
import logging
import os
import pickle
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast
from zoneinfo import ZoneInfo

import click

from backupd.cli.session import Session, config_option

if TYPE_CHECKING:
    from pathlib import Path

    from backupd.config import Loaded
    from backupd.daemon.generation import Generation, Source
    from backupd.daemon.listeners import Listener
    from backupd.history import History
    from backupd.site import Site
    from backupd.state import StateDir
    from backupd.telling import DaemonView, Memory


@click.command()
@click.option(
    "--log-format",
    type=click.Choice(["text", "journal", "json"]),
    help="How a line of the log looks; default: journal under systemd, else text.",
)
@config_option
@click.pass_obj
def daemon(session: Session, *, log_format: str | None) -> None:
    """Run the policy's jobs by their schedules, until told to stop.

    SIGHUP reads the policy anew, SIGTERM stops after the running jobs (stop_grace), a second one
    at once. Under systemd, `backupd install` has the unit.

    \b
    Example: backupd daemon --config ./config.yaml
    """
    # Until the loop heeds signals there is nothing to undo, and a policy that is yet to be read.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    faulthandler.enable()  # where a crash of a library happened, on standard error

    from backupd.descriptors import make_room

    make_room()
    from backupd import log
    from backupd.daemon.loop import Daemon, Ended
    from backupd.daemon.sd_notify import ServiceManager
    from backupd.errors import PolicyError

    chosen = log.LogFormat(log_format) if log_format else log.format_for(sys.stderr, os.environ)
    log.configure(chosen, sys.stderr)
    manager = ServiceManager.of(os.environ)
    try:
        source, state = source_of(session)
    except PolicyError as error:
        try:
            _tell_refusal(session, str(error))
        except Exception:  # whatever happens there, this error is why the daemon ends
            logging.getLogger(__name__).exception("nobody is told, by a fault of backupd")
        raise
    served = Daemon(source, state, _Listening(state).listeners_of, manager)
    ended = served.run()
    if ended is not Ended.IN_ORDER:
        # Threads that do not end would hold the interpreter for ever; all is written that can be.
        logging.shutdown()
        os._exit(1)


def source_of(session: Session) -> tuple[Source, StateDir]:
    """Where the daemon's policies come from, and its state directory, which the first one names.

    That one is read here, and once only: a large policy takes a second. Raises PolicyError.
    """
    from backupd.config import default_path, renewed
    from backupd.daemon.generation import Source
    from backupd.state import StateDir, default_state_dir

    path = session.config or default_path(os.environ)
    unread = [_load(path)]
    state = StateDir(unread[0].policy.state_dir or default_state_dir(os.environ))
    turns = session.turns

    def read() -> Loaded:
        return unread.pop() if unread else _load(path)

    @contextmanager
    def open_site(loaded: Loaded) -> Iterator[Site]:
        opened = Session(config=path)
        # Read and checked already, and the file may be newer; keys may have been rotated since.
        opened.__dict__["policy"] = renewed(loaded, environ=os.environ)
        # Shared by all policies: a run that began under the old one still holds its turns.
        opened.__dict__["turns"] = turns
        try:
            yield opened.site
        finally:
            opened.close()

    return Source(str(path), read, open_site), state


def _tell_refusal(session: Session, sentence: str) -> None:
    """Tell those whom the refused policy names, as far as that can be read."""
    from backupd.config import default_path
    from backupd.config.salvage import salvaged_state_dir, salvaged_voices
    from backupd.state import StateDir, default_state_dir
    from backupd.telling.message import Voice
    from backupd.telling.refusal import tell_refusal

    path = session.config or default_path(os.environ)
    voices = salvaged_voices(path, os.environ)
    state = StateDir(salvaged_state_dir(path) or default_state_dir(os.environ))
    voice = Voice(voices.host or socket.gethostname(), ZoneInfo("UTC"))
    tell_refusal(voices, voice, sentence, state, datetime.now(UTC))


def _load(path: Path) -> Loaded:
    """What the file says, in memory of its own.

    As it was read it lies scattered among what reading needed, and holds all of that for good: 10
    MiB for a policy of 2,000 jobs. Raises PolicyError.
    """
    from backupd.config import load

    packed = pickle.dumps(load(path, environ=os.environ))
    gc.collect()
    return cast("Loaded", pickle.loads(packed))  # noqa: S301  # packed just now


class _Listening:
    """Makes the listeners that a policy wants; what they remember outlives a reload."""

    def __init__(self, state: StateDir) -> None:
        self._state = state
        self._memory: Memory | None = None

    def listeners_of(self, generation: Generation, history: History) -> Sequence[Listener]:
        from backupd.telling import Memory, listeners_of

        self._memory = self._memory or Memory()
        view = view_of(generation, history, self._state)
        return listeners_of(generation.policy, view, self._memory)


def view_of(generation: Generation, history: History, state: StateDir) -> DaemonView:
    """What listeners may ask of this daemon."""
    from backupd.telling import DaemonView, Outlook
    from backupd.telling.judgement import Judgement
    from backupd.verbs.proofs import known_proofs
    from backupd.verbs.status import ailment

    judgement = Judgement(generation.policy, generation.timetables, history)

    def outlooks() -> dict[str, Outlook]:
        return {
            one.job: Outlook(
                one.next_due,
                one.interval,
                None if one.freshness is None else one.is_fine,
                one.outstanding_since,
            )
            for one in judgement.standings(now())
        }

    def ailing() -> str:
        return ailment(judgement.standings(now()))

    def now() -> datetime:
        return datetime.now(UTC)

    return DaemonView(
        generation.host,
        now,
        history.past,
        history.pasts,
        outlooks,
        ailing,
        proofs=lambda: known_proofs(state),
    )
