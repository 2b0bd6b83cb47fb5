"""Several sources at a time: each backup whole, each line whole, all of it undone in time."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.integration.aftermath import (
    journal,
    kept,
    names_listed,
    refuse_secrets,
    status,
    the_sentence,
)
from tests.integration.command import Command
from tests.integration.conftest import WritePolicy
from tests.integration.trees import exported, make_image, start_container, succeeded
from tests.servers.dockerd import Engine
from tests.servers.faulty_engine import EXPORT, SAVE, Fault, FaultyEngine, Then

NAMES = [f"backupd-test-parallel-{number}" for number in range(4)]
IMAGES = ["backupd-test-parallel:1", "backupd-test-parallel:2", "backupd-test-parallel-other:1"]
PATIENCE_SECONDS = 120.0


@pytest.fixture
def faulty(engine: Engine) -> Iterator[FaultyEngine]:
    with FaultyEngine(engine.host) as proxy:
        yield proxy


@pytest.fixture
def containers(api: docker.APIClient) -> list[str]:
    for name in NAMES:
        start_container(api, name)
    return NAMES


class Policies:
    """Writes the policy for a directory store behind the faulty engine."""

    def __init__(self, policy: WritePolicy, store: Path, host: str) -> None:
        self._policy = policy
        self.store = store
        self._host = host

    def __call__(self, parallel: int, **job: object) -> None:
        store, engine = {"url": f"file://{self.store}"}, {"host": self._host}
        self._policy({"nightly": job}, store=store, docker=engine, parallel=parallel)


@pytest.fixture
def written(tmp_path: Path, policy: WritePolicy, faulty: FaultyEngine) -> Policies:
    return Policies(policy, tmp_path / "store", faulty.host)


class Meeting:
    """Counts who is in the middle of an answer at the same time, and lets them wait for others."""

    def __init__(self, parties: int) -> None:
        self.most = 0
        self._here = 0
        self._parties = parties
        self._changed = threading.Condition()

    def attend(self) -> None:
        """Come, and stay until as many as expected were here together once."""
        with self._changed:
            self._here += 1
            self.most = max(self.most, self._here)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.most >= self._parties, PATIENCE_SECONDS)
            self._here -= 1


def selectors(names: Sequence[str], **more: object) -> list[dict[str, object]]:
    return [{"name": name, **more} for name in names]


@pytest.mark.parametrize("parallel", [1, 2, 4])
def test_so_many_containers_are_read_at_a_time_and_each_backup_is_whole(
    parallel: int,
    containers: list[str],
    api: docker.APIClient,
    faulty: FaultyEngine,
    backupd: Command,
    written: Policies,
) -> None:
    written(parallel, containers=selectors(containers, pause=True))
    meeting = Meeting(parallel)
    faulty.add(Fault(EXPORT, at_byte=50_000, act=meeting.attend, times=4))
    result = succeeded(backupd("backup"))
    for name in containers:
        succeeded(backupd("restore", "container", name, "--output", f"{name}.tar"))

    assert parallel == meeting.most
    assert [exported(api, name) for name in containers] == [
        (backupd.directory / f"{name}.tar").read_bytes() for name in containers
    ]
    assert ["running"] * 4 == [status(api, name) for name in containers]
    lines = result.stdout.splitlines()
    assert 4 == len(lines)
    assert all(re.fullmatch(r"saved +container +\S+  [0-9a-f]{12}  .* s", line) for line in lines)


def test_images_are_saved_one_after_another_and_no_content_twice(
    api: docker.APIClient, faulty: FaultyEngine, backupd: Command, written: Policies
) -> None:
    make_image(api, *IMAGES[:2])
    make_image(api, IMAGES[2], text="other")
    written(8, images=IMAGES)
    meeting = Meeting(1)
    faulty.add(Fault(SAVE, at_byte=5_000, act=meeting.attend, times=3))
    rows = succeeded(backupd("backup", "--json")).json

    assert ["saved", "unchanged", "saved"] == [row["state"] for row in rows]
    assert IMAGES == [row["name"] for row in rows]
    assert 1 == meeting.most


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_all_that_is_under_way_is_undone_when_the_backup_is_told_to_stop(
    number: signal.Signals,
    containers: list[str],
    api: docker.APIClient,
    faulty: FaultyEngine,
    backupd: Command,
    written: Policies,
) -> None:
    written(2, containers=selectors(containers, pause=True))
    both = threading.Barrier(3)
    faulty.add(Fault(EXPORT, Then.STALL, at_byte=50_000, act=both.wait, times=2))
    with backupd.start("backup") as backup:
        both.wait(PATIENCE_SECONDS)
        paused = [status(api, name) for name in containers].count("paused")
        backup.send_signal(number)
        output, errors = backup.communicate(timeout=120)

    assert 2 == paused
    assert (130, b"") == (backup.returncode, output)
    assert ["backupd: stopped before the end"] == errors.decode().split("\n")[-2:-1]
    assert ["running"] * 4 == [status(api, name) for name in containers]
    assert ([], []) == (journal(backupd), kept(written.store))


@pytest.mark.parametrize("way", ["pause", "stop"])
def test_a_job_that_takes_too_long_is_ended_and_undone(
    way: str,
    containers: list[str],
    api: docker.APIClient,
    faulty: FaultyEngine,
    backupd: Command,
    written: Policies,
) -> None:
    first, second = containers[:2]
    chosen: list[dict[str, Any]] = selectors([first, second], **{way: True})
    # Enough to find the containers on a busy machine, which counts too.
    written(1, containers=chosen, timeout="10s")
    faulty.add(Fault(EXPORT, Then.STALL, at_byte=50_000))
    result = backupd("backup")

    assert 1 == result.code
    assert [
        f"backupd: container {name}: timed out after 10s; raise jobs.nightly.timeout"
        for name in (first, second)
    ] == sorted(result.stderr.splitlines())
    refuse_secrets(result)
    assert ["running"] * 2 == [status(api, name) for name in (first, second)]
    assert ([], []) == (journal(backupd), kept(written.store))


def test_a_source_of_two_jobs_is_read_for_both(
    containers: list[str], backupd: Command, policy: WritePolicy, engine: Engine, tmp_path: Path
) -> None:
    name = containers[0]
    jobs = {job: {"containers": [name]} for job in ("nightly", "weekly")}
    store = {"url": f"file://{tmp_path}/store"}
    policy(jobs, store=store, docker={"host": engine.host}, parallel=4)
    result = backupd("backup", name)

    assert (0, "") == (result.code, result.stderr)
    assert [name, name] == names_listed(backupd)


def test_a_container_that_fails_leaves_those_beside_it_alone(
    containers: list[str], faulty: FaultyEngine, backupd: Command, written: Policies
) -> None:
    written(4, containers=selectors(containers))
    faulty.add(Fault(EXPORT, Then.BREAK, at_byte=50_000, times=1))
    result = backupd("backup")

    assert 1 == result.code
    assert re.search(r"container \S+: cannot export container", the_sentence(result))
    assert 3 == len(names_listed(backupd))


def test_a_bucket_takes_several_archives_at_a_time(
    containers: list[str],
    api: docker.APIClient,
    backupd: Command,
    policy: WritePolicy,
) -> None:
    policy({"nightly": {"containers": selectors(containers)}}, parallel=4)
    succeeded(backupd("backup"))
    for name in containers:
        succeeded(backupd("restore", "container", name, "--output", f"{name}.tar"))

    assert [exported(api, name) for name in containers] == [
        (backupd.directory / f"{name}.tar").read_bytes() for name in containers
    ]
