"""A damaged backup is never restored, and the engine and the disk stay as they were."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.integration.aftermath import CANARY, images, the_sentence
from tests.integration.command import Command
from tests.integration.conftest import leaving_no_trace, store_section
from tests.servers.dockerd import Engine
from tests.servers.rootfs import build_image
from tests.servers.seaweedfs import SeaweedFS

IMAGE, OTHER, CONTAINER = "backupd-test-damage:1", "backupd-test-damage:2", "backupd-test-damage"
KINDS = {"image": IMAGE, "container": CONTAINER}
MIB = 1 << 20


def flipped(data: bytes, place: int) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut in half": lambda data: data[: len(data) // 2],
    "a byte shorter": lambda data: data[:-1],
    "a byte longer": lambda data: data + b"\0",
    "twice": lambda data: data + data,
    "a flipped bit within": lambda data: flipped(data, len(data) // 2),
    "a flipped bit at its end": lambda data: flipped(data, -2),
    "something else": lambda data: os.urandom(len(data)),
}


@dataclass(frozen=True)
class Backups:
    """A store with a backup of an image, of another and of a container, that are gone since."""

    root: Path
    api: docker.APIClient
    engine_host: str

    def policy(self, root: Path, state: Path, compression: Any) -> dict[str, Any]:
        job = {"schedule": "@daily", "images": [IMAGE, OTHER], "containers": [CONTAINER]}
        return {
            "host": "testhost",
            "state_dir": str(state),
            "docker": {"host": self.engine_host},
            "store": {"url": f"file://{root}"},
            "compression": compression,
            "jobs": {"nightly": job},
        }


@pytest.fixture(scope="module")
def backups(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backups]:
    with leaving_no_trace(engine) as api:
        for name in (IMAGE, OTHER):
            build_image(api, name, layers=[{"data/random": os.urandom(2 * MIB)}])
        environment = {"TOKEN": f"{CANARY}-env"}
        api.create_container(IMAGE, ["sleep", "1"], name=CONTAINER, environment=environment)
        made = Backups(tmp_path_factory.mktemp("backups"), api, engine.host)
        for compression in ("zstd", "gzip", "none"):
            command = Command(tmp_path_factory.mktemp("command"))
            root = made.root / compression
            command.write(made.policy(root, command.state_dir, compression))
            result = command("backup")
            assert 0 == result.code, result.stderr
        api.remove_container(CONTAINER)
        for name in (IMAGE, OTHER):
            api.remove_image(name)
        yield made


@pytest.fixture
def store(request: pytest.FixtureRequest, backups: Backups, backupd: Command) -> Path:
    """A copy of the store, which the policy leads to."""
    compression = getattr(request, "param", "zstd")
    root = backupd.directory / "store"
    shutil.copytree(backups.root / compression, root)
    backupd.write(backups.policy(root, backupd.state_dir, compression))
    return root


def part(store: Path, kind: str, pattern: str) -> Path:
    """The one file of a kind's newest backup: its archive, record or manifest."""
    (found,) = store.glob(
        f"testhost/{pattern.format(kind=kind, name=KINDS[kind].replace(':', '%3A'))}"
    )
    return found


ARCHIVE = "archives/{kind}/{name}/*.tar*"
RECORD = "archives/{kind}/{name}/*.record.json"
MANIFEST = "backups/*/{kind}/{name}/*.json"


def change(path: Path, damage: Callable[[bytes], bytes]) -> None:
    path.write_bytes(damage(path.read_bytes()))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_archive_is_not_restored(
    damage: str, api: docker.APIClient, backupd: Command, store: Path
) -> None:
    change(part(store, "image", ARCHIVE), DAMAGES[damage])
    before = images(api)
    result = backupd("restore", "image", IMAGE)

    assert 6 == result.code, result.stderr
    assert "is damaged" in the_sentence(result)
    assert before == images(api)


