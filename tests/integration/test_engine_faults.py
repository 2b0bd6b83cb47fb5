"""An engine that fails in the middle of a save or an export never makes a backup."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.integration.aftermath import (
    images,
    journal,
    kept,
    kept_in,
    manifest_in,
    status,
    the_sentence,
    wait_until,
)
from tests.integration.command import Command
from tests.integration.conftest import WritePolicy, leaving_no_trace
from tests.servers.dockerd import Engine
from tests.servers.faulty_engine import (
    AT_END,
    EXPORT,
    SAVE,
    UNPAUSE,
    Fault,
    FaultyEngine,
    Then,
    error_json,
    refusal,
)
from tests.servers.rootfs import build_image
from tests.servers.seaweedfs import SeaweedFS

IMAGE, OTHER = "backupd-test-faults:1", "backupd-test-faults:other"
CONTAINER = "backupd-test-faults"
MIB = 1 << 20
JOB = {
    "schedule": "@daily",
    "images": [IMAGE],
    "containers": [{"name": CONTAINER, "pause": True}],
}
NAMES = {SAVE: IMAGE, EXPORT: CONTAINER}
PATIENCE = {"stall_timeout": "60s"}
"""More than an engine on a busy machine takes for its next piece."""
LITTLE_PATIENCE = {"stall_timeout": "2s"}
"""For tests in which it falls silent for good."""


@dataclass(frozen=True)
class Scene:
    """An engine with an image and a running container of it."""

    api: docker.APIClient
    ids: dict[str, str]
    sizes: dict[str, int]
    """How long an answer is, by the request."""


@pytest.fixture(scope="module")
def scene(engine: Engine) -> Iterator[Scene]:
    with leaving_no_trace(engine) as api:
        content = {"data/random": os.urandom(6 * MIB)}
        ids = {
            IMAGE: build_image(api, IMAGE, layers=[content]),
            OTHER: build_image(api, OTHER, layers=[{"data/other": b"other"}]),
        }
        api.create_container(IMAGE, ["sleep", "1000"], name=CONTAINER)
        api.start(CONTAINER)
        yield Scene(
            api,
            ids,
            {
                SAVE: sum(map(len, api.get_image(IMAGE))),
                EXPORT: sum(map(len, api.export(CONTAINER))),
            },
        )


@pytest.fixture
def faulty(engine: Engine) -> Iterator[FaultyEngine]:
    with FaultyEngine(engine.host) as proxy:
        yield proxy


@pytest.fixture
def store(tmp_path: Path, policy: WritePolicy, faulty: FaultyEngine, scene: Scene) -> Path:
    """A directory store; the policy leads to it, and through the faulty engine."""
    root = tmp_path / "store"
    policy(
        {"nightly": JOB}, store={"url": f"file://{root}"}, docker={"host": faulty.host, **PATIENCE}
    )
    return root


def have_little_patience(backupd: Command, more: str = "") -> None:
    """Let the policy that is there have `LITTLE_PATIENCE`, and what is in `more`."""
    old, new = PATIENCE["stall_timeout"], LITTLE_PATIENCE["stall_timeout"]
    config = backupd.config.read_text()
    backupd.write(config.replace(f"stall_timeout: {old}", f"stall_timeout: {new}{more}"))


def assert_nothing_happened(scene: Scene, backupd: Command, store: Path) -> None:
    assert [] == kept(store)
    assert [] == journal(backupd)
    assert "running" == status(scene.api, CONTAINER)


@pytest.mark.parametrize("request_", [SAVE, EXPORT], ids=["save", "export"])
@pytest.mark.parametrize("place", [0, 3 * MIB, -1024, -512, -1])
def test_a_stream_that_ends_early_as_if_it_was_whole_becomes_no_backup(
    request_: str, place: int, scene: Scene, faulty: FaultyEngine, backupd: Command, store: Path
) -> None:
    at_byte = place if place >= 0 else scene.sizes[request_] + place
    faulty.add(Fault(request_, Then.END, at_byte=at_byte, times=2))
    result = backupd("backup", NAMES[request_])

    assert 1 == result.code
    assert NAMES[request_] in the_sentence(result)
    assert_nothing_happened(scene, backupd, store)


@pytest.mark.parametrize("request_", [SAVE, EXPORT], ids=["save", "export"])
@pytest.mark.parametrize("place", [3 * MIB, AT_END])
def test_a_stream_that_breaks_becomes_no_backup(
    request_: str, place: int, scene: Scene, faulty: FaultyEngine, backupd: Command, store: Path
) -> None:
    faulty.add(Fault(request_, Then.BREAK, at_byte=place, times=2))
    result = backupd("backup", NAMES[request_])

    assert 1 == result.code
    assert "the connection to the engine broke off" in the_sentence(result)
    assert_nothing_happened(scene, backupd, store)


@pytest.mark.parametrize("request_", [SAVE, EXPORT], ids=["save", "export"])
@pytest.mark.parametrize("place", [3 * MIB, AT_END])
def test_an_error_that_the_engine_writes_into_the_tar_becomes_no_backup_and_is_repeated(
    request_: str, place: int, scene: Scene, faulty: FaultyEngine, backupd: Command, store: Path
) -> None:
    words = error_json("unexpected digest sha256:77af copied")
    faulty.add(Fault(request_, Then.END, at_byte=place, extra=words, times=2))
    result = backupd("backup", NAMES[request_])

    assert 1 == result.code
    assert "unexpected digest sha256:77af copied" in the_sentence(result)
    assert_nothing_happened(scene, backupd, store)


@pytest.mark.parametrize("request_", [SAVE, EXPORT], ids=["save", "export"])
def test_a_stream_that_was_cut_once_is_read_again_and_whole(
    request_: str, scene: Scene, faulty: FaultyEngine, backupd: Command, store: Path
) -> None:
    faulty.add(Fault(request_, Then.END, at_byte=3 * MIB))
    result = backupd("backup", NAMES[request_])

    assert 0 == result.code, result.stderr
    assert scene.sizes[request_] == manifest_in(store)["archive"]["size_bytes"]
    assert 1 == len([path for path in kept(store) if ".tar" in path])


@pytest.mark.parametrize("request_", [SAVE, EXPORT], ids=["save", "export"])
def test_an_engine_that_stalls_in_the_middle_is_given_up(
    request_: str, scene: Scene, faulty: FaultyEngine, backupd: Command, store: Path
) -> None:
    have_little_patience(backupd)
    faulty.add(Fault(request_, Then.STALL, at_byte=3 * MIB))
    result = backupd("backup", NAMES[request_], timeout_seconds=120)

    assert 1 == result.code
    assert "the engine sent nothing for 2s" in the_sentence(result)
    assert_nothing_happened(scene, backupd, store)


@pytest.mark.parametrize("request_", [SAVE, EXPORT], ids=["save", "export"])
def test_a_stalled_connection_that_would_end_with_its_answer_is_given_up_too(
    request_: str, scene: Scene, engine: Engine, backupd: Command, store: Path
) -> None:
    with FaultyEngine(engine.host, keeps_alive=False) as faulty:
        config = backupd.config.read_text()
        backupd.write(re.sub("host: unix://.*", f"host: {faulty.host}", config))
        have_little_patience(backupd)
        faulty.add(Fault(request_, Then.STALL, at_byte=3 * MIB))
        result = backupd("backup", NAMES[request_], timeout_seconds=120)

    assert 1 == result.code
    assert "the engine sent nothing for 2s" in the_sentence(result)
    assert_nothing_happened(scene, backupd, store)


@pytest.mark.parametrize("request_", [SAVE, EXPORT], ids=["save", "export"])
def test_an_engine_that_never_begins_to_answer_is_given_up(
    request_: str, scene: Scene, faulty: FaultyEngine, backupd: Command, store: Path
) -> None:
    have_little_patience(backupd, "\n  save_timeout: 2s")
    faulty.add(Fault(request_, Then.STALL))
    result = backupd("backup", NAMES[request_], timeout_seconds=120)

    assert 1 == result.code
    # Two clocks run out at once: that of the connection, and that of the reader behind it.
    assert re.search("sent nothing for 2s|did not answer in time", the_sentence(result))
    assert_nothing_happened(scene, backupd, store)


@pytest.mark.parametrize("then", [Then.END, Then.BREAK, Then.STALL])
def test_no_unfinished_upload_stays_in_the_bucket(
    then: Then,
    scene: Scene,
    faulty: FaultyEngine,
    backupd: Command,
    policy: WritePolicy,
    s3: SeaweedFS,
    bucket: dict[str, Any],
) -> None:
    policy(
        {"nightly": JOB},
        store={**bucket, "part_size": "5MiB"},
        docker={"host": faulty.host, **(LITTLE_PATIENCE if then is Then.STALL else PATIENCE)},
        compression="none",
    )

    def upload_begins() -> None:
        wait_until(lambda: any("unfinished" in key for key in kept_in(s3, bucket)))

    faulty.add(Fault(EXPORT, then, at_byte=scene.sizes[EXPORT] - 1, act=upload_begins, times=2))
    result = backupd("backup", CONTAINER)

    assert 1 == result.code
    assert CONTAINER in the_sentence(result)
    assert [] == kept_in(s3, bucket)
    assert "running" == status(scene.api, CONTAINER)


def test_an_engine_that_refuses_to_unpause_is_asked_again_by_the_next_backup(
    scene: Scene, faulty: FaultyEngine, backupd: Command, store: Path
) -> None:
    faulty.add(Fault(UNPAUSE, answer=(500, refusal("cgroups are frozen"))))
    failed = backupd("backup", CONTAINER)
    left_paused = status(scene.api, CONTAINER), len(journal(backupd))
    result = backupd("backup", CONTAINER)

    assert 1 == failed.code
    assert "the engine says: cgroups are frozen" in the_sentence(failed)
    assert ("paused", 1) == left_paused
    assert 0 == result.code
    assert f"container {CONTAINER!r} was left paused by a backup that died" in the_sentence(result)
    assert ("running", []) == (status(scene.api, CONTAINER), journal(backupd))


@pytest.mark.parametrize("request_", [SAVE, EXPORT], ids=["save", "export"])
def test_an_engine_that_refuses_says_why(
    request_: str, scene: Scene, faulty: FaultyEngine, backupd: Command, store: Path
) -> None:
    faulty.add(Fault(request_, answer=(500, refusal('file integrity checksum failed for "data"'))))
    result = backupd("backup", NAMES[request_])

    assert 1 == result.code
    assert 'the engine says: file integrity checksum failed for "data"' in the_sentence(result)
    assert_nothing_happened(scene, backupd, store)


def test_a_failed_backup_leaves_the_engines_images_alone(
    scene: Scene, faulty: FaultyEngine, backupd: Command, store: Path
) -> None:
    before = images(scene.api)
    faulty.add(Fault(SAVE, Then.END, at_byte=3 * MIB, times=2))
    backupd("backup", IMAGE)

    assert before == images(scene.api)
