"""From the engine into moto's bucket and back: a second server, that imitates Amazon's."""

from __future__ import annotations

import os
from collections.abc import Iterator

import docker
import pytest

from tests.integration.command import Command
from tests.integration.conftest import WritePolicy
from tests.integration.trees import lose, make_image, succeeded
from tests.servers.moto import MotoServer

IMAGE, BUCKET = "backupd-test-moto:1", "backupd-test-moto"


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoServer]:
    with MotoServer() as server:
        server.make_bucket(BUCKET)
        yield server


def test_an_image_goes_to_moto_and_comes_back(
    api: docker.APIClient, policy: WritePolicy, backupd: Command, moto: MotoServer
) -> None:
    store = {"url": f"s3://{BUCKET}/docker", "endpoint": moto.endpoint, "part_size": "5MiB"}
    keys = {"access_key": "any", "secret_key": "any-at-all"}
    jobs = {"nightly": {"images": [IMAGE], "retention": {"keep_last": 1}}}
    policy(jobs, store={**store, **keys}, compression="none")
    before = make_image(api, IMAGE, layers=[{"big": os.urandom(6 << 20)}])

    for verb in (("check",), ("backup",), ("backup",), ("verify", "--data"), ("prune",)):
        succeeded(backupd(*verb))
    lose(api, IMAGE)
    succeeded(backupd("restore", "image", IMAGE))

    assert (before.id, 1) == (
        api.inspect_image(IMAGE)["Id"],
        len(succeeded(backupd("list", "--json")).json),
    )
