"""Tells the world how the runs went: metrics for machines, notifications for people, pings.

    message    what people are told, in a few lines                     pure
    editor     what is worth telling, by the policy's `when`
    notify     by apprise, which runs in apprise_child, a program of its own
    ping       addresses asked for at start and end
    courier    the thread that carries words out: tries again, never delays a run
    metrics    numbers for Prometheus       server   /metrics and /healthz
    view       what all of these ask the daemon

`listeners_of` makes the listeners that a policy asks for; libraries are imported only then.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from backupd.daemon.listeners import Listener
from backupd.errors import UsageError
from backupd.policy import Metrics, Policy
from backupd.telling.message import Voice
from backupd.telling.view import DaemonView, Outlook

if TYPE_CHECKING:
    from backupd.telling.metrics import Numbers
    from backupd.telling.server import Server

__all__ = ["DaemonView", "Memory", "Outlook", "listeners_of"]

LOGGER = logging.getLogger("backupd.telling")


@dataclass
class Memory:
    """What listeners leave to those who follow them at a reload; one for a daemon's life."""

    numbers: Numbers | None = None
    server: Server | None = None
    told: dict[tuple[str, str], datetime] = field(default_factory=dict)
    failing_since: dict[str, datetime] = field(default_factory=dict)


def listeners_of(policy: Policy, view: DaemonView, memory: Memory) -> list[Listener]:
    """The listeners that the policy asks for. Raises nothing for what is wrong outside of us.

    At a reload, make the new ones before or after the old ones are closed: a metrics server whose
    address stays goes over from one to the other. If its port is taken, that is logged and told
    as a trouble, since backups matter more.
    """
    voice = Voice(view.host, ZoneInfo(policy.timezone))
    listeners = [*_messengers(policy, view, memory, voice)]
    if policy.metrics is None:
        memory.numbers = None
        return listeners
    try:
        return [_exporter(policy.metrics, view, memory), *listeners]
    except UsageError as error:
        LOGGER.error("%s", error)
        for listener in listeners:
            listener.trouble("metrics", str(error))
        return listeners


def _messengers(
    policy: Policy, view: DaemonView, memory: Memory, voice: Voice
) -> Iterator[Listener]:
    if policy.notify is not None:
        from backupd.telling.editor import Editor
        from backupd.telling.notify import Notifier

        editor = Editor(
            policy.notify.when,
            voice,
            view.last_good_of,
            view.now,
            told=memory.told,
            failing_since=memory.failing_since,
        )
        yield Notifier(policy.notify, editor)
    if policy.ping is not None or any(job.ping for job in policy.jobs.values()):
        from backupd.telling.ping import Pinger

        yield Pinger(policy, voice, view.last_good_of)


def _exporter(spec: Metrics, view: DaemonView, memory: Memory) -> Listener:
    from backupd.telling.metrics import Numbers
    from backupd.telling.server import Exporter, Pages, Server

    if memory.numbers is None:
        memory.numbers = Numbers(view.pasts())
    pages = Pages(memory.numbers, view.outlooks, view.ailment)
    server = memory.server
    if server is None or not server.is_open or server.address != spec.address:
        server = memory.server = Server(spec.address, pages)
    return Exporter(pages, server)
