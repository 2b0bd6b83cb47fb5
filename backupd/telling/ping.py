"""Pings: an address asked for when a run starts, ends well or fails, as healthchecks.io takes it.

Listens to the daemon; never delays or fails a run. The address is a secret: no log names it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Literal

import requests
from pydantic import SecretStr

from backupd import __version__
from backupd.history import PRUNE, RunRecord
from backupd.policy import Ping, Policy
from backupd.telling.courier import LAST_CALL, Courier, Undelivered
from backupd.telling.message import Message, Voice

TIMEOUT_SECONDS = 10.0
PAUSES_SECONDS = (2.0, 10.0)
Occasion = Literal["start", "success", "fail"]


@dataclass(frozen=True, slots=True)
class _Call:
    url: SecretStr
    body: str | None
    what: str
    """How a log calls it."""


@dataclass
class Pinger:
    """Asks for the addresses of a job, else of the policy, which also hears of troubles."""

    policy: Policy
    voice: Voice
    last_good_of: Callable[[str], datetime | None]
    pauses_seconds: Sequence[float] = PAUSES_SECONDS
    timeout_seconds: float = TIMEOUT_SECONDS
    last_call: timedelta = LAST_CALL

    def __post_init__(self) -> None:
        self._session = requests.Session()
        self._courier = Courier[_Call](
            "ping", self._attempt, pauses_seconds=self.pauses_seconds, abandon=self._session.close
        )

    def job_started(self, job: str, at: datetime) -> None:
        """Ping the job's start."""
        self._ping(job, "start", None)

    def job_ended(self, record: RunRecord, recovered: bool) -> None:
        """Ping the job's success or failure; a run that was skipped says nothing."""
        if record.state == "good":
            self._ping(record.job, "success", None)
        elif record.state != "skipped":
            self._ping(record.job, "fail", self.voice.failed(record, self.last_good_of(record.job)))

    def trouble(self, what: str, sentence: str) -> None:
        """Ping the failure of the policy's own address: no job stands for it."""
        if self.policy.ping is not None:
            message = self.voice.trouble(what, sentence)
            self._send(self.policy.ping, "fail", message, f"about the {what}")

    def close(self) -> None:
        """Send what waits, for a few seconds at most."""
        self._courier.close(self.last_call)

    def _ping(self, job: str, occasion: Occasion, message: Message | None) -> None:
        known = self.policy.jobs.get(job)
        ping = self.policy.ping_of(known) if known else self.policy.ping
        if ping is not None:
            name = "the scheduled prune" if job == PRUNE else f"job {job}"
            self._send(ping, occasion, message, f"of {name}")

    def _send(self, ping: Ping, occasion: Occasion, message: Message | None, what: str) -> None:
        url: SecretStr | None = getattr(ping, occasion)
        if url is not None:
            body = message.body if message else None
            self._courier.send(_Call(url, body, f"'{occasion}' {what}"))

    def _attempt(self, call: _Call) -> Undelivered[_Call] | None:
        cause = self._cause(call)
        return Undelivered(call, f"cannot ping {call.what}: {cause}") if cause else None

    def _cause(self, call: _Call) -> str | None:
        """Why the address did not take it; None if it did."""
        try:
            # Streamed: an answer without end is not read.
            with self._session.request(
                "GET" if call.body is None else "POST",
                call.url.get_secret_value(),
                data=call.body.encode() if call.body is not None else None,
                headers={"User-Agent": f"backupd/{__version__}"},
                timeout=self.timeout_seconds,
                stream=True,
            ) as answer:
                code = answer.status_code
        except requests.RequestException as error:
            # None of its own words: they hold the address.
            return _why(error)
        return None if HTTPStatus(200) <= code < HTTPStatus(300) else f"the server answered {code}"


def _why(error: requests.RequestException) -> str:
    match error:
        case requests.exceptions.SSLError():
            return "the server's certificate cannot be trusted, or it speaks no TLS"
        case requests.exceptions.ProxyError():
            return "the proxy refuses or cannot be reached"
        case requests.exceptions.Timeout():
            return "the server did not answer in time"
        case requests.exceptions.ConnectionError():
            return "the server cannot be reached"
    return "the server's answer makes no sense"
