"""An image that was backed up, lost and restored is the same in every way that it can be saved."""

from __future__ import annotations

import json
from typing import Any

import docker
import pytest

from tests.integration.command import Command
from tests.integration.conftest import WritePolicy
from tests.integration.trees import image_facts, lose, make_image, succeeded
from tests.servers.dockerd import Engine
from tests.servers.rootfs import Layer

IMAGE, OTHER = "backupd-test-app:1", "backupd-test-app:2"


@pytest.mark.parametrize("kind", ["bucket", "bucket_https", "directory"])
def test_a_lost_image_comes_back_from_each_store_just_as_it_was(
    kind: str,
    api: docker.APIClient,
    policy: WritePolicy,
    backupd: Command,
    request: pytest.FixtureRequest,
) -> None:
    directory = {"url": f"file://{backupd.directory}/store"}
    store = directory if kind == "directory" else request.getfixturevalue(kind)
    before = make_image(api, IMAGE, layers=[{"srv/large": bytes(range(256)) * 40_000}])
    policy({"nightly": {"images": [IMAGE]}}, store=store)
    succeeded(backupd("backup"))
    lose(api, IMAGE)
    succeeded(backupd("restore", "image", IMAGE))

    assert before == image_facts(api, IMAGE)


@pytest.mark.parametrize("compression", [{"zstd": 1}, {"gzip": 1}, "none"], ids=str)
def test_an_image_comes_back_from_each_compression(
    compression: Any, api: docker.APIClient, policy: WritePolicy, backupd: Command
) -> None:
    before = make_image(api, IMAGE)
    store = {"url": f"file://{backupd.directory}/store"}
    policy({"nightly": {"images": [IMAGE]}}, store=store, compression=compression)
    succeeded(backupd("backup"))
    lose(api, IMAGE)
    succeeded(backupd("restore", "image", IMAGE))

    assert before == image_facts(api, IMAGE)


def test_an_image_of_a_registry_with_a_port_comes_back_under_its_whole_name(
    api: docker.APIClient, policy: WritePolicy, backupd: Command
) -> None:
    reference = "registry.example.com:5000/backupd-test/app:v1.2"
    before = make_image(api, reference)
    policy({"nightly": {"images": [reference]}})
    succeeded(backupd("backup"))
    lose(api, reference)
    succeeded(backupd("restore", "image", reference))

    assert before == image_facts(api, reference)


def test_an_image_that_was_backed_up_by_its_id_comes_back_without_a_tag(
    api: docker.APIClient, policy: WritePolicy, backupd: Command
) -> None:
    image = make_image(api, IMAGE)
    policy({"nightly": {"images": [image.id]}})
    succeeded(backupd("backup"))
    lose(api, image.id)
    succeeded(backupd("restore", "image", image.id))

    assert ((), image.layers) == (
        image_facts(api, image.id).tags,
        image_facts(api, image.id).layers,
    )


def test_an_image_that_was_backed_up_by_its_digest_comes_back_without_a_tag(
    engine: Engine, api: docker.APIClient, policy: WritePolicy, backupd: Command
) -> None:
    image = make_image(api, IMAGE)
    reference = with_digest(engine, image.id)
    policy({"nightly": {"images": [reference]}})
    succeeded(backupd("backup"))
    lose(api, image.id)
    succeeded(backupd("restore", "image", reference))

    assert ((), image.layers) == (
        image_facts(api, image.id).tags,
        image_facts(api, image.id).layers,
    )


def with_digest(engine: Engine, image_id: str) -> str:
    """`name@sha256:…` of an image, as engines note it for what they pulled from a registry."""
    reference = f"backupd-test-app@sha256:{'ab' * 32}"
    engine.kill()
    (notes,) = engine.data_root.glob("image/*/repositories.json")
    noted = json.loads(notes.read_text())
    noted["Repositories"]["backupd-test-app"][reference] = image_id
    notes.write_text(json.dumps(noted))
    engine.restart()
    return reference


def test_a_tag_comes_back_from_an_archive_that_was_saved_without_one(
    api: docker.APIClient, policy: WritePolicy, backupd: Command
) -> None:
    before = make_image(api, IMAGE)
    policy({"nightly": {"images": [before.id, IMAGE]}})
    succeeded(backupd("backup"))
    lose(api, before.id)
    succeeded(backupd("restore", "image", IMAGE))

    assert before == image_facts(api, IMAGE)


def test_a_bundle_of_which_one_image_is_left_comes_back_whole(
    api: docker.APIClient, policy: WritePolicy, backupd: Command
) -> None:
    shared: Layer = {"srv/shared": b"by both"}
    one = make_image(api, IMAGE, layers=[shared])
    two = make_image(api, OTHER, text="second", layers=[shared])
    policy({"stack": {"images": [{"bundle": "webstack", "images": [IMAGE, OTHER]}]}})
    succeeded(backupd("backup"))
    succeeded(backupd("backup"))
    lose(api, OTHER)
    succeeded(backupd("restore", "bundle", "webstack"))

    assert (one, two) == (image_facts(api, IMAGE), image_facts(api, OTHER))
