"""A store that cannot be used, or that fails in the middle: one sentence, and nothing half done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import docker
import pytest

from backupd.engine import Engine as Connection
from backupd.policy import Compression, DockerSpec, StoreSpec
from backupd.site import Site
from backupd.sources.image import ImageSource
from backupd.state import StateDir
from backupd.stores import open_store
from backupd.verbs.backup import Outcome, Task, run
from tests.integration.aftermath import (
    CANARY,
    images,
    kept,
    kept_in,
    names_listed,
    refuse_secrets,
    the_sentence,
)
from tests.integration.command import QUICK, Command
from tests.integration.conftest import WritePolicy, leaving_no_trace
from tests.servers.dockerd import Engine
from tests.servers.rootfs import build_image
from tests.servers.seaweedfs import NO_DELETE, READ_ONLY, SeaweedFS

IMAGE = "backupd-test-store:1"
JOBS = {"nightly": {"schedule": "@daily", "images": [IMAGE]}}


@pytest.fixture(scope="module", autouse=True)
def image(engine: Engine) -> Iterator[str]:
    with leaving_no_trace(engine) as client:
        yield build_image(client, IMAGE, layers=[{"data/small": b"small"}])


def fault_of(name: str, s3: SeaweedFS) -> dict[str, str]:
    """What the policy's section `store` has wrong."""
    return {
        "unknown key": {"access_key": f"{CANARY}-access"},
        "wrong secret": {"secret_key": f"{CANARY}-secret"},
        "no bucket": {"url": "s3://backupd-test-nowhere/docker"},
        "refused": {"endpoint": "http://127.0.0.1:1"},
        "no name": {"endpoint": "http://store.invalid:9000"},
        "no trust": {"endpoint": s3.secure_endpoint},
        "no tls": {"endpoint": s3.endpoint.replace("http://", "https://")},
        "no store": {"endpoint": s3.endpoint.rpartition(":")[0] + ":1"},
        "read only": {"access_key": READ_ONLY.access_key, "secret_key": READ_ONLY.secret_key},
    }[name]


SENTENCES = {
    "unknown key": "does not know the access key; check the store's 'access_key'",
    "wrong secret": "the secret key does not belong to the access key",
    "no bucket": "has no bucket 'backupd-test-nowhere'; create it",
    "refused": "http://127.0.0.1:1 refuses connections; check that the server runs",
    "no name": "the name in http://store.invalid:9000 cannot be resolved",
    "no trust": "is not trusted",
    "no tls": "does not speak TLS; write http:// if that is meant",
    "read only": "does not allow these keys s3:PutObject there; grant it, or use other keys",
}


@pytest.mark.parametrize("fault", SENTENCES)
def test_a_store_that_cannot_be_used_is_told_before_any_work(
    fault: str, policy: WritePolicy, backupd: Command, s3: SeaweedFS, bucket: dict[str, Any]
) -> None:
    policy(JOBS, store={**bucket, **fault_of(fault, s3)})
    result = replace(backupd, module=QUICK)("backup")

    assert 4 == result.code
    assert SENTENCES[fault] in the_sentence(result)
    assert [] == kept_in(s3, bucket)


@pytest.mark.parametrize(
    "words",
    [
        ("check",),
        ("list",),
        ("restore", "image", IMAGE),
        ("restore", "container", "web", "--output", "web.tar"),
        ("show", "0123"),
        ("adopt",),
    ],
    ids=" ".join,
)
def test_every_command_says_the_same_of_a_store_that_cannot_be_used(
    words: tuple[str, ...], policy: WritePolicy, backupd: Command, bucket: dict[str, Any]
) -> None:
    policy(JOBS, store={**bucket, "secret_key": f"{CANARY}-secret"})
    result = backupd(*words)

    assert 4 == result.code
    assert SENTENCES["wrong secret"] in the_sentence(result)
    assert not (backupd.directory / "web.tar").exists()


def test_check_finds_keys_that_may_not_delete(
    policy: WritePolicy, backupd: Command, s3: SeaweedFS, bucket: dict[str, Any]
) -> None:
    keys = {"access_key": NO_DELETE.access_key, "secret_key": NO_DELETE.secret_key}
    policy(JOBS, store={**bucket, **keys})
    result = backupd("check")

    assert 4 == result.code
    assert "cannot remove objects from" in the_sentence(result)


