"""How long a request to S3 is tried again: long enough for a server that restarts."""

from __future__ import annotations

import io
import random
from threading import Event
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse, HTTPHeaders
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError
from urllib3 import HTTPResponse

from backupd.stores.s3_patience import Patience

ATTEMPTS = 8
LONGEST = [1, 2, 4, 8, 16, 20, 20]
"""The most that each pause takes, in seconds."""


class Clock(Event):
    """Nobody gives up, and no time passes: the pauses that were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.pauses.append(timeout)
        return self.is_set()


@pytest.fixture(autouse=True)
def _longest_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "random", lambda: 1.0)


@pytest.fixture
def client() -> Any:
    """A client whose every request is answered, or fails, as the test says by `client.next`."""
    made: Any = boto3.session.Session(
        aws_access_key_id="key", aws_secret_access_key="secret", region_name="us-east-1"
    ).client("s3", config=Config(retries={"mode": "standard", "total_max_attempts": ATTEMPTS}))
    return made


def ask(client: Any, patience: Patience, given_up: Event, failure: object) -> int:
    """How many attempts a request makes that fails like this each time."""
    attempts = 0

    def fail(**_: object) -> Any:
        nonlocal attempts
        attempts += 1
        if isinstance(failure, Exception):
            raise failure
        return failure

    client.meta.events.register("before-send.s3", fail)
    patience.guide(client)
    with patience.until(given_up), pytest.raises((ClientError, EndpointConnectionError)):
        client.head_bucket(Bucket="bucket")
    return attempts


def unreachable() -> Exception:
    return EndpointConnectionError(endpoint_url="https://s3.example.com", error="refused")


def test_where_nothing_answers_the_pauses_outlast_a_restart(client: Any) -> None:
    clock = Clock()

    attempts = ask(client, Patience(ATTEMPTS), clock, unreachable())

    assert (ATTEMPTS, LONGEST) == (attempts, clock.pauses)


def test_many_requests_that_fail_do_not_use_up_each_others_attempts(client: Any) -> None:
    patience = Patience(ATTEMPTS)
    patience.guide(client)
    client.meta.events.register("before-send.s3", lambda **_: (_ for _ in ()).throw(unreachable()))

    for _ in range(8):
        clock = Clock()
        with patience.until(clock), pytest.raises(EndpointConnectionError):
            client.head_bucket(Bucket="bucket")
        assert LONGEST == clock.pauses


def test_what_was_given_up_is_not_tried_again(client: Any) -> None:
    given_up = Clock()
    given_up.set()

    assert 1 == ask(client, Patience(ATTEMPTS), given_up, unreachable())


def test_a_server_that_has_not_answered_yet_is_given_up_soon_where_a_person_waits(
    client: Any,
) -> None:
    clock = Clock()

    attempts = ask(client, Patience(ATTEMPTS, first_attempts=2), clock, unreachable())

    assert (2, LONGEST[:1]) == (attempts, clock.pauses)


def test_a_server_that_has_answered_once_is_waited_for_as_ever(client: Any) -> None:
    patience, clock = Patience(ATTEMPTS, first_attempts=2), Clock()
    answer = AWSResponse("https://s3.example.com", 403, HTTPHeaders(), HTTPResponse(io.BytesIO()))

    assert 1 == ask(client, patience, clock, answer)
    client.meta.events.register_first("before-send.s3", lambda **_: raise_(unreachable()))

    with patience.until(clock), pytest.raises(EndpointConnectionError):
        client.head_bucket(Bucket="bucket")
    assert LONGEST == clock.pauses


def raise_(error: Exception) -> None:
    raise error
