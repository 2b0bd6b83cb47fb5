"""`backupd iam-policy`: what it prints is what every verb needs at a real server, and no more."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import docker
import pytest

from backupd.rights import ACTIONS
from tests.integration.aftermath import kept_in, the_sentence
from tests.integration.command import Command, Result
from tests.integration.conftest import WritePolicy, leaving_no_trace
from tests.integration.trees import lose, make_image, succeeded
from tests.servers.dockerd import Engine
from tests.servers.relay import Piece, Relay
from tests.servers.seaweedfs import FULL, GRANTED, Identity, SeaweedFS

IMAGE, OTHER = "backupd-test-rights:1", "backupd-test-rights:2"
HOST = "testhost"
_SUBRESOURCES = {
    "versioning": "GetBucketVersioning",
    "object-lock": "GetObjectLockConfiguration",
    "lifecycle": "GetBucketLifecycleConfiguration",
    "list-type": "ListObjectsV2",
    "delete": "DeleteObjects",
}
_SETTINGS = {
    "s3:GetBucketVersioning",
    "s3:GetBucketObjectLockConfiguration",
    "s3:GetLifecycleConfiguration",
}
"""What a check asks, and does without where nothing is locked."""


def operation(request: str) -> str:
    """S3's name of a request `METHOD /bucket/key?query`."""
    method, _, path = request.partition(" ")
    parts = urlsplit(path)
    query = parse_qs(parts.query, keep_blank_values=True)
    if "retention" in query:
        return f"{method.capitalize()}ObjectRetention"
    for name, found in _SUBRESOURCES.items():
        if name in query:
            return found
    if "uploads" in query:
        return "CreateMultipartUpload" if method == "POST" else "ListMultipartUploads"
    if "uploadId" in query:
        by_method = {"PUT": "UploadPart", "POST": "CompleteMultipartUpload"}
        return by_method.get(method, "AbortMultipartUpload")
    subject = "Object" if parts.path.strip("/").partition("/")[2] else "Bucket"
    return method.capitalize() + subject


@dataclass
class Recorded:
    """What went over the wire to the server."""

    operations: set[str] = field(default_factory=set)
    denied: set[str] = field(default_factory=set)
    at_first_part: Any = None

    def watch(self, piece: Piece) -> bool:
        if piece.is_head:
            name = operation(piece.request)
            self.operations.add(name)
            if name == "UploadPart" and self.at_first_part is not None:
                self.at_first_part()
                self.at_first_part = None
        elif piece.is_answer and piece.data.startswith(b"HTTP/1.1 403 "):
            self.denied.add(operation(piece.request))
        return True

    @property
    def actions(self) -> set[str]:
        """The rights that were needed."""
        return {ACTIONS[name] for name in self.operations}

    @property
    def refused(self) -> set[str]:
        """The rights that were missing."""
        return {ACTIONS[name] for name in self.denied}


@dataclass
class Scene:
    """One host with a bucket in which its keys may do what `iam-policy` printed."""

    backupd: Command
    policy: WritePolicy
    s3: SeaweedFS
    bucket: dict[str, Any]

    @property
    def name(self) -> str:
        """The bucket's."""
        return str(self.bucket["url"]).split("/")[2]

    def write(self, endpoint: str, identity: Identity = GRANTED, **sections: Any) -> None:
        keys = {"access_key": identity.access_key, "secret_key": identity.secret_key}
        store = {**self.bucket, **keys, "endpoint": endpoint, "part_size": "5MiB"}
        jobs = {"nightly": {"images": [IMAGE, OTHER], "retention": {"keep_last": 1}}}
        self.policy(jobs, store=store, host=HOST, compression="none", prune="never", **sections)

    def printed(self, *options: str) -> Any:
        """What the command prints."""
        self.write(self.bucket["endpoint"])
        return succeeded(self.backupd("iam-policy", *options)).json

    @contextmanager
    def recorded(self, *options: str) -> Iterator[Recorded]:
        """Grant what is printed with these options, and watch the wire."""
        self.s3.grant(self.name, self.printed(*options))
        record = Recorded()
        with Relay(self.bucket["endpoint"], record.watch) as relay:
            self.write(relay.address)
            yield record


@pytest.fixture
def scene(backupd: Command, policy: WritePolicy, s3: SeaweedFS, bucket: dict[str, Any]) -> Scene:
    return Scene(backupd, policy, s3, bucket)


@pytest.fixture(scope="module")
def images(engine: Engine) -> Iterator[docker.APIClient]:
    """The engine with two images; the archive of each takes two parts."""
    with leaving_no_trace(engine) as client:
        for text, tag in enumerate((IMAGE, OTHER)):
            make_image(client, tag, text=str(text), layers=[{"big": os.urandom(6 << 20)}])
        yield client


def granted(document: Any) -> set[str]:
    return {action for one in document["Statement"] for action in one["Action"]}


def interrupted_backup(backupd: Command, record: Recorded) -> int:
    """The exit code of a backup that is stopped while it sends the first part of an archive."""
    process = backupd.start("backup", OTHER)
    record.at_first_part = lambda: os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=120)
    return process.returncode