@pytest.mark.parametrize("store", ["gzip", "none"], indirect=True)
@pytest.mark.parametrize("damage", ["cut in half", "a byte shorter", "a flipped bit within"])
def test_a_damaged_archive_in_another_compression_is_not_restored(
    damage: str, api: docker.APIClient, backupd: Command, store: Path
) -> None:
    change(part(store, "image", ARCHIVE), DAMAGES[damage])
    before = images(api)
    result = backupd("restore", "image", IMAGE)

    assert 6 == result.code, result.stderr
    assert "is damaged" in the_sentence(result)
    assert before == images(api)


@pytest.mark.parametrize("way", ["load", "import"])
@pytest.mark.parametrize("damage", ["cut in half", "a byte shorter", "a flipped bit within"])
def test_a_damaged_container_is_not_restored(
    damage: str, way: str, api: docker.APIClient, backupd: Command, store: Path
) -> None:
    change(part(store, "container", ARCHIVE), DAMAGES[damage])
    before = images(api)
    result = backupd("restore", "container", CONTAINER, "--via", way)

    assert 6 == result.code, result.stderr
    assert "is damaged" in the_sentence(result)
    assert before == images(api)


@pytest.mark.parametrize("damage", ["empty", "a byte shorter", "a flipped bit within"])
def test_a_damaged_archive_makes_no_file(damage: str, backupd: Command, store: Path) -> None:
    change(part(store, "image", ARCHIVE), DAMAGES[damage])
    target = backupd.directory / "target"
    target.mkdir()
    result = backupd("restore", "image", IMAGE, "--output", target / "image.tar")

    assert 6 == result.code, result.stderr
    assert "is damaged" in the_sentence(result)
    assert [] == list(target.iterdir())


def test_an_archive_in_anothers_place_is_not_restored(
    api: docker.APIClient, backupd: Command, store: Path
) -> None:
    container, image = part(store, "container", ARCHIVE), part(store, "image", ARCHIVE)
    shutil.copyfile(container, image)
    before = images(api)
    result = backupd("restore", "image", IMAGE)

    assert 6 == result.code
    assert "is damaged" in the_sentence(result)
    assert before == images(api)


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_archive_is_a_damaged_backup(
    kind: str, api: docker.APIClient, backupd: Command, store: Path
) -> None:
    part(store, kind, ARCHIVE).unlink()
    before = images(api)
    result = backupd("restore", kind, KINDS[kind])

    assert 6 == result.code
    assert "is damaged: its archive" in the_sentence(result)
    assert before == images(api)


def test_a_tag_that_names_another_image_keeps_it_when_the_backup_is_damaged(
    api: docker.APIClient, backupd: Command, store: Path
) -> None:
    build_image(api, IMAGE, layers=[{"data/mine": b"mine"}])
    change(part(store, "image", ARCHIVE), DAMAGES["a flipped bit within"])
    before = images(api)
    result = backupd("restore", "image", IMAGE, "--quiet")

    assert 6 == result.code
    assert "is damaged" in the_sentence(result)
    assert before == images(api)


@pytest.mark.parametrize("damage", ["empty", "a byte shorter", "a flipped bit within"])
def test_a_damaged_record_is_not_taken_for_the_containers_configuration(
    damage: str, api: docker.APIClient, backupd: Command, store: Path
) -> None:
    change(part(store, "container", RECORD), DAMAGES[damage])
    before = images(api)
    result = backupd("restore", "container", CONTAINER)

    assert 6 == result.code
    assert "its record of inspect" in the_sentence(result)
    assert before == images(api)


def test_a_missing_record_is_a_damaged_backup(
    api: docker.APIClient, backupd: Command, store: Path
) -> None:
    part(store, "container", RECORD).unlink()
    before = images(api)
    result = backupd("restore", "container", CONTAINER)

    assert 6 == result.code
    assert "its record of inspect" in the_sentence(result)
    assert before == images(api)


def test_the_files_of_a_container_come_back_without_its_damaged_record(
    api: docker.APIClient, backupd: Command, store: Path
) -> None:
    part(store, "container", RECORD).write_bytes(b"{}")
    result = backupd(
        *("restore", "container", CONTAINER, "--via", "import", "--no-config"),
        *("--tag", "backupd-test-damage:files"),
    )

    assert 0 == result.code, result.stderr
    assert 1 == len(api.inspect_image("backupd-test-damage:files")["RootFS"]["Layers"])


