"""What the daemon runs by itself: at its minute, what it missed, and what it must not run."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest

from tests.integration.aftermath import CANARY, names_listed, wait_until
from tests.integration.command import Command
from tests.integration.conftest import WritePolicy, leaving_no_trace, store_section
from tests.integration.daemon_process import (
    YEARLY,
    Hold,
    daemon_json,
    promised_long_ago,
    running,
    states,
)
from tests.integration.objects import Objects
from tests.integration.trees import make_image, start_container, succeeded
from tests.servers.dockerd import Engine
from tests.servers.faulty_engine import EXPORT, Fault, FaultyEngine, Then
from tests.servers.receiver import Receiver
from tests.servers.seaweedfs import FULL, SeaweedFS

IMAGE, CONTAINER = "backupd-test-daemon:1", "backupd-test-daemon"
EVERY_MINUTE = "* * * * *"
GOOD = {"schedule": YEARLY, "images": [IMAGE]}


@pytest.fixture(scope="module", autouse=True)
def sources(engine: Engine) -> Iterator[None]:
    with leaving_no_trace(engine) as client:
        make_image(client, IMAGE)
        start_container(client, CONTAINER)
        yield


@pytest.fixture(scope="module")
def past(
    engine: Engine, s3: SeaweedFS, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Command]:
    """A daemon found five jobs' runs missed, did what was to be done, and was told to stop."""
    backupd = Command(tmp_path_factory.mktemp("daemon"))
    jobs = {
        "good": GOOD,
        "wanting": {"schedule": YEARLY, "images": ["backupd-test-missing:1"]},
        "punctual": {**GOOD, "catch_up": False},
        "slow": {"schedule": YEARLY, "containers": [CONTAINER], "timeout": "1s"},
        "by-hand": {"images": [IMAGE]},
    }
    with ExitStack() as stack:
        faulty = stack.enter_context(FaultyEngine(engine.host))
        faulty.add(Fault(EXPORT, Then.STALL, at_byte=100_000))
        receiver = stack.enter_context(Receiver())
        store = store_section(s3)
        backupd.write(
            {
                "host": "testhost",
                "state_dir": str(backupd.state_dir),
                "docker": {"host": faulty.host},
                "store": store,
                "notify": {"urls": [f"json://user:{CANARY}@{receiver.address}/{CANARY}"]},
                "jobs": jobs,
            }
        )
        promised_long_ago(backupd, "good", "wanting", "punctual", "slow")
        daemon = stack.enter_context(running(backupd))
        daemon.wait_for(" ended: ", times=3)
        told = {receiver.next().json["title"] for _ in range(3)}
        assert 0 == daemon.stop()
        (backupd.directory / "told").write_text("\n".join(sorted(told)))
        (backupd.directory / "status.json").write_bytes(
            Objects(s3, store).read("docker/testhost/status.json")
        )
        yield backupd


def test_a_missed_run_is_caught_up_as_a_backup_that_can_be_restored(past: Command) -> None:
    restored = succeeded(past("restore", "image", IMAGE, "--output", "back.tar"))

    assert [IMAGE] == names_listed(past)
    assert (["good"], 0) == (states(past, "good"), restored.code)
    assert "job good missed its run at " in (past.directory / "daemon-1.log").read_text()


def test_a_missed_run_of_a_job_that_does_not_catch_up_is_recorded_as_skipped(
    past: Command,
) -> None:
    (run,) = past("history", "punctual", "--json").json

    assert ("skipped", "nothing ran it in time, and catch_up is false") == (
        run["state"],
        run["note"],
    )


def test_a_run_that_outlasts_its_timeout_is_recorded_as_failed(past: Command) -> None:
    (run,) = past("history", "slow", "--json").json

    # On a busy machine the second may be over before the container is even found.
    said = [run["note"], *(source["error"] for source in run["sources"])]
    assert "failed" == run["state"]
    assert "timed out after 1s; raise jobs.slow.timeout" in " ".join(said)


def test_failures_and_skipped_runs_reach_people(past: Command) -> None:
    assert [
        "backupd: job punctual was skipped on testhost",
        "backupd: job slow failed on testhost",
        "backupd: job wanting failed on testhost",
    ] == (past.directory / "told").read_text().splitlines()


