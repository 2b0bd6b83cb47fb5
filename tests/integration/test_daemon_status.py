"""`backupd status` and `backupd history` of a fleet: each host as its own daemon told of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.aftermath import wait_until
from tests.integration.command import Command
from tests.integration.conftest import WritePolicy, leaving_no_trace, store_section
from tests.integration.daemon_process import YEARLY, promised_long_ago, running
from tests.integration.objects import Objects
from tests.integration.trees import make_image, succeeded
from tests.servers.dockerd import Engine
from tests.servers.seaweedfs import READ_ONLY, SeaweedFS

IMAGE = "backupd-test-fleet:1"
JOBS = {
    "ant": {"nightly": {"schedule": YEARLY, "images": [IMAGE]}},
    "bee": {
        "nightly": {"schedule": YEARLY, "images": ["backupd-test-missing:1"]},
        "weekly": {"schedule": YEARLY, "images": [IMAGE]},
    },
}


@dataclass(frozen=True)
class Fleet:
    """A bucket into which two hosts tell, and how somebody without a policy asks for it."""

    hosts: dict[str, Command]
    reader: Command
    """Has keys that may list and read."""
    options: tuple[str, ...]


@pytest.fixture(scope="module")
def fleet(
    engine: Engine, s3: SeaweedFS, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    store = store_section(s3)
    hosts: dict[str, Command] = {}
    with leaving_no_trace(engine) as api:
        make_image(api, IMAGE)
        for host, jobs in JOBS.items():
            hosts[host] = tell(Command(tmp_path_factory.mktemp(host)), host, jobs, engine, store)
        prove(hosts["ant"], "ant")
        keys = {
            "AWS_ACCESS_KEY_ID": READ_ONLY.access_key,
            "AWS_SECRET_ACCESS_KEY": READ_ONLY.secret_key,
        }
        reader = Command(tmp_path_factory.mktemp("reader"), keys)
        # A host that was only ever backed up by hand.
        Objects(s3, store).write("docker/cat/host.json", b"{}")
        yield Fleet(hosts, reader, ("--store", store["url"], "--endpoint", store["endpoint"]))


def tell(
    backupd: Command, host: str, jobs: dict[str, Any], engine: Engine, store: dict[str, Any]
) -> Command:
    """Let a daemon of this host run its jobs once, tell of it, and end."""
    state = str(backupd.state_dir)
    sections = {"host": host, "state_dir": state, "docker": {"host": engine.host}, "store": store}
    backupd.write({**sections, "jobs": jobs})
    promised_long_ago(backupd, *jobs)
    with running(backupd) as daemon:
        daemon.wait_for(" ended: ", times=len(jobs))
        daemon.stop()
    return backupd


def prove(backupd: Command, host: str) -> None:
    """Let the host verify its backups, and its daemon tell of that."""
    succeeded(backupd("verify", "--data"))
    with running(backupd) as daemon:
        wait_until(lambda: bool(backupd("status", "--host", host, "--json").json[0]["proofs"]))
        daemon.stop()


def test_a_fleet_is_seen_with_keys_that_may_only_read_the_stale_hosts_first(fleet: Fleet) -> None:
    result = fleet.reader("status", "--host", "*", "--json", *fleet.options)

    assert 1 == result.code, result.stderr
    assert [("bee", False), ("cat", False), ("ant", True)] == [
        (row["host"], row["fresh"]) for row in result.json
    ]
    assert [("nightly", "late", "failed"), ("weekly", "fresh", "good")] == [
        (job["job"], job["freshness"], job["last_state"]) for job in result.json[0]["jobs"]
    ]
    assert "no daemon has ever told of it" == result.json[1]["problem"]
    assert [[], [], [(IMAGE, "verified")]] == [
        [(proof["name"], proof["how"]) for proof in row["proofs"]] for row in result.json
    ]


def test_a_fleet_is_shown_to_people_host_by_host(fleet: Fleet) -> None:
    result = fleet.reader("status", "--host", "*", *fleet.options)
    jobs, proofs = (
        [line.split()[0] for line in table.splitlines()] for table in result.stdout.split("\n\n")
    )

    assert (1, ["HOST", "bee", "bee", "cat", "ant"]) == (result.code, jobs)
    assert ["HOST", "ant"] == proofs


def test_one_host_is_a_health_check_of_its_own(fleet: Fleet) -> None:
    codes = [fleet.reader("status", "--host", host, *fleet.options).code for host in JOBS]

    assert [0, 1] == codes


def test_the_status_of_this_host_is_good_when_all_is_fresh(fleet: Fleet) -> None:
    result = fleet.hosts["ant"]("status")

    assert 0 == result.code
    assert "no daemon runs" in result.stderr


def test_the_history_tells_of_one_job_or_of_all(fleet: Fleet) -> None:
    backupd = fleet.hosts["bee"]
    one, every = (backupd("history", *names, "--json").json for names in (["nightly"], []))
    unknown = backupd("history", "nobody")
    people = succeeded(backupd("history", "nightly"))

    assert [("nightly", "failed")] == [(run["job"], run["state"]) for run in one]
    assert {"nightly", "weekly"} == {run["job"] for run in every}
    assert 5 == unknown.code
    assert "image backupd-test-missing:1: not on this engine" in people.stdout


def test_a_wrong_policy_of_which_nothing_is_known_is_no_good_health(
    policy: WritePolicy, backupd: Command, tmp_path: Path
) -> None:
    policy({"nightly": {"images": [IMAGE]}}, store={"url": f"file://{tmp_path}/store"})
    backupd.state_dir.mkdir()
    backupd.write(backupd.config.read_text().replace("images", "imges"))
    result = backupd("status", "--json")

    assert (1, False) == (result.code, result.json["fresh"])
    assert "jobs.nightly.imges" in result.json["policy_error"]


def test_a_run_by_hand_counts_for_the_freshness_of_its_job(
    fleet: Fleet, engine: Engine, tmp_path: Path
) -> None:
    backupd = Command(tmp_path)
    store = {"url": f"file://{tmp_path}/store"}
    sections = {"host": "dog", "state_dir": str(backupd.state_dir), "store": store}
    backupd.write({**sections, "docker": {"host": engine.host}, "jobs": JOBS["ant"]})
    promised_long_ago(backupd, "nightly")
    before = backupd("status").code
    succeeded(backupd("backup"))
    with running(backupd) as daemon:
        daemon.wait_until_ready()
        wait_until(lambda: "daemon: process" in backupd("status").stdout)
        after = backupd("status").code
        daemon.stop()

    assert (1, 0, False) == (before, after, "missed its run" in daemon.log)
