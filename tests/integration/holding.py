"""The command, held in the middle of what it asked the engine for."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.integration.command import Command, Result
from tests.servers.faulty_engine import Fault, FaultyEngine


class Held:
    """A command that is held in the middle of what it asked the engine for."""

    def __init__(self, process: subprocess.Popen[bytes], release: threading.Event) -> None:
        self.process = process
        self._release = release

    def end(self, number: signal.Signals | None = None) -> Result:
        """How it ended, after the signal or after the engine went on."""
        if number is None:
            self._release.set()
        else:
            self.process.send_signal(number)
        output, errors = self.process.communicate(timeout=120)
        return Result(self.process.returncode, output, errors.decode())


@contextmanager
def held(backupd: Command, faulty: FaultyEngine, fault: Fault, *arguments: str) -> Iterator[Held]:
    """The command, started, as soon as `fault` would happen to it, which then waits."""
    reached, release = threading.Event(), threading.Event()

    def hold() -> None:
        reached.set()
        release.wait(300)

    fault.act = hold
    faulty.add(fault)
    with backupd.start(*arguments) as process:
        try:
            assert reached.wait(120), "the command did not come so far"
            yield Held(process, release)
        finally:
            release.set()
            process.kill()
