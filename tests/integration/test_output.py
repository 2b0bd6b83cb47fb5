"""`restore … --output`: the plain tar, in a file or a pipe, for `docker load` by hand."""

from __future__ import annotations

import hashlib
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import docker
import pytest
import zstandard

from tests.integration.command import Command
from tests.integration.conftest import leaving_no_trace
from tests.integration.trees import (
    ImageFacts,
    exported,
    image_facts,
    lose,
    make_image,
    saved,
    start_container,
    succeeded,
)
from tests.servers.dockerd import Engine

IMAGE, SECOND_TAG = "backupd-test-output:1", "backupd-test-output:2"
CONTAINER, OTHER = "backupd-test-output", "backupd-test-output:other"


class Kept:
    """A backup of an image that is lost, and of a container; `tar` is what the engine exported."""

    def __init__(self, backupd: Command, image: ImageFacts, tar: bytes) -> None:
        self.backupd = backupd
        self.image = image
        self.tar = tar


@pytest.fixture(scope="module")
def kept(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    backupd = Command(tmp_path_factory.mktemp("output"))
    with leaving_no_trace(engine) as api:
        image = make_image(api, IMAGE, SECOND_TAG)
        api.wait(start_container(api, CONTAINER, command=["true"]))
        backupd.write(
            {
                "state_dir": str(backupd.state_dir),
                "docker": {"host": engine.host},
                "store": {"url": f"file://{backupd.directory}/store"},
                "jobs": {"nightly": {"images": [IMAGE, SECOND_TAG], "containers": [CONTAINER]}},
            }
        )
        succeeded(backupd("backup"))
        lose(api, IMAGE, SECOND_TAG)
        yield Kept(backupd, image, exported(api, CONTAINER))


def test_an_image_is_written_to_a_file_that_docker_load_takes(
    api: docker.APIClient, kept: Kept, tmp_path: Path
) -> None:
    target = tmp_path / "image.tar"
    succeeded(kept.backupd("restore", "image", IMAGE, "--output", target))
    with target.open("rb") as tar:
        list(api.load_image(tar))

    assert replace(kept.image, tags=(IMAGE,)) == image_facts(api, IMAGE)
    assert [target] == list(tmp_path.iterdir())


@pytest.mark.parametrize("tag", [IMAGE, SECOND_TAG])
def test_a_tar_that_was_piped_to_docker_load_names_the_tag_that_was_asked_for(
    tag: str, api: docker.APIClient, kept: Kept
) -> None:
    result = succeeded(kept.backupd("restore", "image", tag, "--output", "-"))
    list(api.load_image(result.output))

    assert replace(kept.image, tags=(tag,)) == image_facts(api, tag)


def test_a_written_tar_names_the_tag_that_was_given(api: docker.APIClient, kept: Kept) -> None:
    result = succeeded(kept.backupd("restore", "image", IMAGE, "--tag", OTHER, "--output", "-"))
    list(api.load_image(result.output))

    assert replace(kept.image, tags=(OTHER,)) == image_facts(api, OTHER)


def test_a_bare_archive_is_written_with_the_tag_that_was_given(
    api: docker.APIClient, kept: Kept
) -> None:
    image = make_image(api, IMAGE)
    arguments = ("restore", "image", "--from", "-", "--tag", OTHER, "--output", "-")
    result = succeeded(kept.backupd(*arguments, stdin=saved(api, IMAGE)))
    lose(api, IMAGE)
    list(api.load_image(result.output))

    assert replace(image, tags=(OTHER,)) == image_facts(api, OTHER)


def test_the_archive_in_a_directory_is_found_by_its_key(kept: Kept) -> None:
    (row,) = succeeded(kept.backupd("list", "--json", CONTAINER)).json
    archive = kept.backupd.directory / "store" / row["archive_key"]
    unpacked = subprocess.run(["zstd", "-dc", archive], capture_output=True, check=True).stdout

    assert hashlib.sha256(kept.tar).digest() == hashlib.sha256(unpacked).digest()


def test_a_container_is_written_as_it_was_exported(kept: Kept) -> None:
    result = succeeded(kept.backupd("restore", "container", CONTAINER, "--output", "-"))

    assert hashlib.sha256(kept.tar).digest() == hashlib.sha256(result.output).digest()


def test_a_bare_archive_is_written_as_a_plain_tar(
    api: docker.APIClient, kept: Kept, tmp_path: Path
) -> None:
    make_image(api, IMAGE)
    tar, target = saved(api, IMAGE), tmp_path / "image.tar"
    compressed = zstandard.ZstdCompressor().compress(tar)
    arguments = ("restore", "image", "--from", "-", "--output", target)
    succeeded(kept.backupd(*arguments, stdin=compressed))

    assert tar == target.read_bytes()
    assert 0o600 == stat.S_IMODE(target.stat().st_mode)


@pytest.mark.parametrize("arguments", [["image", IMAGE], ["container", CONTAINER]], ids=str)
def test_a_file_that_is_there_is_never_written_over(
    arguments: list[str], kept: Kept, tmp_path: Path
) -> None:
    target = tmp_path / "image.tar"
    target.write_bytes(b"precious")
    result = kept.backupd("restore", *arguments, "--output", target)

    assert (2, b"precious") == (result.code, target.read_bytes())
    assert (
        f"backupd: cannot write {target}: it exists; remove it or choose another name\n"
        == result.stderr
    )


def test_a_damaged_bare_archive_leaves_no_file(kept: Kept, tmp_path: Path) -> None:
    target = tmp_path / "image.tar"
    arguments = ("restore", "container", "--from", "-", "--output", target)
    result = kept.backupd(*arguments, stdin=kept.tar[:-20_480])

    assert (6, []) == (result.code, list(tmp_path.iterdir()))


def test_a_reader_that_has_enough_is_no_fault_of_the_archive(kept: Kept, tmp_path: Path) -> None:
    (tmp_path / "large.tar").write_bytes(kept.tar)
    arguments = ("restore", "container", "--from", tmp_path / "large.tar", "--output", "-")
    process = kept.backupd.start(*arguments)
    assert process.stdout is not None
    assert process.stderr is not None
    with process, process.stdout as pipe:
        pipe.read(1)
        pipe.close()
        said = process.stderr.read()

    assert (1, b"") == (process.returncode, said)


def test_a_folder_that_is_missing_is_named(kept: Kept, tmp_path: Path) -> None:
    target = tmp_path / "missing" / "image.tar"
    result = kept.backupd("restore", "image", IMAGE, "--output", target)

    assert (2, f"backupd: cannot write {target}: No such file or directory\n") == (
        result.code,
        result.stderr,
    )
