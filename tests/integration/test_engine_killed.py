"""An engine that dies in the middle leaves no backup that cannot be restored, and no half image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.integration.aftermath import images, journal, kept, refuse_secrets, status
from tests.integration.command import Command
from tests.integration.conftest import WritePolicy
from tests.servers.dockerd import Engine
from tests.servers.faulty_engine import EXPORT, LOAD, SAVE, Fault, FaultyEngine
from tests.servers.rootfs import build_image

IMAGE, CONTAINER = "backupd-test-killed:1", "backupd-test-killed"
ACTS = {SAVE: "save", EXPORT: "export"}
MIB = 1 << 20
JOB = {
    "schedule": "@daily",
    "images": [IMAGE],
    "containers": [{"name": CONTAINER, "pause": True}],
}


@pytest.fixture(scope="module")
def mortal() -> Iterator[Engine]:
    """An engine that may be killed, with an image and a container of it."""
    with Engine() as engine:
        api = engine.client()
        build_image(api, IMAGE, layers=[{"data/random": os.urandom(8 * MIB)}])
        api.create_container(IMAGE, ["sleep", "1000"], name=CONTAINER)
        yield engine


@pytest.fixture
def api(mortal: Engine) -> Iterator[docker.APIClient]:
    """A connection to the engine, which runs afterwards as it did before."""
    client = mortal.client()
    client.start(CONTAINER)
    yield client
    if not mortal.answers():
        mortal.restart()


@pytest.fixture
def faulty(mortal: Engine) -> Iterator[FaultyEngine]:
    with FaultyEngine(mortal.host) as proxy:
        yield proxy


@pytest.fixture
def store(tmp_path: Path, policy: WritePolicy, faulty: FaultyEngine) -> Path:
    root = tmp_path / "store"
    policy({"nightly": JOB}, store={"url": f"file://{root}"}, docker={"host": faulty.host})
    return root


@pytest.mark.parametrize(("request_", "name"), [(SAVE, IMAGE), (EXPORT, CONTAINER)])
def test_an_engine_that_is_killed_while_it_is_read_makes_no_backup(
    request_: str,
    name: str,
    api: docker.APIClient,
    mortal: Engine,
    faulty: FaultyEngine,
    backupd: Command,
    store: Path,
) -> None:
    faulty.add(Fault(request_, at_byte=3 * MIB, act=mortal.kill))
    result = backupd("backup", name)

    assert 1 == result.code
    assert f"{name}: cannot {ACTS[request_]}" in result.stderr.splitlines()[0]
    refuse_secrets(result)
    assert [] == kept(store)


def test_a_pause_that_a_killed_engine_took_along_is_forgotten(
    api: docker.APIClient, mortal: Engine, faulty: FaultyEngine, backupd: Command, store: Path
) -> None:
    faulty.add(Fault(EXPORT, at_byte=3 * MIB, act=mortal.kill))
    backupd("backup", CONTAINER)
    written_down = len(journal(backupd))
    mortal.restart()
    result = backupd("backup", CONTAINER)

    assert 1 == written_down
    assert (0, "", []) == (result.code, result.stderr, journal(backupd))
    assert "exited" == status(api, CONTAINER)


def test_a_killed_engine_leaves_the_backups_that_were_there_restorable(
    api: docker.APIClient, mortal: Engine, faulty: FaultyEngine, backupd: Command, store: Path
) -> None:
    image_id = api.inspect_image(IMAGE)["Id"]
    faulty.add(Fault(EXPORT, at_byte=3 * MIB, act=mortal.kill))
    saved = backupd("backup", IMAGE)
    failed = backupd("backup", CONTAINER)
    mortal.restart()
    listed = backupd("list", "--json").json
    restored = backupd("restore", "image", IMAGE, "--output", "image.tar")

    assert (0, 1) == (saved.code, failed.code)
    assert [(IMAGE, listed[0]["size_bytes"])] == [(b["name"], b["size_bytes"]) for b in listed]
    assert 0 == restored.code, restored.stderr
    assert listed[0]["size_bytes"] == (backupd.directory / "image.tar").stat().st_size
    assert image_id == api.inspect_image(IMAGE)["Id"]


def test_an_engine_that_is_killed_while_it_loads_has_nothing_of_the_image_and_can_load_it_again(
    api: docker.APIClient, mortal: Engine, faulty: FaultyEngine, backupd: Command, store: Path
) -> None:
    kept_image = "backupd-test-killed:other"
    image_id = build_image(api, kept_image, layers=[{"data/other": os.urandom(8 * MIB)}])
    backupd.write(backupd.config.read_text().replace(IMAGE, kept_image))
    saved = backupd("backup", kept_image)
    api.remove_image(kept_image)
    before = images(api)
    faulty.add(Fault(LOAD, at_sent_byte=5 * MIB, act=mortal.kill))
    failed = backupd("restore", "image", kept_image)
    said, note = failed.stderr.splitlines()
    mortal.restart()
    after = images(api)
    restored = backupd("restore", "image", kept_image)

    assert 0 == saved.code, saved.stderr
    assert 3 == failed.code
    assert "cannot load the image: the connection to the engine broke off" in said
    assert "cleaning up after it failed" in note
    assert before == after
    assert 0 == restored.code, restored.stderr
    assert image_id == api.inspect_image(kept_image)["Id"]
