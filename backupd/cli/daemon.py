"""`backupd daemon`: run the policy by its schedules, until told to stop."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from backupd.cli.session import Session, config_option

if TYPE_CHECKING:
    from backupd.daemon.generation import Generation, Source
    from backupd.daemon.listeners import Listener
    from backupd.history import History
    from backupd.policy import Policy
    from backupd.site import Site
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
    from backupd import log
    from backupd.daemon.loop import Daemon
    from backupd.daemon.sd_notify import ServiceManager

    chosen = log.LogFormat(log_format) if log_format else log.format_for(sys.stderr, os.environ)
    log.configure(chosen, sys.stderr)
    manager = ServiceManager.of(os.environ)
    served = Daemon(_source(session), session.state, _Listening().listeners_of, manager)
    if not served.run():
        # Threads that do not end would hold the interpreter for ever; all is written that can be.
        logging.shutdown()
        os._exit(0)


def _source(session: Session) -> Source:
    from backupd.config import Loaded, default_path, load
    from backupd.daemon.generation import Source

    path = session.config or default_path(os.environ)

    def read() -> Loaded:
        return load(path, environ=os.environ)

    @contextmanager
    def open_site(policy: Policy) -> Iterator[Site]:
        opened = Session(config=path)
        opened.__dict__["policy"] = policy  # read and checked already; the file may be newer
        try:
            yield opened.site
        finally:
            opened.close()

    return Source(str(path), read, open_site)


class _Listening:
    """Makes the listeners that a policy wants; what they remember outlives a reload."""

    def __init__(self) -> None:
        self._memory: Memory | None = None

    def listeners_of(self, generation: Generation, history: History) -> Sequence[Listener]:
        from backupd.telling import Memory, listeners_of

        self._memory = self._memory or Memory()
        return listeners_of(generation.policy, _view(generation, history), self._memory)


def _view(generation: Generation, history: History) -> DaemonView:
    """What listeners may ask of this daemon."""
    from backupd.telling import DaemonView, Outlook
    from backupd.verbs.status import ailment, standings_of

    def outlooks() -> dict[str, Outlook]:
        return {
            one.job: Outlook(one.next_due, one.interval)
            for one in standings_of(generation.policy, generation.timetables, history, now())
        }

    def ailing() -> str:
        return ailment(standings_of(generation.policy, generation.timetables, history, now()))

    def now() -> datetime:
        return datetime.now(UTC)

    return DaemonView(generation.host, now, history.past, history.pasts, outlooks, ailing)
