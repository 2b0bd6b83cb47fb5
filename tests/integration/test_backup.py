"""`backupd backup`: what goes into the store, and what does not go there twice."""

from __future__ import annotations

import json
from typing import Any

import docker
import pytest

from tests.integration.command import Command
from tests.integration.conftest import WritePolicy
from tests.integration.objects import Objects
from tests.integration.trees import lose, make_image, succeeded
from tests.servers.rootfs import Layer
from tests.servers.seaweedfs import SeaweedFS

IMAGE, SECOND_TAG = "backupd-test-app:1", "backupd-test-app:2"
MANIFEST_LIMIT_BYTES = 4_000


@pytest.fixture
def objects(s3: SeaweedFS, bucket: dict[str, Any]) -> Objects:
    return Objects(s3, bucket)


def states(backupd: Command, *arguments: str) -> dict[str, str]:
    """Name → state of every source of one run."""
    rows = succeeded(backupd("backup", "--json", *arguments)).json
    return {row["name"]: row["state"] for row in rows}


def test_two_tags_of_one_image_share_one_archive(
    api: docker.APIClient, policy: WritePolicy, backupd: Command, objects: Objects
) -> None:
    make_image(api, IMAGE, SECOND_TAG)
    policy({"nightly": {"images": [IMAGE, SECOND_TAG]}})

    assert {IMAGE: "saved", SECOND_TAG: "unchanged"} == states(backupd)
    assert 1 == len(objects.archives())


def test_two_jobs_share_the_archive_of_one_image(
    api: docker.APIClient, policy: WritePolicy, backupd: Command, objects: Objects
) -> None:
    make_image(api, IMAGE)
    policy({"nightly": {"images": [IMAGE]}, "weekly": {"images": [IMAGE]}})
    rows = succeeded(backupd("backup", "--json")).json

    assert [("nightly", "saved"), ("weekly", "unchanged")] == [
        (row["job"], row["state"]) for row in rows
    ]
    assert 1 == len(objects.archives())


def test_an_unchanged_image_costs_one_small_manifest(
    api: docker.APIClient, policy: WritePolicy, backupd: Command, objects: Objects
) -> None:
    make_image(api, IMAGE)
    policy({"nightly": {"images": [IMAGE]}})
    states(backupd)
    before = objects.sizes()

    assert {IMAGE: "unchanged"} == states(backupd)
    added = {key: size for key, size in objects.sizes().items() if key not in before}
    assert [True] == [0 < size < MANIFEST_LIMIT_BYTES for size in added.values()]


def test_an_image_that_moved_under_its_tag_is_read(
    api: docker.APIClient, policy: WritePolicy, backupd: Command, objects: Objects
) -> None:
    make_image(api, IMAGE)
    policy({"nightly": {"images": [IMAGE]}})
    states(backupd)
    make_image(api, IMAGE, text="second")

    assert {IMAGE: "saved"} == states(backupd)
    assert 2 == len(objects.archives())


def test_a_reuse_max_age_of_zero_reads_an_unchanged_image_again(
    api: docker.APIClient, policy: WritePolicy, backupd: Command, objects: Objects
) -> None:
    make_image(api, IMAGE)
    policy({"nightly": {"images": [IMAGE]}}, reuse_max_age="0")
    states(backupd)

    assert {IMAGE: "saved"} == states(backupd)
    assert 2 == len(objects.archives())


def test_another_compression_reads_an_unchanged_image_again(
    api: docker.APIClient, policy: WritePolicy, backupd: Command, objects: Objects
) -> None:
    make_image(api, IMAGE)
    policy({"nightly": {"images": [IMAGE]}})
    states(backupd)
    policy({"nightly": {"images": [IMAGE], "compression": "gzip"}})

    assert {IMAGE: "saved"} == states(backupd)
    assert [".tar.gz", "tar.zst"] == sorted(key[-7:] for key in objects.archives())


def test_an_archive_that_is_gone_is_uploaded_anew(
    api: docker.APIClient, policy: WritePolicy, backupd: Command, objects: Objects
) -> None:
    make_image(api, IMAGE)
    policy({"nightly": {"images": [IMAGE]}})
    states(backupd)
    objects.remove_archives()

    assert {IMAGE: "saved"} == states(backupd)
    assert 1 == len(objects.archives())


def test_an_archive_that_was_cut_short_is_uploaded_anew(
    api: docker.APIClient, policy: WritePolicy, backupd: Command, objects: Objects
) -> None:
    make_image(api, IMAGE)
    policy({"nightly": {"images": [IMAGE]}})
    states(backupd)
    (archive,) = objects.archives()
    objects.write(archive, objects.read(archive)[:-1])

    assert {IMAGE: "saved"} == states(backupd)
    assert 2 == len(objects.archives())


