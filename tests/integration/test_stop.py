"""`stop: true`: a container is down for its export, and runs again whatever happens."""

from __future__ import annotations

import io
import signal
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.integration.aftermath import (
    journal,
    kept,
    manifest_in,
    names_listed,
    refuse_secrets,
    status,
    the_sentence,
    wait_until,
)
from tests.integration.command import Command
from tests.integration.conftest import WritePolicy
from tests.integration.holding import held
from tests.integration.trees import make_image, run_inside, succeeded
from tests.servers.dockerd import Engine
from tests.servers.faulty_engine import EXPORT, START, STOP, Fault, FaultyEngine, Then, refusal
from tests.servers.rootfs import base_image

NAME, OTHER, IMAGE = "backupd-test-stop", "backupd-test-stop-db", "backupd-test-stop:1"
LEFT = f"container {NAME!r} was left stopped by a backup that died; it goes on now"
SERVICE = "echo started >>/log; trap 'echo stopped >>/log; exit 0' TERM; touch /up; {}"
IDLE = "while :; do sleep 0.1; done"
SLOW = "trap 'touch /stopping; sleep 3; exit 0' TERM; touch /up; while :; do sleep 0.1; done"


def start(api: docker.APIClient, name: str, script: str = "", **options: Any) -> str:
    """The id of a service that runs and has set itself up: it writes what happens to it."""
    script = script or SERVICE.format(IDLE)
    image = base_image(api)
    made = str(api.create_container(image, ["sh", "-c", script], name=name, **options)["Id"])
    api.start(made)
    wait_until(lambda: run_inside(api, made, "test -e /up && echo up || echo not") == "up\n")
    return made


@pytest.fixture
def faulty(engine: Engine) -> Iterator[FaultyEngine]:
    with FaultyEngine(engine.host) as proxy:
        yield proxy


@pytest.fixture
def store(tmp_path: Path, policy: WritePolicy, faulty: FaultyEngine) -> Path:
    root = tmp_path / "store"
    policy(
        {"nightly": {"containers": [{"name": NAME, "stop": True}], "images": []}},
        store={"url": f"file://{root}"},
        docker={"host": faulty.host},
    )
    return root


def events(api: docker.APIClient, since: int, *names: str) -> list[tuple[str, str]]:
    """What happened to these containers since then, in order."""
    filters = {"container": list(names), "event": ["stop", "export", "start", "pause", "destroy"]}
    found = api.events(since=since, until=int(time.time()) + 1, decode=True, filters=filters)
    return [(each["Action"], each["Actor"]["Attributes"]["name"]) for each in found]


def now(api: docker.APIClient) -> int:
    """The time from which on events count; what began before lies a second back."""
    time.sleep(1.1)  # the engine takes whole seconds, and its own start is such an event
    return int(time.time())


def test_a_container_is_stopped_for_its_export_and_is_then_the_same_one_and_running(
    api: docker.APIClient, backupd: Command, store: Path
) -> None:
    identity = start(api, NAME)
    since = now(api)
    succeeded(backupd("backup"))
    succeeded(backupd("restore", "container", NAME, "--output", "back.tar"))
    with tarfile.open(backupd.directory / "back.tar") as tar:
        log = tar.extractfile("log")
        assert log is not None
        text = log.read().decode()

    assert "started\nstopped\n" == text
    assert [("stop", NAME), ("export", NAME), ("start", NAME)] == events(api, since, identity)
    assert ("running", []) == (status(api, identity), journal(backupd))


def test_the_manifest_tells_of_the_stop_and_of_the_state_before_it(
    api: docker.APIClient, backupd: Command, store: Path
) -> None:
    start(api, NAME)
    succeeded(backupd("backup"))
    container = manifest_in(store)["container"]

    assert ("running", True, False) == (
        container["state"],
        container["stopped"],
        container["paused"],
    )


def test_a_container_that_a_person_stopped_stays_stopped(
    api: docker.APIClient, backupd: Command, store: Path
) -> None:
    start(api, NAME)
    api.stop(NAME)
    since = now(api)
    succeeded(backupd("backup"))

    assert [("export", NAME)] == events(api, since, NAME)
    assert "exited" == status(api, NAME)


def test_a_container_that_a_person_paused_stays_paused(
    api: docker.APIClient, backupd: Command, store: Path
) -> None:
    start(api, NAME)
    api.pause(NAME)
    succeeded(backupd("backup"))

    assert "paused" == status(api, NAME)


