"""How long the daemon waits for what runs when it is told to stop."""

from __future__ import annotations

import socket
import time
from datetime import timedelta
from pathlib import Path

import pytest

from backupd.daemon.sd_notify import ServiceManager
from backupd.daemon.stopping import Stopping
from backupd.journal_file import PAUSE, STOP, Entry, write
from backupd.state import StateDir

NOTHING = timedelta(0)
AN_HOUR = timedelta(hours=1)


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    return StateDir(tmp_path / "state")


def holding(act: str, *, done_in_seconds: float) -> Entry:
    return Entry(act, "c" * 64, "web", "engine", done_by=time.time() + done_in_seconds)


def cancelling(state: StateDir, manager: ServiceManager | None = None) -> Stopping:
    """A stop whose grace and patience are over."""
    stopping = Stopping(state, manager or ServiceManager(), patience=NOTHING)
    stopping.ask(NOTHING)
    assert stopping.is_time_to_cancel()
    return stopping


def test_what_runs_is_cancelled_once_when_its_grace_is_over(state: StateDir) -> None:
    stopping = Stopping(state, ServiceManager())
    stopping.ask(AN_HOUR)
    in_grace = stopping.is_time_to_cancel()
    stopping.ask(AN_HOUR)

    assert not in_grace
    assert [True, False] == [stopping.is_time_to_cancel() for _ in range(2)]


def test_nobody_is_waited_for_beyond_the_patience(state: StateDir) -> None:
    write(state, holding(PAUSE, done_in_seconds=3600))

    assert not cancelling(state).has_patience()


def test_a_container_that_is_still_being_stopped_is_waited_for(
    state: StateDir, tmp_path: Path
) -> None:
    write(state, holding(STOP, done_in_seconds=3600))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "notify"))
        has_patience = cancelling(state, ServiceManager(str(tmp_path / "notify"))).has_patience()
        words = [told.recv(100).decode(), told.recv(100).decode()]

    assert has_patience
    assert ["STOPPING=1", "EXTEND_TIMEOUT_USEC=60000000"] == words


def test_a_container_that_should_have_started_long_ago_is_not_waited_for(state: StateDir) -> None:
    write(state, holding(STOP, done_in_seconds=-3600))

    assert not cancelling(state).has_patience()
