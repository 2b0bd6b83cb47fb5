"""Notifications by the real apprise to a real web server, and `backupd notify --test`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from pydantic import SecretStr

from backupd.policy import Notify, Policy
from backupd.run_record import Past
from backupd.telling import DaemonView, Memory, listeners_of
from backupd.telling.courier import LAST_CALL, Couriers
from backupd.telling.editor import Editor
from backupd.telling.notify import Notifier
from tests.integration.command import Command
from tests.servers.receiver import HANG, Receiver
from tests.unit.runs import FAILED, SAVED, START, VOICE, run

VIEW = DaemonView("web01", lambda: START, lambda _: Past(), dict, dict, str)
CANARY = "canary-7431"
NO_TIME, AMPLE_TIME = timedelta(0), timedelta(minutes=1)


@contextmanager
def notifier(
    *urls: str,
    timeout: str = "30s",
    last_call: timedelta = LAST_CALL,
    couriers: Couriers | None = None,
) -> Iterator[Notifier]:
    spec = Notify.model_validate({"urls": urls, "timeout": timeout})
    editor = Editor(spec.when, VOICE, lambda _: None, lambda: START)
    couriers = couriers or Couriers("notification", (0.0, 0.0))
    made = Notifier(spec, editor, couriers, last_call)
    try:
        yield made
    finally:
        made.close()


def test_a_failure_reaches_the_service() -> None:
    with Receiver() as receiver, notifier(f"json://{receiver.address}/") as made:
        made.job_ended(run("failed", FAILED), recovered=False)

        sent = receiver.next().json

    assert ("backupd: job nightly failed on web01", "failure") == (sent["title"], sent["type"])
    assert "- container web: cannot read it" in sent["message"].splitlines()


def test_only_the_service_that_refused_is_tried_again() -> None:
    with Receiver() as good, Receiver(500, 503, 200) as bad:
        with notifier(f"json://{good.address}/", f"json://{bad.address}/") as made:
            made.job_ended(run("failed", FAILED), recovered=False)
            for _ in range(3):
                bad.next()

        assert 1 == good.requests.qsize()
        assert bad.requests.empty()


def test_a_service_that_hangs_delays_no_other() -> None:
    with Receiver() as good, Receiver(HANG) as bad:
        urls = (f"json://{bad.address}/", f"json://{good.address}/")
        with notifier(*urls, timeout="10m", last_call=NO_TIME) as made:
            for _ in range(2):
                made.job_ended(run("failed", FAILED), recovered=False)
            told = [good.next().json["type"] for _ in range(2)]

            assert (["failure"] * 2, []) == (told, bad.hung)


def test_what_is_tried_again_outlives_a_reload() -> None:
    # One more try than a stop still makes.
    with Receiver(500, 500, 200) as receiver:
        url, couriers = f"json://{receiver.address}/", Couriers("notification", (0.1, 0.1))
        with notifier(url, couriers=couriers) as old:
            old.job_ended(run("failed", FAILED), recovered=False)
            receiver.next()
            with notifier(url, timeout="20s", couriers=couriers) as new:
                old.close()
                new.job_ended(run("good", SAVED), recovered=True)
                types = [receiver.next().json["type"] for _ in range(3)]

    assert ["failure", "failure", "success"] == types


def test_an_address_that_left_the_policy_gets_a_last_try(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Receiver(500) as receiver:
        couriers = Couriers("notification", (600.0, 600.0))
        url = f"json://{receiver.address}/"
        with notifier(url, last_call=AMPLE_TIME, couriers=couriers) as old:
            old.job_ended(run("failed", FAILED), recovered=False)
            receiver.next()

        assert "failure" == receiver.next().json["type"]
    assert 1 == len(caplog.messages)


def test_a_reload_of_the_policy_keeps_the_couriers() -> None:
    memory = Memory(letters=Couriers("notification", (0.1, 0.1)))
    with Receiver(500, 500, 200) as receiver:
        given = Policy.model_validate(policy(f"json://{receiver.address}/"))
        (old,) = listeners_of(given, VIEW, memory)
        old.trouble("store", "the login failed")
        receiver.next()
        (new,) = listeners_of(given, VIEW, memory)
        old.close()
        tries = [receiver.next().json["type"] for _ in range(2)]
        new.close()

    assert ["warning", "warning"] == tries


def test_a_service_that_hangs_delays_nobody() -> None:
    with (
        Receiver(HANG) as receiver,
        notifier(f"json://{receiver.address}/", timeout="10m", last_call=NO_TIME) as made,
    ):
        made.job_ended(run("failed", FAILED), recovered=False)
        receiver.next()
        made.job_ended(run("failed", FAILED), recovered=False)
        made.trouble("policy", "line 3 is wrong")
        made.close()

        # The first message is held still, yet all of the above came back.
        assert [] == receiver.hung


def test_what_cannot_be_sent_is_logged_without_its_address(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    with Receiver(401) as receiver:
        urls = (
            f"json://user:{CANARY}@{receiver.address}/{CANARY}",
            f"json://127.0.0.1:1/{CANARY}?+X={CANARY}",
            f"slack://{CANARY}",
            f"nosuch://{CANARY}",
        )
        with notifier(*urls, last_call=AMPLE_TIME) as made:
            made.job_ended(run("failed", FAILED), recovered=False)

    refused = "apprise does not take this address; its wiki shows the form"
    failed = "cannot send 'backupd: job nightly failed on web01': notify.urls"
    assert [
        f"{failed}[0] (json): the service answered 401",
        f"{failed}[1] (json): the service cannot be reached, or did not answer in time",
        f"{failed}[2] (slack): {refused}",
        f"{failed}[3] (nosuch): {refused}",
    ] == sorted(caplog.messages)
    assert CANARY not in caplog.text + "".join(capfd.readouterr())


def test_more_than_a_hundred_waiting_messages_are_dropped_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with (
        Receiver(HANG) as receiver,
        notifier(f"json://{receiver.address}/", timeout="10m", last_call=NO_TIME) as made,
    ):
        made.job_ended(run("failed", FAILED), recovered=False)
        receiver.next()
        for _ in range(101):
            made.job_ended(run("failed", FAILED), recovered=False)

    assert ["dropped a notification: 100 wait already"] == caplog.messages[:1]


def policy(*urls: str) -> dict[str, object]:
    section = {"notify": {"urls": list(urls)}} if urls else {}
    return {"host": "web01", **section, "jobs": {"nightly": {"images": ["nginx"]}}}


def test_the_command_sends_a_test_message(backupd: Command) -> None:
    with Receiver() as receiver:
        backupd.write(policy(f"json://{receiver.address}/{CANARY}"))
        result = backupd("notify", "--test")
        sent = receiver.next()

    assert (0, "notify.urls[0] (json): sent\n", "") == (result.code, result.stdout, result.stderr)
    assert "backupd: a test from web01" == sent.json["title"]


def test_the_command_tells_who_did_not_take_it(backupd: Command) -> None:
    with Receiver() as good, Receiver(404) as bad:
        backupd.write(policy(f"json://{good.address}/", f"json://{bad.address}/{CANARY}"))
        result = backupd("notify", "--test")

    assert 1 == result.code
    assert "notify.urls[0] (json): sent\n" == result.stdout
    assert "backupd: notify.urls[1] (json): not sent: the service answered 404\n" == result.stderr


def test_the_command_needs_addresses(backupd: Command) -> None:
    backupd.write(policy())

    result = backupd("notify", "--test")

    assert (2, "backupd: cannot send a test: the policy has no 'notify'; add its urls there\n") == (
        result.code,
        result.stderr,
    )


def test_a_daemon_that_does_not_start_tells_it_once(backupd: Command) -> None:
    with Receiver() as receiver:
        broken = {**policy(f"json://{receiver.address}/{CANARY}"), "jobs": {}}
        backupd.write(broken)
        results = [backupd("daemon") for _ in range(2)]
        sent = receiver.next()

        assert receiver.requests.empty()
    assert [2, 2] == [result.code for result in results]
    assert "backupd: the daemon did not start on web01" == sent.json["title"]
    assert "jobs: is empty" in sent.json["message"]
    assert results[0].stderr.strip().removeprefix("backupd: ") in sent.json["message"]


def test_the_specification_shows_no_address() -> None:
    spec = Notify(urls=(SecretStr(f"slack://{CANARY}"),))

    assert CANARY not in repr(spec)