def test_a_container_that_would_vanish_with_its_stop_is_not_stopped(
    api: docker.APIClient, backupd: Command, store: Path
) -> None:
    start(api, NAME, host_config=api.create_host_config(auto_remove=True))
    result = backupd("backup")

    assert 1 == result.code
    assert "it was started with --rm, so the engine would remove it; use 'pause: true'" in (
        the_sentence(result)
    )
    assert ("running", [], []) == (status(api, NAME), journal(backupd), kept(store))


def test_a_container_that_is_always_restarted_is_started_once(
    api: docker.APIClient, backupd: Command, store: Path
) -> None:
    policy = {"Name": "always"}
    identity = start(api, NAME, host_config=api.create_host_config(restart_policy=policy))
    since = now(api)
    succeeded(backupd("backup"))

    assert [("stop", NAME), ("export", NAME), ("start", NAME)] == events(api, since, identity)


def test_a_container_is_started_again_although_its_export_failed(
    api: docker.APIClient, faulty: FaultyEngine, backupd: Command, store: Path
) -> None:
    start(api, NAME)
    faulty.add(Fault(EXPORT, Then.BREAK, at_byte=100_000, times=2))
    result = backupd("backup")

    assert 1 == result.code
    assert ("running", [], []) == (status(api, NAME), journal(backupd), kept(store))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_backup_that_is_told_to_stop_starts_the_container_again(
    number: signal.Signals,
    api: docker.APIClient,
    faulty: FaultyEngine,
    backupd: Command,
    store: Path,
) -> None:
    start(api, NAME)
    with held(backupd, faulty, Fault(EXPORT, at_byte=100_000), "backup") as backup:
        down = status(api, NAME)
        result = backup.end(number)

    assert "exited" == down
    assert (130, "stopped before the end") == (result.code, the_sentence(result))
    assert ("running", [], []) == (status(api, NAME), journal(backupd), kept(store))


def test_a_container_that_a_killed_backup_left_stopped_runs_again_with_the_next_backup(
    api: docker.APIClient, faulty: FaultyEngine, backupd: Command, store: Path
) -> None:
    identity = start(api, NAME)
    make_image(api, IMAGE)
    with_image(backupd)
    with held(backupd, faulty, Fault(EXPORT, at_byte=100_000), "backup", NAME) as backup:
        backup.end(signal.SIGKILL)
    down = status(api, NAME)
    result = backupd("backup", IMAGE)

    assert "exited" == down
    assert (0, LEFT) == (result.code, the_sentence(result))
    assert ("running", []) == (status(api, identity), journal(backupd))


def test_a_container_that_is_still_stopping_when_its_backup_was_killed_runs_again_too(
    api: docker.APIClient, faulty: FaultyEngine, backupd: Command, store: Path
) -> None:
    start(api, NAME, SLOW)
    make_image(api, IMAGE)
    with_image(backupd)
    with backupd.start("backup", NAME) as backup:
        wait_until(lambda: has_file(api, NAME, "/stopping"))
        backup.kill()
    still = status(api, NAME)
    result = backupd("backup", IMAGE)

    assert "running" == still
    assert (0, LEFT) == (result.code, the_sentence(result))
    assert ("running", []) == (status(api, NAME), journal(backupd))


def test_a_container_that_a_person_started_again_after_a_killed_backup_is_left_alone(
    api: docker.APIClient, faulty: FaultyEngine, backupd: Command, store: Path
) -> None:
    start(api, NAME)
    make_image(api, IMAGE)
    with_image(backupd)
    with held(backupd, faulty, Fault(EXPORT, at_byte=100_000), "backup", NAME) as backup:
        backup.end(signal.SIGKILL)
    api.start(NAME)
    since = now(api)
    result = backupd("backup", IMAGE)

    assert (0, "") == (result.code, result.stderr)
    assert ([], []) == (events(api, since, NAME), journal(backupd))


def test_a_stopped_container_is_left_alone_while_its_backup_runs(
    api: docker.APIClient, faulty: FaultyEngine, backupd: Command, store: Path
) -> None:
    start(api, NAME)
    make_image(api, IMAGE)
    with_image(backupd)
    with held(backupd, faulty, Fault(EXPORT, at_byte=100_000), "backup", NAME) as backup:
        second = backupd("backup", IMAGE)
        meanwhile = status(api, NAME)
        first = backup.end()

    assert (0, "") == (second.code, second.stderr)
    assert "exited" == meanwhile
    assert (0, "running", []) == (first.code, status(api, NAME), journal(backupd))


