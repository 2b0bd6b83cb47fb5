"""Without backupd: download, decompress, load, as docs/restore-without-backupd.md says."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import docker
import pytest

from tests.integration.command import Command
from tests.integration.conftest import leaving_no_trace, store_section
from tests.integration.objects import Objects
from tests.integration.trees import (
    FileFacts,
    ImageFacts,
    files_of,
    files_of_image,
    image_facts,
    lose,
    make_image,
    start_container,
    succeeded,
)
from tests.servers.dockerd import Engine
from tests.servers.seaweedfs import SeaweedFS

IMAGE, SECOND_TAG, CONTAINER = "backupd-test-hand:1", "backupd-test-hand:2", "backupd-test-hand"


@dataclass(frozen=True)
class Lost:
    """What was lost, and the bucket that still has it."""

    objects: Objects
    archive_keys: dict[str, str]
    """Name → the archive's key in the bucket, as `list --json` tells it."""
    manifests: dict[str, Any]
    image: ImageFacts
    files: dict[str, FileFacts]
    command: list[str]

    def archive(self, name: str) -> bytes:
        """The stored archive of a name."""
        return self.objects.read(self.archive_keys[name])


@pytest.fixture(scope="module")
def lost(engine: Engine, s3: SeaweedFS, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lost]:
    backupd, store = Command(tmp_path_factory.mktemp("hand")), store_section(s3)
    with leaving_no_trace(engine) as api:
        image = make_image(api, IMAGE, SECOND_TAG)
        start_container(api, CONTAINER)
        files, command = files_of(api, CONTAINER), api.inspect_container(CONTAINER)["Config"]["Cmd"]
        backupd.write(
            {
                "state_dir": str(backupd.state_dir),
                "docker": {"host": engine.host},
                "store": store,
                "jobs": {"nightly": {"images": [IMAGE, SECOND_TAG], "containers": [CONTAINER]}},
            }
        )
        succeeded(backupd("backup"))
        rows = succeeded(backupd("list", "--json")).json
        lose(api, IMAGE, SECOND_TAG)
        api.remove_container(CONTAINER, force=True)
        objects = Objects(s3, store)
        documents = [json.loads(objects.read(key)) for key in objects.sizes() if "/backups/" in key]
        yield Lost(
            objects,
            {row["name"]: row["archive_key"] for row in rows},
            {document["name"]: document for document in documents},
            image,
            files,
            command,
        )


def decompressed(data: bytes) -> bytes:
    """What the program `zstd` makes of an archive."""
    return subprocess.run(["zstd", "-dc"], input=data, capture_output=True, check=True).stdout


def test_an_image_comes_back_with_zstd_and_docker_load(api: docker.APIClient, lost: Lost) -> None:
    list(api.load_image(decompressed(lost.archive(IMAGE))))

    assert lost.image.id == image_facts(api, IMAGE).id


def test_a_second_tag_comes_back_with_docker_tag(api: docker.APIClient, lost: Lost) -> None:
    list(api.load_image(decompressed(lost.archive(SECOND_TAG))))
    (image,) = lost.manifests[SECOND_TAG]["images"]
    api.tag(image["id"], *image["reference"].split(":"))

    assert [IMAGE] == image["saved_as"]
    assert lost.image == image_facts(api, SECOND_TAG)


def test_a_container_comes_back_with_docker_import_and_its_record(
    api: docker.APIClient, lost: Lost
) -> None:
    tar = decompressed(lost.archive(CONTAINER))
    manifest = lost.manifests[CONTAINER]
    key = lost.archive_keys[CONTAINER].replace(
        manifest["archive"]["key"], manifest["record"]["key"]
    )
    record = json.loads(lost.objects.read(key))
    command = record["container"]["Config"]["Cmd"]
    reference = "backupd-test-hand:imported"
    api.import_image(
        io.BytesIO(tar),
        repository="backupd-test-hand",
        tag="imported",
        changes=[f"CMD {json.dumps(command)}"],
    )

    assert lost.files == files_of_image(api, reference, CONTAINER)
    assert lost.command == api.inspect_image(reference)["Config"]["Cmd"]


@pytest.mark.parametrize("name", [IMAGE, SECOND_TAG, CONTAINER])
def test_a_manifest_names_the_key_the_size_and_the_digest_of_its_archive(
    name: str, lost: Lost
) -> None:
    facts, stored = lost.manifests[name]["archive"], lost.archive(name)
    plain = decompressed(stored)

    assert lost.archive_keys[name] == f"docker/{facts['key']}"
    assert (len(stored), hashlib.sha256(stored).hexdigest()) == (
        facts["stored_bytes"],
        facts["stored_sha256"],
    )
    assert (len(plain), hashlib.sha256(plain).hexdigest()) == (
        facts["size_bytes"],
        facts["sha256"],
    )


def test_a_manifest_names_the_digest_of_its_record(lost: Lost) -> None:
    facts = lost.manifests[CONTAINER]["record"]

    assert (
        facts["sha256"] == hashlib.sha256(lost.objects.read(f"docker/{facts['key']}")).hexdigest()
    )
