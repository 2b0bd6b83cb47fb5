"""SIGTERM in the middle of a run: time to end well, then a cancel that leaves nothing behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import docker
import pytest

from backupd.cli.daemon import source_of
from backupd.cli.session import Session
from backupd.daemon.loop import Daemon, Ended
from backupd.daemon.sd_notify import ServiceManager
from tests.integration.aftermath import journal, kept_in, names_listed, status, wait_until
from tests.integration.command import Command
from tests.integration.conftest import WritePolicy, leaving_no_trace
from tests.integration.daemon_process import (
    YEARLY,
    Hold,
    promised_long_ago,
    running,
    states,
)
from tests.servers.dockerd import Engine
from tests.servers.faulty_engine import EXPORT, FaultyEngine
from tests.servers.rootfs import build_image
from tests.servers.seaweedfs import SeaweedFS

IMAGE, CONTAINER = "backupd-test-ending:1", "backupd-test-ending"
MIB = 1 << 20
LAYER_BYTES = 14 * MIB
"""More than two parts of the smallest size."""

Begun = Callable[[str], Hold]


@pytest.fixture(scope="module", autouse=True)
def image(engine: Engine) -> Iterator[None]:
    with leaving_no_trace(engine) as client:
        build_image(client, IMAGE, layers=[{"data/random": os.urandom(LAYER_BYTES)}])
        yield


@pytest.fixture
def begun(
    api: docker.APIClient,
    engine: Engine,
    policy: WritePolicy,
    backupd: Command,
    bucket: dict[str, Any],
) -> Iterator[Begun]:
    """Prepares a run whose container is paused, and which is held in the middle of its upload."""
    api.create_container(IMAGE, ["sleep", "1000"], name=CONTAINER)
    api.start(CONTAINER)
    with FaultyEngine(engine.host) as faulty:

        def begin(stop_grace: str) -> Hold:
            job = {"schedule": YEARLY, "containers": [{"name": CONTAINER, "pause": True}]}
            policy(
                {"held": job},
                store={**bucket, "part_size": "5MiB"},
                docker={"host": faulty.host},
                compression="none",
                stop_grace=stop_grace,
            )
            promised_long_ago(backupd, "held")
            return Hold(faulty, EXPORT, at_byte=12 * MIB)

        yield begin


@pytest.fixture
def is_uploading(s3: SeaweedFS, bucket: dict[str, Any]) -> Callable[[], bool]:
    """Whether an upload is unfinished in the bucket."""
    return lambda: any("unfinished" in key for key in kept_in(s3, bucket))


@pytest.fixture
def left(s3: SeaweedFS, bucket: dict[str, Any]) -> Callable[[], list[str]]:
    """What is in the bucket, but for what the daemon tells of itself."""
    return lambda: [key for key in kept_in(s3, bucket) if not key.endswith("/status.json")]


@pytest.mark.parametrize(("stop_grace", "signals"), [("1s", 1), ("1h", 2)])
def test_a_run_is_cancelled_after_its_grace_or_at_the_second_signal(
    stop_grace: str,
    signals: int,
    begun: Begun,
    api: docker.APIClient,
    backupd: Command,
    is_uploading: Callable[[], bool],
    left: Callable[[], list[str]],
) -> None:
    hold = begun(stop_grace)
    with running(backupd) as daemon:
        hold.wait()
        wait_until(is_uploading)
        paused = status(api, CONTAINER)
        for number in range(signals):
            daemon.send(signal.SIGTERM)
            daemon.wait_for("cancelling held" if number else "stopping: held may go on for")
        code = daemon.code()
    hold.release()

    assert ("paused", 0) == (paused, code)
    assert ("running", [], []) == (status(api, CONTAINER), left(), journal(backupd))
    assert ["interrupted"] == states(backupd, "held")


@pytest.fixture
def signals_as_before() -> Iterator[None]:
    """The handlers of this process, which a daemon in it would keep for ever."""
    numbers = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
    before = [(number, signal.getsignal(number)) for number in numbers]
    yield
    for number, handler in before:
        signal.signal(number, handler)


def test_a_fault_in_the_loop_ends_the_daemon_and_leaves_no_container_paused(
    begun: Begun,
    api: docker.APIClient,
    backupd: Command,
    caplog: pytest.LogCaptureFixture,
    signals_as_before: None,
) -> None:
    hold = begun("1h")

    class Broken(ServiceManager):
        """A manager whose watchdog bites once the run is under way."""

        def alive(self) -> None:
            if hold.is_reached:
                raise RuntimeError("a fault of the loop")

    source, state = source_of(Session(config=backupd.config))
    ended = Daemon(source, state, lambda *_: [], Broken()).run()
    hold.release()

    assert Ended.BROKEN is ended
    assert ("running", []) == (status(api, CONTAINER), journal(backupd))
    assert ["interrupted"] == states(backupd, "held")
    assert "the daemon ends, by a fault of backupd" in caplog.text


def test_a_run_that_ends_within_its_grace_is_a_good_one(
    begun: Begun, api: docker.APIClient, backupd: Command
) -> None:
    hold = begun("1h")
    with running(backupd) as daemon:
        hold.wait()
        daemon.send(signal.SIGTERM)
        daemon.wait_for("stopping: held may go on for")
        hold.release()
        code = daemon.code()

    assert (0, ["good"], [CONTAINER]) == (code, states(backupd, "held"), names_listed(backupd))
    assert "running" == status(api, CONTAINER)
