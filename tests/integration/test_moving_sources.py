"""Sources that change under a backup: each is backed up as it is by then, or not at all."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import docker
import pytest

from tests.integration.aftermath import journal, kept, manifest_in, names_listed, the_sentence
from tests.integration.command import Command
from tests.integration.conftest import WritePolicy, leaving_no_trace
from tests.servers.dockerd import Engine
from tests.servers.faulty_engine import EXPORT, SAVE, Fault, FaultyEngine
from tests.servers.rootfs import build_image

IMAGE, OTHER = "backupd-test-moving:1", "backupd-test-moving:other"
LOGGER, MOVED = "backupd-test-moving", "backupd-test-moving:moved"
MIB = 1 << 20

Select = Callable[..., None]


@pytest.fixture(scope="module")
def ids(engine: Engine) -> Iterator[dict[str, str]]:
    """The ids of two images."""
    with leaving_no_trace(engine) as client:
        yield {
            name: build_image(client, name, layers=[{"data/random": os.urandom(2 * MIB)}])
            for name in (IMAGE, OTHER)
        }


@pytest.fixture
def faulty(engine: Engine) -> Iterator[FaultyEngine]:
    with FaultyEngine(engine.host) as proxy:
        yield proxy


@pytest.fixture
def store(tmp_path: Path, ids: dict[str, str]) -> Path:
    return tmp_path / "store"


@pytest.fixture
def selecting(policy: WritePolicy, faulty: FaultyEngine, store: Path) -> Select:
    """Writes the policy of one job with these images and containers."""

    def write(*, images: Sequence[object] = (), containers: Sequence[object] = ()) -> None:
        job = {"schedule": "@daily", "images": list(images), "containers": list(containers)}
        policy({"nightly": job}, store={"url": f"file://{store}"}, docker={"host": faulty.host})

    return write


def shrink(api: docker.APIClient, name: str, size_mib: int) -> None:
    """Cut the container's big file, as a log rotation does."""
    command = ["dd", "if=/dev/null", "of=/aaa.log", "bs=1048576", f"seek={size_mib}", "count=0"]
    done = api.exec_create(name, command)["Id"]
    api.exec_start(done)
    assert 0 == api.exec_inspect(done)["ExitCode"]


@pytest.fixture
def logger(api: docker.APIClient, ids: dict[str, str]) -> str:
    """A running container with a log of 64 MiB, which comes first in its export."""
    api.create_container(IMAGE, ["sleep", "1000"], name=LOGGER)
    api.start(LOGGER)
    shrink(api, LOGGER, 64)
    return LOGGER


def rotated(api: docker.APIClient, name: str, sizes_mib: Iterator[int]) -> Fault:
    """The log shrinks while its first MiB is on the way."""
    return Fault(EXPORT, at_byte=MIB, act=lambda: shrink(api, name, next(sizes_mib)), times=2)


def test_a_file_that_shrinks_once_while_it_is_exported_is_exported_again(
    api: docker.APIClient,
    logger: str,
    faulty: FaultyEngine,
    backupd: Command,
    selecting: Select,
    store: Path,
) -> None:
    selecting(containers=[logger])
    faulty.add(rotated(api, logger, itertools.repeat(8)))
    result = backupd("backup")
    exports = [request for request in faulty.requests if request.endswith("/export")]

    assert 0 == result.code, result.stderr
    assert 2 == len(exports)
    assert sum(map(len, api.export(logger))) == manifest_in(store)["archive"]["size_bytes"]


def test_a_file_that_shrinks_each_time_it_is_exported_makes_no_backup(
    api: docker.APIClient,
    logger: str,
    faulty: FaultyEngine,
    backupd: Command,
    selecting: Select,
    store: Path,
) -> None:
    selecting(containers=[logger])
    faulty.add(rotated(api, logger, iter((32, 8))))
    result = backupd("backup")

    assert 1 == result.code
    assert "aaa.log" in the_sentence(result)
    assert [] == kept(store)


def test_a_tag_that_moves_between_survey_and_save_is_saved_as_what_it_names_now(
    api: docker.APIClient,
    ids: dict[str, str],
    faulty: FaultyEngine,
    backupd: Command,
    selecting: Select,
    store: Path,
) -> None:
    api.tag(IMAGE, MOVED)
    selecting(images=[MOVED])
    faulty.add(Fault(SAVE, act=lambda: api.tag(OTHER, MOVED)))
    result = backupd("backup")

    assert 0 == result.code, result.stderr
    assert [ids[OTHER]] == [image["id"] for image in manifest_in(store)["images"]]


def test_a_tag_that_moves_with_each_save_makes_no_backup(
    api: docker.APIClient, faulty: FaultyEngine, backupd: Command, selecting: Select, store: Path
) -> None:
    api.tag(IMAGE, MOVED)
    selecting(images=[MOVED])
    targets = iter((OTHER, IMAGE))
    faulty.add(Fault(SAVE, act=lambda: api.tag(next(targets), MOVED), times=2))
    result = backupd("backup")

    assert 1 == result.code
    assert "moved" in the_sentence(result)
    assert [] == kept(store)


def test_an_image_that_is_removed_before_its_save_fails_alone(
    api: docker.APIClient, faulty: FaultyEngine, backupd: Command, selecting: Select
) -> None:
    api.tag(IMAGE, MOVED)
    selecting(images=[MOVED, OTHER])
    faulty.add(Fault(SAVE, act=lambda: api.remove_image(MOVED)))
    result = backupd("backup")

    assert 1 == result.code
    assert f"image {MOVED}: cannot save image" in the_sentence(result)
    assert [OTHER] == names_listed(backupd)


def test_a_container_that_is_removed_before_its_export_fails_alone(
    api: docker.APIClient, logger: str, faulty: FaultyEngine, backupd: Command, selecting: Select
) -> None:
    api.create_container(IMAGE, ["true"], name=f"{LOGGER}-2")
    selecting(containers=[logger, f"{LOGGER}-2"])
    # Its own export, for the other container's may be asked for first.
    export = EXPORT.replace("[^/]+", str(api.inspect_container(logger)["Id"]))
    faulty.add(Fault(export, act=lambda: api.remove_container(logger, force=True)))
    result = backupd("backup")

    assert 1 == result.code
    assert f"container {logger}: cannot export container" in the_sentence(result)
    assert [f"{LOGGER}-2"] == names_listed(backupd)


def test_a_paused_container_that_is_removed_while_it_is_exported_leaves_nothing_to_undo(
    api: docker.APIClient, logger: str, faulty: FaultyEngine, backupd: Command, selecting: Select
) -> None:
    written_down: list[str] = []

    def remove() -> None:
        written_down.extend(journal(backupd))
        api.remove_container(logger, force=True)

    selecting(containers=[{"name": logger, "pause": True}])
    faulty.add(Fault(EXPORT, at_byte=MIB, act=remove))
    backupd("backup")

    assert 1 == len(written_down)
    assert [] == journal(backupd)
