"""SIGHUP: a good policy is swapped whole, a wrong one changes nothing and is told everywhere."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.integration.aftermath import wait_until
from tests.integration.command import Command
from tests.integration.conftest import WritePolicy
from tests.integration.daemon_process import (
    YEARLY,
    Hold,
    daemon_json,
    promised_long_ago,
    running,
    states,
)
from tests.integration.trees import start_container
from tests.servers.dockerd import Engine
from tests.servers.faulty_engine import EXPORT, FaultyEngine
from tests.servers.receiver import Receiver

CONTAINER = "backupd-test-reload"
NOBODY = "unix:///nowhere/docker.sock"

Write = Callable[..., Path]


@pytest.fixture
def faulty(engine: Engine) -> Iterator[FaultyEngine]:
    with FaultyEngine(engine.host) as proxy:
        yield proxy


@pytest.fixture
def write(policy: WritePolicy, faulty: FaultyEngine, tmp_path: Path) -> Write:
    def write(*more_jobs: str, **sections: Any) -> Path:
        job = {"schedule": YEARLY, "containers": [CONTAINER]}
        whole = {"docker": {"host": faulty.host}, **sections}
        store = {"url": f"file://{tmp_path}/store"}
        return policy(dict.fromkeys(("first", *more_jobs), job), **{"store": store, **whole})

    return write


def test_a_running_job_ends_under_the_policy_that_it_began_with(
    api: docker.APIClient, write: Write, faulty: FaultyEngine, backupd: Command, tmp_path: Path
) -> None:
    start_container(api, CONTAINER)
    write()
    promised_long_ago(backupd, "first")
    hold = Hold(faulty, EXPORT, at_byte=100_000)
    with running(backupd) as daemon:
        hold.wait()
        write("second", store={"url": f"file://{tmp_path}/elsewhere"})
        daemon.send(signal.SIGHUP)
        daemon.wait_for("the new policy is in force: 2 scheduled jobs")
        wait_until(lambda: "second" in daemon_json(backupd)["next_runs"])
        still = backupd("status", "--json").json["daemon"]["running"]
        hold.release()
        daemon.wait_for("job first ended: good")
        code = daemon.stop()
    coming = {run["job"] for run in backupd("next", "--json").json}

    assert (0, ["first"], {"first", "second"}) == (code, [run["job"] for run in still], coming)
    assert 1 == len(list(tmp_path.glob("store/**/backups/**/*.json")))
    assert [] == list(tmp_path.glob("elsewhere/**/backups/**/*.json"))


def test_a_wrong_policy_leaves_the_old_one_in_force_until_it_is_corrected(
    write: Write, backupd: Command
) -> None:
    with Receiver() as receiver, ExitStack() as stack:
        write(notify={"urls": [f"json://{receiver.address}/"]})
        daemon = stack.enter_context(running(backupd))
        daemon.wait_until_ready()
        good = backupd.config.read_text()
        wrong = good.replace(f"schedule: '{YEARLY}'", "schedule: 99 3 * * *")
        backupd.write(wrong)
        daemon.send(signal.SIGHUP)
        daemon.wait_for("the old policy goes on: ")
        wait_until(lambda: daemon_json(backupd)["policy"]["error"] != "")
        kept = daemon_json(backupd)
        status = backupd("status")
        told = receiver.next().json
        backupd.write(good)
        daemon.send(signal.SIGHUP)
        daemon.wait_for("the new policy is in force")
        wait_until(lambda: daemon_json(backupd)["policy"]["error"] == "")
        cleared = backupd("status")
        code = daemon.stop()

    problem = f"{backupd.config}:{1 + wrong[: wrong.index('99 3')].count(chr(10))}: jobs.first"
    assert (["first"], 0) == (list(kept["next_runs"]), code)
    assert [True] * 4 == [
        problem in text for text in (daemon.log, kept["policy"]["error"], status.stderr, str(told))
    ]
    assert "the daemon kept its old policy" in status.stderr
    assert ("", "backupd: trouble with the policy on testhost") == (cleared.stderr, told["title"])


def test_a_policy_with_another_state_directory_is_not_followed(
    write: Write, backupd: Command, tmp_path: Path
) -> None:
    write()
    with running(backupd) as daemon:
        daemon.wait_until_ready()
        write(state_dir=str(tmp_path / "other"))
        daemon.send(signal.SIGHUP)
        daemon.wait_for("state_dir: has changed, which needs a restart")
        code = daemon.stop()

    assert (0, False) == (code, (tmp_path / "other").exists())


def test_a_corrected_engine_is_not_waited_for_any_longer(
    api: docker.APIClient, write: Write, backupd: Command
) -> None:
    start_container(api, CONTAINER)
    write(docker={"host": NOBODY})
    promised_long_ago(backupd, "first")
    with running(backupd) as daemon:
        daemon.wait_for("waiting for the engine: ")
        write()
        daemon.send(signal.SIGHUP)
        daemon.wait_for("job first ended: good")
        daemon.stop()

    assert ["good"] == states(backupd, "first")
