"""Pings to a real web server."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from backupd.policy import Policy
from backupd.run_record import PRUNE
from backupd.telling.courier import Couriers
from backupd.telling.ping import Pinger
from backupd.verbs.recorded import BUSY, NOTHING_SELECTED
from tests.servers.receiver import HANG, Received, Receiver
from tests.unit.runs import FAILED, SAVED, START, VOICE, run

CANARY = "canary-7431"


@contextmanager
def pinger(ping: object, timeout_seconds: float = 30, own: str | None = None) -> Iterator[Pinger]:
    nightly = {"images": ["a"], **({"ping": own} if own else {})}
    policy = Policy.model_validate(
        {"jobs": {"nightly": nightly, "other": {"images": ["a"]}}, "ping": ping}
    )
    couriers = Couriers("ping", (0.0, 0.0))
    made = Pinger(policy, VOICE, lambda _: None, couriers, timeout_seconds)
    try:
        yield made
    finally:
        made.close()


def test_a_good_run_pings_its_start_and_its_success() -> None:
    with Receiver() as receiver, pinger(f"http://{receiver.address}/uuid") as made:
        made.job_started("nightly", START)
        made.job_ended(run("good", SAVED), recovered=False)

        got = [receiver.next(), receiver.next()]

    assert [Received("GET", "/uuid/start", ""), Received("GET", "/uuid", "")] == got


@pytest.mark.parametrize("state", ["failed", "interrupted"])
def test_a_bad_run_pings_its_failure_with_the_reason(state: str) -> None:
    record = run("failed" if state == "failed" else "interrupted", FAILED)
    with Receiver() as receiver, pinger(f"http://{receiver.address}/uuid") as made:
        made.job_ended(record, recovered=False)

        got = receiver.next()

    assert Received("POST", "/uuid/fail", VOICE.failed(record, None).body) == got


def test_a_skipped_run_pings_nothing() -> None:
    with Receiver() as receiver, pinger(f"http://{receiver.address}/uuid") as made:
        made.job_ended(run("skipped"), recovered=False)

    assert receiver.requests.empty()


def test_a_run_that_backed_up_nothing_pings_its_failure() -> None:
    record = run("good", note=NOTHING_SELECTED)
    with Receiver() as receiver, pinger(f"http://{receiver.address}/uuid") as made:
        made.job_ended(record, recovered=False)

        got = receiver.next()

    assert ("POST", "/uuid/fail") == (got.method, got.path)
    assert NOTHING_SELECTED in got.body.splitlines()


def test_a_run_that_found_its_sources_busy_ends_its_start_as_a_failure() -> None:
    record = run("skipped", FAILED, note=BUSY)
    with Receiver() as receiver, pinger(f"http://{receiver.address}/uuid") as made:
        made.job_started("nightly", START)
        made.job_ended(record, recovered=False)

        got = [receiver.next().path, receiver.next().path]

    assert ["/uuid/start", "/uuid/fail"] == got


def test_a_prune_without_anything_to_do_pings_its_success() -> None:
    with Receiver() as receiver, pinger(f"http://{receiver.address}/uuid") as made:
        made.job_ended(run("good", job=PRUNE), recovered=False)

        assert "/uuid" == receiver.next().path


def test_an_address_that_hangs_delays_no_other() -> None:
    with Receiver() as good, Receiver(HANG) as bad:
        own = f"http://{bad.address}/own"
        with pinger(f"http://{good.address}/all", timeout_seconds=600, own=own) as made:
            made.last_call = timedelta(0)
            for job in ("nightly", "other"):
                made.job_started(job, START)

            assert ("/all/start", []) == (good.next().path, bad.hung)


def test_a_job_with_a_ping_of_its_own_uses_that() -> None:
    with Receiver() as receiver:
        base = f"http://{receiver.address}"
        with pinger(f"{base}/all", own=f"{base}/own") as made:
            for job in ("nightly", "other", PRUNE):
                made.job_ended(run("good", SAVED, job=job), recovered=False)

            paths = [receiver.next().path for _ in range(3)]

    assert ["/all", "/all", "/own"] == sorted(paths)


def test_what_has_no_address_is_not_asked_for() -> None:
    with Receiver() as receiver:
        with pinger({"fail": f"http://{receiver.address}/no"}) as made:
            made.job_started("nightly", START)
            made.job_ended(run("good", SAVED), recovered=False)
            made.job_ended(run("failed"), recovered=False)

        assert "/no" == receiver.next().path

    assert receiver.requests.empty()


def test_a_trouble_pings_the_failure_of_the_policys_address() -> None:
    with Receiver() as receiver, pinger(f"http://{receiver.address}/uuid") as made:
        made.trouble("store", "the login failed")

        got = receiver.next()

    assert ("/uuid/fail", True) == (got.path, "the login failed" in got.body)


def test_a_ping_is_tried_three_times(caplog: pytest.LogCaptureFixture) -> None:
    with Receiver(500, 500, 200) as receiver, pinger(f"http://{receiver.address}/uuid") as made:
        made.job_ended(run("good", SAVED), recovered=False)
        for _ in range(3):
            receiver.next()

    assert [] == caplog.messages


def test_what_cannot_be_pinged_is_logged_without_its_address(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    with Receiver(404) as receiver, Receiver(HANG) as silent:
        here = f"http://{receiver.address}/{CANARY}"
        with pinger(here, own=f"http://127.0.0.1:1/{CANARY}") as made:
            made.job_started("nightly", START)
            made.job_ended(run("failed", FAILED, job="other"), recovered=False)
            made.trouble("policy", "line 3 is wrong")
        with pinger(f"http://{silent.address}/{CANARY}", timeout_seconds=0.1) as made:
            made.job_started("other", START)
        with pinger(f"https://{receiver.address}/{CANARY}") as made:
            made.job_started("other", START)
        with pinger(f"http://{'x' * 70}.example/{CANARY}") as made:
            made.job_started("other", START)

    # Addresses wait for no other.
    told = [*sorted(caplog.messages[:3]), *caplog.messages[3:]]
    assert [
        "cannot ping 'fail' about the policy: the server answered 404",
        "cannot ping 'fail' of job other: the server answered 404",
        "cannot ping 'start' of job nightly: the server cannot be reached",
        "cannot ping 'start' of job other: the server did not answer in time",
        "cannot ping 'start' of job other: "
        "the server's certificate cannot be trusted, or it speaks no TLS",
    ] == told[:5]
    assert 6 == len(caplog.messages)
    assert CANARY not in caplog.text + "".join(capfd.readouterr())


def test_a_server_that_hangs_delays_nobody() -> None:
    with (
        Receiver(HANG) as receiver,
        pinger(f"http://{receiver.address}/uuid", timeout_seconds=600) as made,
    ):
        made.last_call = timedelta(0)
        made.job_started("nightly", START)
        receiver.next()
        made.job_ended(run("failed", FAILED), recovered=False)
        made.trouble("policy", "line 3 is wrong")
        made.close()

        # The first ping is held still, yet all of the above came back.
        assert [] == receiver.hung
