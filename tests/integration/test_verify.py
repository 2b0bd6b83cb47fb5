"""`backupd verify` on a real engine's backups in a real bucket: what it proves, finds and keeps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import docker
import pytest

from tests.integration.aftermath import the_sentence
from tests.integration.command import Command, Result
from tests.integration.conftest import WritePolicy, leaving_no_trace
from tests.integration.objects import Objects
from tests.integration.trees import make_image, succeeded
from tests.servers.dockerd import Engine
from tests.servers.seaweedfs import SeaweedFS

IMAGE, OTHER, CONTAINER = "backupd-test-verify:1", "backupd-test-verify:2", "backupd-test-verify"
BUNDLE = {"bundle": "both", "images": [IMAGE, OTHER]}


@pytest.fixture(scope="module")
def sources(engine: Engine) -> Iterator[docker.APIClient]:
    with leaving_no_trace(engine) as client:
        make_image(client, IMAGE)
        make_image(client, OTHER, text="another")
        client.create_container(IMAGE, ["sleep", "1"], name=CONTAINER)
        yield client


@pytest.fixture
def objects(
    sources: docker.APIClient,
    s3: SeaweedFS,
    backupd: Command,
    bucket: dict[str, Any],
    policy: WritePolicy,
) -> Objects:
    """The bucket, with one backup of each kind that engines give: image, bundle, container."""
    del sources
    job = {"images": [IMAGE, OTHER, BUNDLE], "containers": [CONTAINER]}
    policy({"nightly": job}, store=bucket)
    succeeded(backupd("backup"))
    return Objects(s3, bucket)


def rows(backupd: Command) -> dict[str, dict[str, Any]]:
    """Name → what the list tells of its newest backup."""
    return {row["name"]: row for row in succeeded(backupd("list", "--json")).json}


def spoil(objects: Objects, key: str) -> None:
    data = bytearray(objects.read(key))
    data[len(data) // 2] ^= 1
    objects.write(key, bytes(data))


def verdicts(result: Result) -> dict[str, str]:
    return {row["name"]: row["verdict"] for row in result.json}


def test_every_kind_of_backup_is_proven_whole_and_the_list_tells_how_and_when(
    backupd: Command, objects: Objects
) -> None:
    del objects
    glance = succeeded(backupd("verify"))
    after_a_glance = rows(backupd)
    whole = succeeded(backupd("verify", "--all", "--data", "--json"))
    after_a_read = rows(backupd)
    status = backupd("status", "--json").json
    shown = succeeded(backupd("show", after_a_read[IMAGE]["id"])).stdout

    assert "checked 4 of 4 backups" == glance.stdout.splitlines()[-1]
    assert [{"checked"}] * 4 == [set(row["proofs"]) for row in after_a_glance.values()]
    assert {"proven"} == set(verdicts(whole).values())
    assert [{"checked", "verified"}] * 4 == [set(row["proofs"]) for row in after_a_read.values()]
    assert [row["size_bytes"] for row in after_a_read.values()] == [
        row["read_bytes"] for row in whole.json
    ]
    assert {row["id"]: "verified" for row in after_a_read.values()} == {
        proof["backup_id"]: proof["how"] for proof in status["proofs"]
    }
    assert "proven           verified " in shown


def test_a_damaged_backup_is_found_kept_in_mind_and_never_reused(
    backupd: Command, objects: Objects
) -> None:
    bad = rows(backupd)[IMAGE]
    spoil(objects, bad["archive_key"])

    found = backupd("verify", IMAGE, OTHER, "--data", "--quiet")
    again = succeeded(backupd("backup", IMAGE, OTHER, "--json")).json

    assert (6, "") == (found.code, found.stdout)
    assert the_sentence(found).startswith(f"backup {bad['id']} is damaged: ")
    assert {IMAGE: "saved", OTHER: "unchanged"} == {row["name"]: row["state"] for row in again}
    assert 6 == backupd("verify", bad["id"]).code
    assert 0 == backupd("verify", rows(backupd)[IMAGE]["id"], "--data").code


def test_a_missing_archive_is_found_without_reading(backupd: Command, objects: Objects) -> None:
    objects.remove(rows(backupd)[CONTAINER]["archive_key"])

    result = backupd("verify", "--sample", "1%", "--json")

    assert (6, "damaged") == (result.code, verdicts(result)[CONTAINER])
    assert {"damaged"} == set(rows(backupd)[CONTAINER]["states"])


def test_a_sample_goes_on_where_the_last_one_ended(backupd: Command, objects: Objects) -> None:
    del objects
    proven = [verdicts(backupd("verify", "--data", "--sample", "25%", "--json")) for _ in range(4)]

    assert [1] * 4 == [len(found) for found in proven]
    assert {IMAGE, OTHER, "both", CONTAINER} == {name for found in proven for name in found}


def test_what_names_no_backup_is_not_verified(backupd: Command, objects: Objects) -> None:
    del objects

    assert 5 == backupd("verify", "no-such-thing").code
    assert 2 == backupd("verify", IMAGE, "--all").code
    assert 2 == backupd("verify", "--sample", "0").code
