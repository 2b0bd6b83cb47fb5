"""Tells the world how the runs went: metrics for machines, notifications for people, pings.

    message    what people are told, in a few lines                     pure
    editor     what is worth telling, by the policy's `when`
    notify     by apprise, which runs in apprise_child, a program of its own
    ping       addresses asked for at start and end
    courier    the threads that carry words out: they try again, and never delay a run
    refusal    one message about a policy by which the daemon does not start
    metrics    numbers for Prometheus       exporter  where they are shown, and keeps them
    server     the pages /metrics and /healthz
    view       what all of these ask the daemon     judgement  how its jobs stand

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
from backupd.policy import Policy
from backupd.telling.courier import Couriers
from backupd.telling.message import Voice
from backupd.telling.view import DaemonView, Outlook

if TYPE_CHECKING:
    from backupd.telling.exporter import Front
    from backupd.telling.metrics import Numbers
    from backupd.telling.server import Pages

__all__ = ["DaemonView", "Memory", "Outlook", "listeners_of"]

LOGGER = logging.getLogger("backupd.telling")


@dataclass
class Memory:
    """What listeners leave to those who follow them at a reload; one for a daemon's life."""

    numbers: Numbers | None = None
    front: Front | None = None
    letters: Couriers | None = None
    pings: Couriers | None = None
    told: dict[tuple[str, str], datetime] = field(default_factory=dict)
    failing_since: dict[str, datetime] = field(default_factory=dict)


def listeners_of(policy: Policy, view: DaemonView, memory: Memory) -> list[Listener]:
    """The listeners that the policy asks for. Raises nothing for what is wrong outside of us.

    At a reload, make the new ones before or after the old ones are closed: what waits at an address
    of theirs that stays, and the metrics' web server, go over from one to the other. If the port is
    taken, that is logged and told as a trouble, since backups matter more.
    """
    voice = Voice(view.host, ZoneInfo(policy.timezone))
    listeners = [*_messengers(policy, view, memory, voice)]
    if policy.metrics is None:
        memory.numbers = None
        return listeners
    from backupd.telling.exporter import Exporter, Front

    pages, memory.front = _pages(view, memory), memory.front or Front()
    try:
        memory.front.show(pages, policy.metrics.address)
    except UsageError as error:
        LOGGER.error("%s", error)
        for listener in listeners:
            listener.trouble("metrics", str(error))
    return [Exporter(pages, memory.front), *listeners]


def _messengers(
    policy: Policy, view: DaemonView, memory: Memory, voice: Voice
) -> Iterator[Listener]:
    if policy.notify is not None:
        from backupd.telling import notify
        from backupd.telling.editor import Editor

        editor = Editor(
            policy.notify.when,
            voice,
            view.last_good_of,
            view.now,
            told=memory.told,
            failing_since=memory.failing_since,
        )
        memory.letters = memory.letters or Couriers("notification", notify.PAUSES_SECONDS)
        yield notify.Notifier(policy.notify, editor, memory.letters)
    if policy.ping is not None or any(job.ping for job in policy.jobs.values()):
        from backupd.telling import ping

        memory.pings = memory.pings or Couriers("ping", ping.PAUSES_SECONDS)
        yield ping.Pinger(policy, voice, view.last_good_of, memory.pings)


def _pages(view: DaemonView, memory: Memory) -> Pages:
    from backupd.telling.metrics import Numbers
    from backupd.telling.server import Pages

    if memory.numbers is None:
        try:
            memory.numbers = Numbers(view.pasts())
        except UsageError as error:
            LOGGER.warning("metrics begin without a past: %s", error)
            memory.numbers = Numbers({})
    return Pages(memory.numbers, view.outlooks, view.ailment, view.proofs)