def with_changes(**changes: Any) -> Callable[[bytes], bytes]:
    return lambda data: json.dumps({**json.loads(data), **changes}).encode()


def with_archive(**changes: Any) -> Callable[[bytes], bytes]:
    def changed(data: bytes) -> bytes:
        whole = json.loads(data)
        return json.dumps({**whole, "archive": {**whole["archive"], **changes}}).encode()

    return changed


MANIFESTS: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "no JSON": lambda _: b"\x00\xff manifest",
    "half of it": lambda data: data[: len(data) // 2],
    "a list": lambda _: b"[]",
    "a deep nest": lambda _: b"[" * 200_000,
    "a later schema": with_changes(schema=2),
    "another host's": with_changes(host="other"),
    "another source's": with_changes(name="other:1"),
    "no images": with_changes(images=[]),
    "an archive elsewhere": with_archive(key="testhost/../../../etc/passwd"),
    "no archive at all": with_archive(key="testhost/host.json"),
    "another size": with_archive(size_bytes=1),
    "another codec": with_archive(compression="lzma"),
    "colours": with_changes(name="\x1b[31mred"),
}


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_a_manifest_that_is_not_the_backups_own_is_refused(
    manifest: str, api: docker.APIClient, backupd: Command, store: Path
) -> None:
    change(part(store, "image", MANIFEST), MANIFESTS[manifest])
    before = images(api)
    result = backupd("restore", "image", IMAGE)

    assert 6 == result.code
    assert "manifest of backup" in the_sentence(result)
    assert "\x1b" not in result.stderr
    assert before == images(api)


def test_a_huge_manifest_is_not_read(backupd: Command, store: Path) -> None:
    path = part(store, "image", MANIFEST)
    os.truncate(path, 1 << 34)
    result = backupd("restore", "image", IMAGE)

    assert result.code in {4, 6}
    assert "it is not one of ours" in the_sentence(result)


def test_one_damaged_manifest_hides_no_other_backup(backupd: Command, store: Path) -> None:
    change(part(store, "image", MANIFEST), MANIFESTS["no JSON"])
    listed = backupd("list", "--json")
    restored = backupd("restore", "image", OTHER, "--output", "other.tar")

    assert {IMAGE, OTHER, CONTAINER} == {each["name"] for each in listed.json}
    assert (0, "") == (restored.code, restored.stderr)


def test_one_damaged_manifest_does_not_stop_the_next_backup(
    api: docker.APIClient, backupd: Command, store: Path
) -> None:
    build_image(api, IMAGE, layers=[{"data/new": b"new"}])
    change(part(store, "image", MANIFEST), MANIFESTS["no JSON"])
    result = backupd("backup", IMAGE)

    assert (0, "") == (result.code, result.stderr)


@pytest.mark.parametrize("damage", ["cut in half", "a byte shorter", "a flipped bit within"])
def test_an_archive_that_is_damaged_in_a_bucket_is_not_restored(
    damage: str, backups: Backups, api: docker.APIClient, backupd: Command, s3: SeaweedFS
) -> None:
    section = store_section(s3)
    bucket, client = section["url"].split("/")[2], s3.client()
    root = backups.root / "zstd"
    for path in (path for path in root.rglob("*") if path.is_file()):
        data = path.read_bytes()
        if "archives/image" in str(path) and path.suffix == ".zst":
            data = DAMAGES[damage](data)
        client.put_object(Bucket=bucket, Key=f"docker/{path.relative_to(root)}", Body=data)
    policy = backups.policy(root, backupd.state_dir, "zstd")
    backupd.write({**policy, "store": section})
    before = images(api)
    result = backupd("restore", "image", IMAGE)

    assert 6 == result.code, result.stderr
    assert "is damaged" in the_sentence(result)
    assert before == images(api)


def test_no_secret_of_a_container_stands_in_a_manifest(backups: Backups) -> None:
    holders = [
        path for path in backups.root.rglob("*.json") if CANARY.encode() in path.read_bytes()
    ]

    assert 3 == len(holders)
    assert all(path.name.endswith(".record.json") for path in holders)
