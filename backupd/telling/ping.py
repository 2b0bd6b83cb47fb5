"""Pings: an address asked for when a run starts, ends well or fails, as healthchecks.io takes it.

Listens to the daemon; never delays or fails a run. The address is a secret: no log names it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Literal

import requests
from pydantic import SecretStr

from backupd import __version__
from backupd.policy import Ping, Policy
from backupd.run_record import CHORES, RunRecord
from backupd.telling.courier import LAST_CALL, Couriers
from backupd.telling.message import Message, Voice

TIMEOUT_SECONDS = 10.0
PAUSES_SECONDS = (2.0, 10.0)
Occasion = Literal["start", "success", "fail"]


@dataclass(frozen=True, slots=True)
class Call:
    """One address to be asked for."""

    url: SecretStr
    body: str | None
    what: str
    """How a log calls it."""
    timeout_seconds: float = TIMEOUT_SECONDS

    def attempt(self) -> str | None:
        """Ask for it; why that failed, in a sentence without the address, or None."""
        cause = self._cause()
        return f"cannot ping {self.what}: {cause}" if cause else None

    def abandon(self) -> None:
        """Nothing: a request under way ends by its timeout, and its thread holds no exit."""

    def _cause(self) -> str | None:
        """Why the address did not take it; None if it did."""
        try:
            # Streamed: an answer without end is not read.
            with requests.request(
                "GET" if self.body is None else "POST",
                self.url.get_secret_value(),
                data=self.body.encode() if self.body is not None else None,
                headers={"User-Agent": f"backupd/{__version__}"},
                timeout=self.timeout_seconds,
                stream=True,
            ) as answer:
                code = answer.status_code
        except requests.RequestException as error:
            # None of its own words: they hold the address.
            return _why(error)
        return None if HTTPStatus(200) <= code < HTTPStatus(300) else f"the server answered {code}"


@dataclass(eq=False)
class Pinger:
    """Asks for the addresses of a job, else of the policy, which also hears of troubles.

    Each job's (and the policy's) have a courier of their own, so that the order of a job's pings
    stays and a check that is gone holds up no other.
    """

    policy: Policy
    voice: Voice
    last_good_of: Callable[[str], datetime | None]
    couriers: Couriers
    """May be those of a forerunner: what waits at an address that stays goes on."""
    timeout_seconds: float = TIMEOUT_SECONDS
    last_call: timedelta = LAST_CALL

    def __post_init__(self) -> None:
        pings = [self.policy.ping, *(job.ping for job in self.policy.jobs.values())]
        self.couriers.serve(self, {_address(ping) for ping in pings if ping is not None})

    def job_started(self, job: str, at: datetime) -> None:
        """Ping the job's start."""
        self._ping(job, "start", None)

    def job_ended(self, record: RunRecord, recovered: bool) -> None:
        """Ping the job's success or failure.

        A run that was skipped says nothing, unless it had begun: its start was told.
        """
        if record.is_success:
            self._ping(record.job, "success", None)
        elif record.has_begun:
            self._ping(record.job, "fail", self.voice.failed(record, self.last_good_of(record.job)))

    def trouble(self, what: str, sentence: str) -> None:
        """Ping the failure of the policy's own address: no job stands for it."""
        if self.policy.ping is not None:
            message = self.voice.trouble(what, sentence)
            self._send(self.policy.ping, "fail", message, f"about the {what}")

    def close(self) -> None:
        """Send what waits, for a few seconds at most; what another took over goes on."""
        self.couriers.close(self, self.last_call)

    def _ping(self, job: str, occasion: Occasion, message: Message | None) -> None:
        known = self.policy.jobs.get(job)
        ping = self.policy.ping_of(known) if known else self.policy.ping
        if ping is not None:
            name = CHORES.get(job, f"job {job}")
            self._send(ping, occasion, message, f"of {name}")

    def _send(self, ping: Ping, occasion: Occasion, message: Message | None, what: str) -> None:
        url: SecretStr | None = getattr(ping, occasion)
        if url is not None:
            body = message.body if message else None
            call = Call(url, body, f"'{occasion}' {what}", self.timeout_seconds)
            self.couriers.send(_address(ping), call)


def _address(ping: Ping) -> tuple[SecretStr | None, ...]:
    """What tells one set of addresses from another."""
    return (ping.start, ping.success, ping.fail)


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