def test_a_container_that_the_engine_refuses_to_start_is_started_by_the_next_backup(
    api: docker.APIClient, faulty: FaultyEngine, backupd: Command, store: Path
) -> None:
    start(api, NAME)
    make_image(api, IMAGE)
    with_image(backupd)
    faulty.add(Fault(START, answer=(500, refusal("port is already allocated")), times=6))
    failed = backupd("backup", NAME)
    again = backupd("backup", IMAGE)
    down = status(api, NAME), len(journal(backupd))
    result = backupd("backup", IMAGE)

    assert (1, 0, 0) == (failed.code, again.code, result.code)
    assert "cannot start container" in the_sentence(failed)
    assert "port is already allocated" in the_sentence(failed)
    assert "may still be; the next backup sees to it" in the_sentence(again)
    assert ("exited", 1) == down
    assert LEFT == the_sentence(result)
    assert ("running", []) == (status(api, NAME), journal(backupd))


def test_a_container_that_ends_right_after_it_was_started_again_is_told_of(
    api: docker.APIClient, faulty: FaultyEngine, backupd: Command, store: Path
) -> None:
    once = "test -e /up && exit 7; trap 'exit 0' TERM; touch /up; while :; do sleep 0.1; done"
    start(api, NAME, once)

    def starts_and_ends() -> None:
        api.start(NAME)
        wait_until(lambda: status(api, NAME) == "exited")

    faulty.add(Fault(START, act=starts_and_ends, answer=(204, b"")))
    result = backupd("backup")

    assert (0, [], [NAME]) == (result.code, journal(backupd), names_listed(backupd))
    assert "it was started again after it was read, and ended with exit code 7" in (
        the_sentence(result)
    )


def test_a_container_that_ended_before_it_could_be_stopped_is_not_started(
    api: docker.APIClient, faulty: FaultyEngine, backupd: Command, store: Path
) -> None:
    start(api, NAME)
    faulty.add(Fault(STOP, act=lambda: api.stop(NAME)))
    result = backupd("backup")

    assert (0, "") == (result.code, result.stderr)
    assert ("exited", []) == (status(api, NAME), journal(backupd))


def test_what_depends_on_a_container_stops_before_it_and_starts_after_it(
    api: docker.APIClient, backupd: Command, store: Path
) -> None:
    project = {"com.docker.compose.project": "backupd-test-shop"}
    needs = {"com.docker.compose.depends_on": "db:service_started:false"}
    start(api, OTHER, labels={**project, "com.docker.compose.service": "db"})
    start(api, NAME, labels={**project, **needs, "com.docker.compose.service": "app"})
    glob = {"name": f"{NAME}*", "stop": True}
    config = backupd.config.read_text().replace(f"name: {NAME}\n", f"name: {glob['name']!r}\n")
    backupd.write(config)
    since = now(api)
    succeeded(backupd("backup"))
    happened = events(api, since, NAME, OTHER)

    assert [("stop", NAME), ("stop", OTHER)] == happened[:2]
    assert {("export", NAME), ("export", OTHER)} == set(happened[2:4])
    assert [("start", OTHER), ("start", NAME)] == happened[4:]
    assert {NAME, OTHER} == set(names_listed(backupd))


def test_one_container_of_a_group_that_fails_keeps_no_other_from_its_backup(
    api: docker.APIClient, faulty: FaultyEngine, backupd: Command, policy: WritePolicy, store: Path
) -> None:
    start(api, NAME)
    start(api, OTHER)
    containers = [
        {"name": NAME, "stop": True, "stop_order": 1},
        {"name": OTHER, "stop": True, "stop_order": 2},
    ]
    sections = {"store": {"url": f"file://{store}"}, "docker": {"host": faulty.host}}
    policy({"nightly": {"containers": containers}}, **sections)
    faulty.add(Fault(EXPORT, answer=(500, refusal("disk on fire"))))
    result = backupd("backup")

    assert 1 == result.code
    assert f"container {NAME}: " in the_sentence(result)
    assert "disk on fire" in the_sentence(result)
    assert [OTHER] == names_listed(backupd)
    assert ("running", "running", []) == (
        status(api, NAME),
        status(api, OTHER),
        journal(backupd),
    )
    refuse_secrets(result)


def has_file(api: docker.APIClient, name: str, path: str) -> bool:
    """Whether a file is there, found without a process in the container."""
    try:
        chunks, _ = api.get_archive(name, path)
    except docker.errors.NotFound:
        return False
    return bool(io.BytesIO(b"".join(chunks)).getvalue())


def with_image(backupd: Command) -> None:
    """Let the job also select an image, whose backup has nothing to do with the container."""
    backupd.write(backupd.config.read_text().replace("images: []", f"images: [{IMAGE}]"))