def test_a_ca_bundle_that_is_missing_is_named(
    policy: WritePolicy, backupd: Command, bucket_https: dict[str, Any]
) -> None:
    policy(JOBS, store={**bucket_https, "ca_bundle": "/nowhere/ca.pem"})
    result = backupd("backup")

    assert 4 == result.code
    assert "its ca_bundle /nowhere/ca.pem is no file that can be read" in the_sentence(result)


def test_a_bucket_of_another_machine_is_refused_until_it_is_adopted(
    policy: WritePolicy, backupd: Command, tmp_path: Path
) -> None:
    root = tmp_path / "store"
    policy(JOBS, store={"url": f"file://{root}"})
    owner = {"host": "testhost", "machine_id": "0" * 32, "since": "2026-01-01T00:00:00Z"}
    path = root / "testhost" / "host.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(owner))
    refused = backupd("backup")
    untouched = (kept(root), json.loads(path.read_bytes()))
    adopted = backupd("adopt")
    result = backupd("backup")

    assert 4 == refused.code
    assert "run `backupd adopt` if it replaces that machine" in the_sentence(refused)
    assert ([], owner) == untouched
    assert (0, "") == (adopted.code, adopted.stderr)
    assert (0, [IMAGE]) == (result.code, names_listed(backupd))


def test_check_refuses_the_prefix_of_another_machine_too(
    policy: WritePolicy, backupd: Command, tmp_path: Path
) -> None:
    policy(JOBS, store={"url": f"file://{tmp_path}/store"})
    path = tmp_path / "store/testhost/host.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"machine_id": "another"}')
    result = backupd("check")

    assert 4 == result.code
    assert "backupd adopt" in the_sentence(result)


def test_a_broken_host_json_is_refused_with_the_way_out(
    policy: WritePolicy, backupd: Command, tmp_path: Path
) -> None:
    policy(JOBS, store={"url": f"file://{tmp_path}/store"})
    path = tmp_path / "store/testhost/host.json"
    path.parent.mkdir(parents=True)
    path.write_text("[]")
    refused = backupd("backup")
    backupd("adopt")
    result = backupd("backup")

    assert 4 == refused.code
    assert "run `backupd adopt` to write it anew" in the_sentence(refused)
    assert 0 == result.code


class Silent:
    """A report that nobody reads."""

    def begin(self, task: Task) -> Any:
        return lambda done: None

    def end(self, outcome: Outcome) -> None:
        pass

    def note(self, text: str) -> None:
        pass


def test_a_backup_that_would_sort_before_its_sources_newest_is_refused(
    engine: Engine, api: docker.APIClient, tmp_path: Path
) -> None:
    moment = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
    times = [moment]
    connection = Connection(DockerSpec(), host=engine.host)
    site = Site(
        "testhost",
        connection,
        open_store(StoreSpec(url=f"file://{tmp_path}/store")),
        StateDir(tmp_path / "state"),
        lambda: times[-1],
    )
    task = Task("nightly", ImageSource(IMAGE), Compression(), "name")
    outcomes = []
    for taken_at in (moment, moment - timedelta(hours=1), moment, moment + timedelta(seconds=1)):
        times.append(taken_at)
        outcomes += run(site, [task], Silent())
    connection.close()
    said = [str(outcome.error) for outcome in outcomes if outcome.error]

    assert [True, False, False, True] == [outcome.manifest is not None for outcome in outcomes]
    assert 2 == len(said)
    assert "this machine's clock says 2026-03-01 02:00:00 UTC" in said[0]
    assert 2 == len([path for path in kept(tmp_path / "store") if "/backups/" in path])


def test_a_failed_restore_to_a_bucketless_store_touches_no_image(
    policy: WritePolicy, backupd: Command, api: docker.APIClient, bucket: dict[str, Any]
) -> None:
    policy(JOBS, store={**bucket, "url": "s3://backupd-test-nowhere/docker"})
    before = images(api)
    result = backupd("restore", "image", IMAGE)

    assert 4 == result.code
    refuse_secrets(result)
    assert before == images(api)