def test_a_bundle_holds_the_layers_that_its_images_share_once(
    api: docker.APIClient, policy: WritePolicy, backupd: Command, objects: Objects
) -> None:
    first, second = "backupd-test-bundled:1", "backupd-test-bundled:2"
    shared: Layer = {"srv/large": bytes(range(256)) * 4_000}
    make_image(api, first, text="first", layers=[shared])
    make_image(api, second, text="second", layers=[shared])
    bundle = {"bundle": "webstack", "images": [first, second]}
    policy({"stack": {"images": [bundle, first, second], "compression": "none"}})
    states(backupd)
    sizes = {key: size for key, size in objects.sizes().items() if key in objects.archives()}
    of_bundle = sum(size for key, size in sizes.items() if "/bundle/webstack/" in key)
    of_images = sum(size for key, size in sizes.items() if "/image/" in key)

    assert 3 == len(sizes)
    assert of_bundle < 0.6 * of_images


def test_an_unchanged_bundle_is_not_read_again(
    api: docker.APIClient, policy: WritePolicy, backupd: Command, objects: Objects
) -> None:
    make_image(api, IMAGE)
    make_image(api, SECOND_TAG, text="second")
    policy({"stack": {"images": [{"bundle": "webstack", "images": [IMAGE, SECOND_TAG]}]}})
    states(backupd)

    assert {"webstack": "unchanged"} == states(backupd)
    assert 1 == len(objects.archives())


def test_the_image_that_a_container_runs_is_saved_by_its_id_when_it_lost_its_tag(
    api: docker.APIClient, policy: WritePolicy, backupd: Command
) -> None:
    image = make_image(api, IMAGE)
    api.create_container(IMAGE, name="backupd-test-runs-old")
    make_image(api, IMAGE, text="second")
    policy({"nightly": {"images": [{"in_use": True}]}})

    assert {image.id: "saved"} == states(backupd)


def test_a_missing_image_fails_the_run_and_the_others_are_kept(
    api: docker.APIClient, policy: WritePolicy, backupd: Command, objects: Objects
) -> None:
    make_image(api, IMAGE)
    policy({"nightly": {"images": ["backupd-test-missing:1", IMAGE]}})
    result = backupd("backup", "--json")

    assert (1, {IMAGE: "saved", "backupd-test-missing:1": "failed"}) == (
        result.code,
        {row["name"]: row["state"] for row in result.json},
    )
    assert "check jobs.nightly.images[0]" in result.stderr
    assert 1 == len(objects.archives())


def test_a_pattern_that_matches_nothing_is_a_warning(
    api: docker.APIClient, policy: WritePolicy, backupd: Command
) -> None:
    make_image(api, IMAGE)
    policy({"nightly": {"images": [IMAGE, "backupd-test-none-*"], "containers": ["none-*"]}})
    result = succeeded(backupd("backup"))

    assert [
        "backupd: warning: jobs.nightly.images[1]: no image matches",
        "backupd: warning: jobs.nightly.containers[0]: no container matches",
    ] == result.stderr.splitlines()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], [("nightly", IMAGE), ("nightly", SECOND_TAG), ("weekly", IMAGE)]),
        (["weekly"], [("weekly", IMAGE)]),
        ([SECOND_TAG], [("nightly", SECOND_TAG)]),
        ([f"docker.io/library/{SECOND_TAG}"], [("nightly", SECOND_TAG)]),
        ([IMAGE], [("nightly", IMAGE), ("weekly", IMAGE)]),
        ([IMAGE, "--job", "weekly"], [("weekly", IMAGE)]),
        (["weekly", SECOND_TAG], [("nightly", SECOND_TAG), ("weekly", IMAGE)]),
    ],
    ids=["nothing", "a job", "a source", "its long name", "of two jobs", "of one job", "both"],
)
def test_only_what_is_named_is_backed_up(
    arguments: list[str],
    expected: list[tuple[str, str]],
    api: docker.APIClient,
    policy: WritePolicy,
    backupd: Command,
) -> None:
    make_image(api, IMAGE, SECOND_TAG)
    jobs = {"nightly": {"images": [IMAGE, SECOND_TAG]}, "weekly": {"images": [IMAGE]}}
    policy(jobs, store={"url": f"file://{backupd.directory}/store"})
    rows = succeeded(backupd("backup", "--json", *arguments)).json

    assert expected == sorted((row["job"], row["name"]) for row in rows)


def test_a_manifest_holds_no_environment_and_the_record_beside_the_archive_does(
    api: docker.APIClient, policy: WritePolicy, backupd: Command, objects: Objects
) -> None:
    make_image(api, IMAGE)
    api.create_container(
        IMAGE, name="backupd-test-secretive", environment={"DATABASE_PASSWORD": "swordfish"}
    )
    policy({"nightly": {"containers": ["backupd-test-secretive"]}})
    states(backupd)
    holders = [key for key in objects.sizes() if b"swordfish" in objects.read(key)]

    assert [True] == [key.endswith(".record.json") for key in holders]
    record = json.loads(objects.read(holders[0]))
    assert {"container", "image", "machine", "networks", "volumes", "schema"} <= record.keys()


def test_a_lost_image_fails_its_backup_and_leaves_the_old_one(
    api: docker.APIClient, policy: WritePolicy, backupd: Command, objects: Objects
) -> None:
    make_image(api, IMAGE)
    policy({"nightly": {"images": [IMAGE]}})
    states(backupd)
    before = objects.sizes()
    lose(api, IMAGE)

    assert 1 == backupd("backup").code
    assert before == objects.sizes()
