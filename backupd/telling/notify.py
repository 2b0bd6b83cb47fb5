"""Messages about runs to mail, chat and phones, by apprise, which runs in a program of its own.

Listens to the daemon; never delays or fails a run. No address is ever logged: a failure names the
place in the policy and the kind of service.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from backupd.policy import Notify
from backupd.run_record import RunRecord
from backupd.telling.courier import LAST_CALL, Couriers
from backupd.telling.editor import Editor
from backupd.telling.message import Message

PAUSES_SECONDS = (10.0, 60.0)
START_SECONDS = 15.0
"""What the program may take to start on a busy machine, besides the policy's timeout."""
_CHILD = Path(__file__).with_name("apprise_child.py")


class Sender:
    """Sends one message to addresses; a try ends after the policy's timeout whatever happens."""

    def __init__(self, spec: Notify) -> None:
        self.urls = tuple(url.get_secret_value() for url in spec.urls)
        self._timeout_seconds = spec.timeout.total_seconds()
        self._running: subprocess.Popen[str] | None = None
        self._ended = threading.Event()

    def send(self, message: Message, to: Sequence[int]) -> dict[int, str]:
        """Why the addresses of these numbers did not take it; empty if all did."""
        order = {
            "urls": {number: self.urls[number] for number in to},
            "title": message.title,
            "body": message.body,
            "tone": str(message.tone),
            "timeout_seconds": self._timeout_seconds,
        }
        fates, otherwise = self._run(json.dumps(order))
        causes = {number: fates.get(number, otherwise) for number in to}
        return {number: cause for number, cause in causes.items() if cause is not None}

    def place(self, number: int) -> str:
        """How an address is called in messages: its place in the policy, and the service."""
        return f"notify.urls[{number}] ({self.urls[number].partition('://')[0].lower()})"

    def abandon(self) -> None:
        """End what is under way, and send no more."""
        self._ended.set()
        if self._running is not None:
            self._running.kill()

    def _run(self, order: str) -> tuple[dict[int, str | None], str]:
        """The fates known when the program ends, by itself or not; and what the others' is."""
        # -P: no directory that this process happens to stand in may lend the program a module.
        self._running = subprocess.Popen(  # noqa: S603 - a program of our own; no text in its place
            [sys.executable, "-P", str(_CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        with self._running as child:
            if self._ended.is_set():
                child.kill()
            try:
                said, _ = child.communicate(order, self._timeout_seconds + START_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                said, _ = child.communicate()
        fates: dict[int, str | None] = dict(map(json.loads, said.splitlines()))
        if child.returncode > 0:
            return fates, "apprise cannot be started; install backupd anew"
        return fates, "the service did not answer in time"


@dataclass(frozen=True, slots=True)
class Letter:
    """One message to one address."""

    sender: Sender
    number: int
    message: Message

    def attempt(self) -> str | None:
        """Send it; why that failed, in a sentence without the address, or None."""
        cause = self.sender.send(self.message, (self.number,)).get(self.number)
        if cause is None:
            return None
        return f"cannot send '{self.message.title}': {self.sender.place(self.number)}: {cause}"

    def abandon(self) -> None:
        """End the attempt under way."""
        self.sender.abandon()


class Notifier:
    """Sends what its editor finds worth telling, to each address by a courier of its own."""

    def __init__(
        self, spec: Notify, editor: Editor, couriers: Couriers, last_call: timedelta = LAST_CALL
    ) -> None:
        """`couriers` may be those of a forerunner: what waits at an address that stays goes on."""
        self._spec = spec
        self._editor = editor
        self._couriers = couriers
        self._last_call = last_call
        self._addresses = [url.get_secret_value() for url in spec.urls]
        couriers.serve(self, self._addresses)

    def job_started(self, job: str, at: datetime) -> None:
        """Nothing to tell yet."""

    def job_ended(self, record: RunRecord, recovered: bool) -> None:
        """Tell of it if the policy wants to know."""
        self._send(self._editor.of_run(record, is_recovery=recovered))

    def trouble(self, what: str, sentence: str) -> None:
        """Tell of it, unless the same was told within a day."""
        self._send(self._editor.of_trouble(what, sentence))

    def close(self) -> None:
        """Send what waits, for a few seconds at most; what another took over goes on."""
        self._couriers.close(self, self._last_call)

    def _send(self, message: Message | None) -> None:
        if message is not None:
            for letter in letters(self._spec, message):
                self._couriers.send(self._addresses[letter.number], letter)


def letters(spec: Notify, message: Message) -> Iterator[Letter]:
    """The message to each address; each letter can be abandoned by itself."""
    for number in range(len(spec.urls)):
        yield Letter(Sender(spec), number, message)