def test_every_verb_works_with_what_is_printed_and_all_of_it_is_needed(
    scene: Scene, images: docker.APIClient
) -> None:
    backupd = scene.backupd
    with scene.recorded() as record:
        assert 130 == interrupted_backup(backupd, record)
        for verb in (
            ("check",),
            ("backup",),
            ("backup",),
            ("list", "--host", "*"),
            ("verify", "--data"),
            ("drill",),
        ):
            succeeded(backupd(*verb))
        first, *_ = succeeded(backupd("list", "--json")).json
        for verb in (
            ("show", first["id"]),
            ("pin", first["id"]),
            ("unpin", first["id"]),
            ("forget", first["id"], "--yes"),
            ("rename-job", "nightly", "daily"),
            ("rename-job", "daily", "nightly"),
            ("prune", "--yes"),
            ("check", "--explain"),
            ("check", "--store"),
        ):
            succeeded(backupd(*verb))
        lose(images, OTHER)
        succeeded(backupd("restore", "image", OTHER))

    assert set() == record.refused - _SETTINGS
    assert granted(scene.printed()) == record.actions - _SETTINGS


def test_keys_that_may_not_delete_can_back_up_and_restore(
    scene: Scene, images: docker.APIClient
) -> None:
    with scene.recorded("--no-delete") as record:
        assert 130 == interrupted_backup(scene.backupd, record)
        for verb in (("backup",), ("list",), ("verify", "--data")):
            succeeded(scene.backupd(*verb))
        lose(images, IMAGE)
        succeeded(scene.backupd("restore", "image", IMAGE))

    assert set() == record.denied
    assert granted(scene.printed("--no-delete")) == record.actions


def test_reading_keys_can_list_and_restore(scene: Scene, images: docker.APIClient) -> None:
    scene.write(scene.bucket["endpoint"], FULL)
    succeeded(scene.backupd("backup"))

    with scene.recorded("--read-only") as record:
        first, *_ = succeeded(scene.backupd("list", "--json")).json
        succeeded(scene.backupd("show", first["id"]))
        lose(images, IMAGE)
        succeeded(scene.backupd("restore", "image", IMAGE))

    assert set() == record.denied
    assert granted(scene.printed("--read-only")) == record.actions


def test_with_a_lock_what_is_printed_is_enough_and_needed(
    scene: Scene, images: docker.APIClient
) -> None:
    name = "backupd-test-rights-locked"
    scene.s3.client().create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    scene.bucket |= {"url": f"s3://{name}/docker", "object_lock": {"mode": "governance", "days": 1}}

    with scene.recorded("--no-delete") as record:
        assert 130 == interrupted_backup(scene.backupd, record)
        for verb in (("check",), ("backup",), ("backup",), ("verify",), ("check", "--explain")):
            succeeded(scene.backupd(*verb))

    # A check tries what must not work, and the server's time stands in the refusal as well.
    assert {"DeleteObject", "HeadBucket", "ListMultipartUploads"} == record.denied
    assert granted(scene.printed("--no-delete")) == record.actions - {
        "s3:DeleteObject",
        "s3:ListBucketMultipartUploads",
    }


def test_the_keys_of_one_host_write_below_no_other_ones_prefix(
    scene: Scene, images: docker.APIClient
) -> None:
    scene.s3.grant(scene.name, scene.printed())
    scene.write(scene.bucket["endpoint"])
    policy = scene.backupd.config.read_text().replace(HOST, "otherhost")
    scene.backupd.write(policy)

    result = scene.backupd("backup", OTHER)

    assert 4 == result.code
    assert "does not allow these keys s3:PutObject there" in result.stderr
    assert [] == kept_in(scene.s3, scene.bucket)


def explained(scene: Scene, *options: str) -> Result:
    return scene.backupd("check", "--explain", *options)


def test_check_explain_names_what_is_missing_and_what_would_grant_it(scene: Scene) -> None:
    scene.s3.grant(scene.name, scene.printed("--read-only"))
    scene.write(scene.bucket["endpoint"])

    report, for_people = explained(scene, "--json"), explained(scene)

    assert (4, 4) == (report.code, for_people.code)
    assert ["s3:PutObject", "s3:AbortMultipartUpload"] == report.json["missing"]
    assert "lack s3:PutObject, s3:AbortMultipartUpload; grant it as shown" in the_sentence(report)
    _, _, statement = for_people.stdout.partition("Add to the policy of these keys:\n")
    assert report.json["statements"] == json.loads(statement)


def test_check_store_tells_what_to_set(scene: Scene, bucket_https: dict[str, Any]) -> None:
    store = {**bucket_https, "addressing": "path"}
    scene.policy({"nightly": {"images": [IMAGE]}}, store=store, host=HOST)

    report = succeeded(scene.backupd("check", "--store", "--json")).json
    for_people = succeeded(scene.backupd("check", "--store")).stdout

    assert ([], []) == (report["set"], report["left"])
    assert for_people.endswith("Nothing to set in the policy's store.\n")
    assert [] == kept_in(scene.s3, bucket_https)


@pytest.mark.parametrize("verb", [("iam-policy",), ("check", "--explain"), ("check", "--store")])
def test_a_directory_is_refused(scene: Scene, tmp_path: Path, verb: tuple[str, ...]) -> None:
    scene.policy({"nightly": {"images": [IMAGE]}}, store={"url": f"file://{tmp_path}/store"})

    result = scene.backupd(*verb)

    assert 2 == result.code
    assert f"the policy's store is a directory (file://{tmp_path}/store)" in the_sentence(result)
    assert not (tmp_path / "store").exists()
