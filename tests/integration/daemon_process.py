"""`backupd daemon` as a process of its own, with what tests want of it: its log, signals, its end.

Nothing waits for a minute of the clock: `promised_long_ago` writes into the history that a schedule
was taken up more than a year ago, so that a daemon finds its run missed, and runs it at once.
"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from backupd.history import History
from backupd.run_record import Promise
from backupd.state import StateDir
from tests.integration.aftermath import wait_until
from tests.integration.command import Command
from tests.servers.faulty_engine import Fault, FaultyEngine

YEARLY = "@yearly"
"""A schedule that does not become due while a test looks on."""
DEFAULT_PATIENCE_SECONDS = 120.0


class DaemonProcess:
    """A daemon that was started, until it is reaped by `running`."""

    def __init__(
        self, backupd: Command, log: Path, before: Sequence[str], arguments: Sequence[str] = ()
    ) -> None:
        self._backupd = backupd
        self._log = log
        with log.open("wb") as errors:
            self._process = backupd.start("daemon", *arguments, before=before, errors=errors)

    @property
    def log(self) -> str:
        """All that it said so far."""
        return self._log.read_text(errors="replace")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def wait_for(
        self, text: str, times: int = 1, *, patience_seconds: float = DEFAULT_PATIENCE_SECONDS
    ) -> None:
        """Return once its log holds the text so often; fails when it ended without."""

        def said() -> bool:
            if self.log.count(text) >= times:
                return True
            assert self._process.poll() is None, f"it ended, and said:\n{self.log}"
            return False

        try:
            wait_until(said, timeout_seconds=patience_seconds)
        except TimeoutError:
            raise AssertionError(f"it did not say {text!r}, but:\n{self.log}") from None

    def wait_until_ready(self) -> None:
        """Return once it follows its policy, so that it heeds signals."""
        self.wait_for("following ")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal and come back at once."""
        self._process.send_signal(number)

    def stop(self) -> int:
        """Its exit code after a SIGTERM."""
        self.send(signal.SIGTERM)
        return self.code()

    def code(self) -> int:
        """Its exit code, once it ended."""
        return self._process.wait(DEFAULT_PATIENCE_SECONDS)

    def kill(self) -> None:
        """End it as a power cut would, and reap it."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


@contextmanager
def running(
    backupd: Command, *arguments: str, before: Sequence[str] = ()
) -> Iterator[DaemonProcess]:
    """A daemon, started, with a log of its own; afterwards it is gone. `before` as in Command."""
    number = len(list(backupd.directory.glob("daemon-*.log"))) + 1
    daemon = DaemonProcess(backupd, backupd.directory / f"daemon-{number}.log", before, arguments)
    try:
        yield daemon
    finally:
        daemon.kill()


def promised_long_ago(backupd: Command, *jobs: str, expression: str = YEARLY) -> None:
    """Let the history say that these jobs' schedule was taken up more than a year ago."""
    since = datetime.now(UTC) - timedelta(days=367)
    history(backupd).take_up({job: Promise(expression, "UTC", 0, since) for job in jobs})


def history(backupd: Command) -> History:
    """The history, for a look and for making a past."""
    return History.open(StateDir(backupd.state_dir))


def states(backupd: Command, job: str) -> list[str]:
    """How the runs of a job ended, the newest first, by the command."""
    return [run["state"] for run in backupd("history", job, "--json").json]


def daemon_json(backupd: Command) -> dict[str, Any]:
    """What the daemon last wrote of itself; nothing where it did not yet."""
    path = backupd.state_dir / "daemon.json"
    found: dict[str, Any] = json.loads(path.read_bytes()) if path.exists() else {}
    return found


def standing(backupd: Command, job: str) -> Mapping[str, Any]:
    """How a job stands, by `backupd status --json`."""
    rows = backupd("status", "--json").json["jobs"]
    found: Mapping[str, Any] = next(row for row in rows if row["job"] == job)
    return found


class Hold:
    """The engine's answer to one request, held in the middle until it is released."""

    def __init__(self, faulty: FaultyEngine, request: str, at_byte: int) -> None:
        self._reached, self._released = threading.Event(), threading.Event()
        faulty.add(Fault(request, at_byte=at_byte, act=self._hold))

    def wait(self) -> None:
        """Return once the request has come so far."""
        assert self._reached.wait(DEFAULT_PATIENCE_SECONDS), "nobody came so far"

    @property
    def is_reached(self) -> bool:
        """Whether the request has come so far."""
        return self._reached.is_set()

    def release(self) -> None:
        """Let the engine go on."""
        self._released.set()

    def _hold(self) -> None:
        self._reached.set()
        self._released.wait(300)
