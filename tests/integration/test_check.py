"""`backupd check`: whether it would work now, what would be backed up, and that nothing changes."""

from __future__ import annotations

from typing import Any

import docker
import pytest

from tests.integration.command import Command
from tests.integration.conftest import WritePolicy
from tests.integration.objects import Objects
from tests.integration.trees import (
    image_ids,
    make_image,
    run_inside,
    start_container,
    succeeded,
)
from tests.servers.dockerd import Engine
from tests.servers.seaweedfs import SeaweedFS

IMAGE = "backupd-test-checked:1"
CONTAINER, CHANGED = "backupd-test-web", "backupd-test-db"


@pytest.fixture
def checked(
    api: docker.APIClient, policy: WritePolicy, backupd: Command, bucket: dict[str, Any]
) -> Command:
    """The command, with a policy that selects an image and two containers, one of them changed."""
    make_image(api, IMAGE)
    api.create_container(IMAGE, name=CONTAINER)
    start_container(api, CHANGED)
    run_inside(api, CHANGED, "echo paid > /orders; echo late > /tmp/late")
    policy({"nightly": {"images": [IMAGE], "containers": [CONTAINER, CHANGED]}})
    return backupd


def test_check_tells_which_containers_need_an_export(checked: Command) -> None:
    report = succeeded(checked("check", "--json")).json

    assert {
        IMAGE: (None, ""),
        CONTAINER: (0, "unchanged: saving its image is enough"),
        CHANGED: (3, "changed: 3 paths differ from its image, export it"),
    } == {source["name"]: (source["changes"], source["advice"]) for source in report["sources"]}


def test_check_for_people_says_that_all_is_well(
    checked: Command, bucket: dict[str, Any], engine: Engine
) -> None:
    lines = succeeded(checked("check")).stdout.splitlines()

    assert ["policy   valid", f"store    {bucket['url']}"] == [
        lines[0],
        lines[2].removesuffix(" can be written, read, listed and deleted from"),
    ]
    assert lines[1].endswith(f"answers at {engine.host}")
    assert lines[4].startswith("stored ")
    assert lines[4].endswith(": in the clear")
    assert ["image", "container", "container"] == [line.split()[1] for line in lines[7:]]


def test_check_tells_the_size_of_what_would_be_backed_up(
    checked: Command, api: docker.APIClient
) -> None:
    report = succeeded(checked("check", "--json")).json
    sizes = {source["name"]: source["size_bytes"] for source in report["sources"]}

    assert api.inspect_image(IMAGE)["Size"] == sizes[IMAGE]
    assert [True] * 2 == [sizes[name] > 1_000_000 for name in (CONTAINER, CHANGED)]


def test_check_changes_nothing(
    checked: Command, api: docker.APIClient, s3: SeaweedFS, bucket: dict[str, Any]
) -> None:
    succeeded(checked("backup"))
    objects = Objects(s3, bucket)
    before = objects.sizes(), image_ids(api), api.containers(all=True, quiet=True)
    succeeded(checked("check"))

    assert before == (objects.sizes(), image_ids(api), api.containers(all=True, quiet=True))


def test_check_leaves_an_empty_bucket_empty(
    checked: Command, s3: SeaweedFS, bucket: dict[str, Any]
) -> None:
    succeeded(checked("check"))

    assert {} == Objects(s3, bucket).sizes()


def test_check_names_what_is_missing(checked: Command, policy: WritePolicy) -> None:
    policy({"nightly": {"images": ["backupd-test-missing:1"], "containers": ["none"]}})
    result = checked("check", "--json")

    assert (1, ["jobs.nightly.images[0]", "jobs.nightly.containers[0]"]) == (
        result.code,
        [item["where"] for item in result.json["missing"]],
    )
