"""Volumes are read while their containers stand still, and no helper outlives what made it."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.integration.aftermath import journal, kept, status, the_sentence, wait_until
from tests.integration.command import Command
from tests.integration.conftest import WritePolicy
from tests.integration.holding import held
from tests.integration.trees import run_inside, succeeded
from tests.integration.volumes import helpers, make_volume, start_with, text_in
from tests.servers.dockerd import Engine
from tests.servers.faulty_engine import ARCHIVE, Fault, FaultyEngine, Then
from tests.servers.rootfs import file

WEB, DB, DATA, CACHE = (f"backupd-test-{name}" for name in ("web", "db", "data", "cache"))
SERVICE = "echo up >>/1/log; trap 'echo down >>/1/log; exit 0' TERM; while :; do sleep 0.1; done"


@pytest.fixture
def faulty(engine: Engine) -> Iterator[FaultyEngine]:
    with FaultyEngine(engine.host) as proxy:
        yield proxy


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def write(
    policy: WritePolicy, store: Path, faulty: FaultyEngine, containers: Any, **job: Any
) -> None:
    job = {"containers": containers, **job}
    policy({"nightly": job}, store={"url": f"file://{store}"}, docker={"host": faulty.host})


def up(api: docker.APIClient, name: str, *volumes: str) -> None:
    """A service that writes into its first volume that it started and that it stopped."""
    start_with(api, name, SERVICE, volumes)
    said = "test -e /1/log && cat /1/log || echo"
    wait_until(lambda: "up" in run_inside(api, name, said))


def manifests(store: Path) -> dict[str, dict[str, Any]]:
    found = (json.loads(path.read_bytes()) for path in store.glob("*/backups/**/*.json"))
    return {manifest["name"]: manifest for manifest in found}


def log_in_backup(backupd: Command, volume: str) -> str:
    tar = succeeded(backupd("restore", "volume", volume, "--output", "-")).output
    return text_in(tar, "./log")


def test_a_container_is_down_until_all_its_volumes_are_read_and_they_share_one_moment(
    api: docker.APIClient,
    policy: WritePolicy,
    faulty: FaultyEngine,
    backupd: Command,
    store: Path,
) -> None:
    up(api, WEB, DATA, CACHE)
    write(policy, store, faulty, [{"name": WEB, "stop": True, "with_volumes": True}])
    faulty.add(*(Fault(ARCHIVE, act=lambda: seen.append(status(api, WEB))) for _ in range(2)))
    seen: list[str] = []
    succeeded(backupd("backup"))
    made = manifests(store)

    assert ["exited", "exited"] == seen
    assert "up\ndown\n" == log_in_backup(backupd, DATA)
    assert {WEB, DATA, CACHE} == set(made)
    assert (1, 12) == (len({m["moment"] for m in made.values()}), len(made[WEB]["moment"]))
    assert ([WEB], "mount") == (made[DATA]["volume"]["mounted_by"], made[DATA]["selected_by"])
    assert ("running", [], []) == (status(api, WEB), journal(backupd), helpers(api))


def test_containers_that_share_a_volume_are_down_together_and_naming_it_brings_both(
    api: docker.APIClient,
    policy: WritePolicy,
    faulty: FaultyEngine,
    backupd: Command,
    store: Path,
) -> None:
    make_volume(api, DATA)
    up(api, DB, DATA)
    up(api, WEB, DATA)
    containers = [{"name": WEB, "pause": True}, {"name": DB, "stop": True}]
    write(policy, store, faulty, containers, volumes=[DATA])
    seen: list[tuple[str, str]] = []
    faulty.add(Fault(ARCHIVE, act=lambda: seen.append((status(api, WEB), status(api, DB)))))
    rows = succeeded(backupd("backup", DATA, "--json")).json

    assert [("paused", "exited")] == seen
    assert {WEB, DB, DATA} == {row["name"] for row in rows}
    assert ("running", "running") == (status(api, WEB), status(api, DB))


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_aborts_a_containers_backup_aborts_that_of_its_volumes(
    when: str,
    api: docker.APIClient,
    policy: WritePolicy,
    faulty: FaultyEngine,
    backupd: Command,
    store: Path,
) -> None:
    up(api, WEB, DATA)
    hook = {"exec": "exit 3", "on_failure": "abort"}
    write(policy, store, faulty, [{"name": WEB, "with_volumes": True, when: [hook]}])
    result = backupd("backup")

    assert 1 == result.code
    assert (
        f"volume {DATA}: cannot back up volume {DATA!r}: container {WEB!r}, which mounts it, was "
        f"not held still: cannot back up container {WEB!r}: its command {when}[0] ended with exit "
        "code 3"
    ) in result.stderr
    assert {} == manifests(store)


def test_a_volume_whose_tar_ends_early_is_read_again_and_then_the_last_file_is_named(
    api: docker.APIClient,
    policy: WritePolicy,
    faulty: FaultyEngine,
    backupd: Command,
    store: Path,
) -> None:
    make_volume(api, DATA, {"./a": b"a", "./big": file(bytes(1 << 20))})
    write(policy, store, faulty, [], volumes=[DATA])
    faulty.add(Fault(ARCHIVE, then=Then.END, at_byte=100_000))
    succeeded(backupd("backup"))
    faulty.add(Fault(ARCHIVE, then=Then.END, at_byte=100_000, times=2))
    result = backupd("backup")

    assert (1, 1) == (result.code, len(manifests(store)))
    assert f"volume {DATA}: the tar is cut inside the content of './big'" in result.stderr
    assert "both times that it was read; `pause: true`" in result.stderr
    assert [] == helpers(api)


def test_a_killed_backup_leaves_a_helper_which_the_next_one_removes(
    api: docker.APIClient,
    policy: WritePolicy,
    faulty: FaultyEngine,
    backupd: Command,
    store: Path,
) -> None:
    make_volume(api, DATA, {"./file": b"content"})
    write(policy, store, faulty, [], volumes=[DATA])
    with held(backupd, faulty, Fault(ARCHIVE), "backup") as killed:
        killed.end(signal.SIGKILL)
    left = len(helpers(api))
    succeeded(backupd("backup"))

    assert (2, []) == (left, helpers(api))
    assert {DATA} == set(manifests(store))


def test_a_backup_that_is_told_to_stop_takes_its_helper_along(
    api: docker.APIClient,
    policy: WritePolicy,
    faulty: FaultyEngine,
    backupd: Command,
    store: Path,
) -> None:
    make_volume(api, DATA, {"./file": b"content"})
    write(policy, store, faulty, [], volumes=[DATA])
    with held(backupd, faulty, Fault(ARCHIVE, at_byte=0), "backup") as stopped:
        result = stopped.end(signal.SIGINT)

    assert (130, "stopped before the end") == (result.code, the_sentence(result))
    assert ([], []) == (helpers(api), kept(store))


def test_helpers_of_a_process_that_lives_are_left_alone_and_are_nobodys_source(
    api: docker.APIClient,
    policy: WritePolicy,
    faulty: FaultyEngine,
    backupd: Command,
    store: Path,
) -> None:
    make_volume(api, DATA, {"./file": b"content"})
    write(policy, store, faulty, ["backupd-*"], volumes=[DATA], images=[{"in_use": True}])
    with held(backupd, faulty, Fault(ARCHIVE), "backup", DATA) as first:
        there = helpers(api)
        rows = backupd("backup", "--json").json
        still_there = helpers(api)
        ended = first.end()

    assert (2, there) == (len(there), still_there)
    assert [("volume", DATA, "failed")] == [(r["kind"], r["name"], r["state"]) for r in rows]
    assert (0, []) == (ended.code, helpers(api))