def test_the_status_is_a_health_check(past: Command) -> None:
    result = past("status", "--json")
    told = result.json
    found = {row["job"]: row["freshness"] for row in told["jobs"]}

    assert (1, False, None) == (result.code, told["fresh"], told["daemon"])
    assert {
        "good": "fresh",
        "wanting": "late",
        "punctual": "late",
        "slow": "late",
        "by-hand": None,
    } == found


def test_a_secret_of_the_policy_stays_in_it(past: Command) -> None:
    tables = sqlite3.connect(past.state_dir / "history.sqlite")
    told = "\n".join(tables.iterdump())
    tables.close()
    for name in ("daemon-1.log", "status.json", "state/daemon.json"):
        told += (past.directory / name).read_text()

    assert "backupd-test-missing:1" in told
    assert [] == [each for each in (CANARY, FULL.secret_key, FULL.access_key) if each in told]


def test_the_next_start_runs_and_skips_nothing_again(past: Command) -> None:
    with running(past) as daemon:
        daemon.wait_until_ready()
        code = daemon.stop()

    assert 0 == code
    assert ("missed" in daemon.log, "skipped" in daemon.log) == (False, False)
    assert (["good"], ["failed"], ["skipped"]) == tuple(
        states(past, job) for job in ("good", "slow", "punctual")
    )


NOT_ENDED = "its last run has not ended"


def is_skipped(backupd: Command, job: str) -> bool:
    """Whether the job was due while its run was at work."""
    return any(run["note"] == NOT_ENDED for run in backupd("history", job, "--json").json)


@dataclass(frozen=True)
class Tick:
    """A minute that passed by the clock of this machine."""

    backupd: Command
    due: str
    """When `backupd next` said that it would."""
    before: int
    """The exit code of `backupd status` before, and after."""
    after: int


@pytest.fixture(scope="module")
def tick(engine: Engine, s3: SeaweedFS, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tick]:
    """One job that has its minute, and one whose last run is held over that minute."""
    backupd = Command(tmp_path_factory.mktemp("tick"))
    with FaultyEngine(engine.host) as faulty:
        backupd.write(
            {
                "host": "testhost",
                "state_dir": str(backupd.state_dir),
                "docker": {"host": faulty.host},
                "store": store_section(s3),
                "jobs": {
                    "each": {"schedule": EVERY_MINUTE, "images": [IMAGE]},
                    "held": {"schedule": EVERY_MINUTE, "containers": [CONTAINER]},
                },
            }
        )
        promised_long_ago(backupd, "held", expression=EVERY_MINUTE)
        hold = Hold(faulty, EXPORT, at_byte=100_000)
        due = backupd("next", "-n", "1", "--json").json[0]["due_at"]
        before = backupd("status").code
        with running(backupd) as daemon:
            hold.wait()
            daemon.wait_for("job each ended: good", patience_seconds=180)
            wait_until(lambda: is_skipped(backupd, "held"), timeout_seconds=120)
            hold.release()
            daemon.wait_for("job held ended: good")
            after = backupd("status").code
            daemon.stop()
        yield Tick(backupd, due.removesuffix("Z"), before, after)


def test_a_job_runs_at_its_minute(tick: Tick) -> None:
    run = tick.backupd("history", "each", "--json").json[-1]

    assert {IMAGE, CONTAINER} == set(names_listed(tick.backupd))
    assert ("good", True) == (run["state"], tick.due <= run["started_at"])


def test_a_job_that_is_due_while_it_runs_is_recorded_as_skipped(tick: Tick) -> None:
    runs = tick.backupd("history", "held", "--json").json

    # Where starting took more than a minute, it was due before it had begun as well.
    assert {("skipped", NOT_ENDED), ("good", "")} <= {(run["state"], run["note"]) for run in runs}


def test_the_status_is_good_only_once_every_job_has_run(tick: Tick) -> None:
    assert (1, 0) == (tick.before, tick.after)


def test_a_daemon_that_has_nothing_to_do_ends_in_order(
    policy: WritePolicy, backupd: Command, tmp_path: Path, api: docker.APIClient
) -> None:
    policy({"good": GOOD}, store={"url": f"file://{tmp_path}/store"})
    with running(backupd) as daemon:
        daemon.wait_until_ready()
        wait_until(lambda: daemon_json(backupd).get("pid") == daemon.pid)
        daemon.send(signal.SIGTERM)
        daemon.send(signal.SIGTERM)
        code = daemon.code()

    assert 0 == code
    assert daemon.log.endswith("stopped\n")
