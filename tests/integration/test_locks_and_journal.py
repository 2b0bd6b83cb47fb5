"""Whoever dies, containers go on; and two commands never work on one source at a time."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.integration.aftermath import (
    images,
    journal,
    kept,
    kept_in,
    names_listed,
    status,
    the_sentence,
    wait_until,
)
from tests.integration.command import Command
from tests.integration.conftest import WritePolicy, leaving_no_trace
from tests.integration.holding import held
from tests.servers.dockerd import Engine
from tests.servers.faulty_engine import EXPORT, LOAD, PAUSE, SAVE, Fault, FaultyEngine
from tests.servers.rootfs import build_image
from tests.servers.seaweedfs import SeaweedFS

IMAGE, CONTAINER = "backupd-test-locks:1", "backupd-test-locks"
MIB = 1 << 20
JOB = {
    "schedule": "@daily",
    "images": [IMAGE],
    "containers": [{"name": CONTAINER, "pause": True}],
}
LEFT = f"container {CONTAINER!r} was left paused by a backup that died; it goes on now"


@pytest.fixture(scope="module")
def image(engine: Engine) -> Iterator[str]:
    with leaving_no_trace(engine) as client:
        yield build_image(client, IMAGE, layers=[{"data/random": os.urandom(12 * MIB)}])


@pytest.fixture
def running(api: docker.APIClient, image: str) -> docker.APIClient:
    """The engine, with a container that runs."""
    api.create_container(IMAGE, ["sleep", "1000"], name=CONTAINER)
    api.start(CONTAINER)
    return api


@pytest.fixture
def faulty(engine: Engine) -> Iterator[FaultyEngine]:
    with FaultyEngine(engine.host) as proxy:
        yield proxy


@pytest.fixture
def store(tmp_path: Path, policy: WritePolicy, faulty: FaultyEngine) -> Path:
    root = tmp_path / "store"
    policy({"nightly": JOB}, store={"url": f"file://{root}"}, docker={"host": faulty.host})
    return root


def exporting(backupd: Command, faulty: FaultyEngine) -> Any:
    """`backupd backup` of the container, held in its export."""
    return held(backupd, faulty, Fault(EXPORT, at_byte=3 * MIB), "backup", CONTAINER)


def test_a_container_that_a_killed_backup_left_paused_goes_on_with_the_next_backup(
    running: docker.APIClient, faulty: FaultyEngine, backupd: Command, store: Path
) -> None:
    with exporting(backupd, faulty) as backup:
        backup.end(signal.SIGKILL)
    left = status(running, CONTAINER)
    result = backupd("backup", IMAGE)

    assert "paused" == left
    assert (0, LEFT) == (result.code, the_sentence(result))
    assert ("running", []) == (status(running, CONTAINER), journal(backupd))


def test_a_killed_backup_leaves_nothing_that_is_listed(
    running: docker.APIClient, faulty: FaultyEngine, backupd: Command, store: Path
) -> None:
    with exporting(backupd, faulty) as backup:
        backup.end(signal.SIGKILL)

    assert [] == names_listed(backupd)
    assert all(name.startswith(".partial/") for name in kept(store))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_backup_that_is_told_to_stop_leaves_everything_as_it_was(
    number: signal.Signals,
    running: docker.APIClient,
    faulty: FaultyEngine,
    backupd: Command,
    store: Path,
) -> None:
    with exporting(backupd, faulty) as backup:
        result = backup.end(number)

    assert (130, "stopped before the end") == (result.code, the_sentence(result))
    assert ("running", [], []) == (status(running, CONTAINER), journal(backupd), kept(store))


@pytest.mark.parametrize("request_", [SAVE, EXPORT], ids=["save", "export"])
def test_a_backup_that_waits_for_the_first_byte_can_be_stopped(
    request_: str, running: docker.APIClient, faulty: FaultyEngine, backupd: Command, store: Path
) -> None:
    name = IMAGE if request_ == SAVE else CONTAINER
    with held(backupd, faulty, Fault(request_), "backup", name) as backup:
        result = backup.end(signal.SIGTERM)

    assert (130, "stopped before the end") == (result.code, the_sentence(result))
    assert ("running", [], []) == (status(running, CONTAINER), journal(backupd), kept(store))


def test_a_backup_that_is_told_to_stop_leaves_no_unfinished_upload(
    running: docker.APIClient,
    faulty: FaultyEngine,
    backupd: Command,
    policy: WritePolicy,
    s3: SeaweedFS,
    bucket: dict[str, Any],
) -> None:
    policy(
        {"nightly": JOB},
        store={**bucket, "part_size": "5MiB"},
        docker={"host": faulty.host},
        compression="none",
    )
    fault = Fault(EXPORT, at_byte=11 * MIB)
    with held(backupd, faulty, fault, "backup", CONTAINER) as backup:
        wait_until(lambda: any("unfinished" in key for key in kept_in(s3, bucket)))
        result = backup.end(signal.SIGTERM)

    assert (130, "stopped before the end") == (result.code, the_sentence(result))
    assert [] == kept_in(s3, bucket)
    assert "running" == status(running, CONTAINER)


def test_a_restore_that_is_told_to_stop_loads_nothing(
    api: docker.APIClient, faulty: FaultyEngine, backupd: Command, store: Path
) -> None:
    other = "backupd-test-locks:other"
    build_image(api, other, layers=[{"data/random": os.urandom(12 * MIB)}])
    backupd.write(backupd.config.read_text().replace(IMAGE, other))
    saved = backupd("backup", other)
    api.remove_image(other)
    before = images(api)
    fault = Fault(LOAD, at_sent_byte=3 * MIB)
    with held(backupd, faulty, fault, "restore", "image", other) as restore:
        result = restore.end(signal.SIGTERM)

    assert 0 == saved.code, saved.stderr
    assert (130, "stopped before the end") == (result.code, the_sentence(result))
    assert before == images(api)


def test_a_pause_is_left_alone_while_its_backup_runs(
    running: docker.APIClient, faulty: FaultyEngine, backupd: Command, store: Path
) -> None:
    with exporting(backupd, faulty) as backup:
        second = backupd("backup", IMAGE)
        meanwhile = status(running, CONTAINER)
        first = backup.end()

    assert (0, "") == (second.code, second.stderr)
    assert "paused" == meanwhile
    assert (0, "") == (first.code, first.stderr)
    assert ("running", []) == (status(running, CONTAINER), journal(backupd))


def test_the_second_of_two_backups_of_one_source_is_told_who_is_first(
    running: docker.APIClient, faulty: FaultyEngine, backupd: Command, store: Path
) -> None:
    with exporting(backupd, faulty) as backup:
        second = backupd("backup", CONTAINER)
        pid = backup.process.pid
        first = backup.end()

    assert 7 == second.code
    assert re.search(
        rf"cannot back up container '{CONTAINER}': process {pid} \(backupd back up, since \d{{4}}-",
        the_sentence(second),
    )
    assert 0 == first.code
    assert [CONTAINER] == names_listed(backupd)


def test_a_lock_dies_with_its_process(
    running: docker.APIClient, faulty: FaultyEngine, backupd: Command, store: Path
) -> None:
    with exporting(backupd, faulty) as backup:
        backup.end(signal.SIGKILL)
    result = backupd("backup", CONTAINER)

    assert (0, LEFT) == (result.code, the_sentence(result))
    assert [CONTAINER] == names_listed(backupd)


def test_a_pause_that_a_person_was_quicker_with_is_left_to_that_person(
    running: docker.APIClient, faulty: FaultyEngine, backupd: Command, store: Path
) -> None:
    faulty.add(Fault(PAUSE, act=lambda: running.pause(CONTAINER)))
    result = backupd("backup", CONTAINER)

    assert 1 == result.code
    assert "is already paused" in the_sentence(result)
    assert ("paused", []) == (status(running, CONTAINER), journal(backupd))


def test_a_pause_on_another_engine_is_left_to_that_engines_backups(
    running: docker.APIClient, faulty: FaultyEngine, backupd: Command, store: Path
) -> None:
    with exporting(backupd, faulty) as backup:
        backup.end(signal.SIGKILL)
    (entry,) = (backupd.state_dir / "journal").glob("*.json")
    entry.write_text(json.dumps({**json.loads(entry.read_bytes()), "engine_id": "another"}))
    result = backupd("backup", IMAGE)

    assert (0, "") == (result.code, result.stderr)
    assert ("paused", [entry.name]) == (status(running, CONTAINER), journal(backupd))


def test_a_journal_entry_that_was_never_completed_stops_nothing(
    running: docker.APIClient, backupd: Command, store: Path
) -> None:
    folder = backupd.state_dir / "journal"
    folder.mkdir(parents=True)
    (folder / "pause-0123.partial").write_text('{"act": "pa')
    (folder / "pause-4567.json").write_text('{"act": "pause"')
    result = backupd("backup", CONTAINER)

    assert (0, "") == (result.code, result.stderr)


def test_a_container_that_was_removed_meanwhile_is_no_longer_written_down(
    running: docker.APIClient, faulty: FaultyEngine, backupd: Command, store: Path
) -> None:
    with exporting(backupd, faulty) as backup:
        backup.end(signal.SIGKILL)
    running.unpause(CONTAINER)
    running.remove_container(CONTAINER, force=True)
    result = backupd("backup", IMAGE)

    assert (0, "") == (result.code, result.stderr)
    assert [] == journal(backupd)
