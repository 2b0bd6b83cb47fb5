"""What the tests of the whole command share: real engines, real S3 servers, and the command itself.

Engines and servers live for the whole run; what a test makes on them is removed after it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest

from tests.integration.command import Command
from tests.servers.dockerd import Engine
from tests.servers.seaweedfs import FULL, SeaweedFS

OWN_PREFIX = "backupd-test"
"""What tests name their things; on an engine that is not ours nothing else is ever removed."""

WritePolicy = Callable[..., Path]
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The engine that is backed up."""
    with Engine() as started:
        yield started


@pytest.fixture(scope="session")
def second_engine() -> Iterator[Engine]:
    """Another engine, as on another machine: it has nothing of the first one's."""
    with Engine(given="BACKUPD_TEST_SECOND_DOCKER_HOST") as started:
        yield started


@pytest.fixture
def api(engine: Engine) -> Iterator[docker.APIClient]:
    """A connection to the engine; what is new there afterwards goes with the test."""
    with leaving_no_trace(engine) as client:
        yield client


@pytest.fixture
def second_api(second_engine: Engine) -> Iterator[docker.APIClient]:
    """A connection to the second engine; what is new there afterwards goes with the test."""
    with leaving_no_trace(second_engine) as client:
        yield client


@pytest.fixture(scope="session")
def s3() -> Iterator[SeaweedFS]:
    """A real S3 server, over http and https."""
    with SeaweedFS() as server:
        yield server


@pytest.fixture
def bucket(s3: SeaweedFS) -> dict[str, Any]:
    """A new bucket over http, as the policy's section `store`."""
    return store_section(s3)


@pytest.fixture
def bucket_https(s3: SeaweedFS) -> dict[str, Any]:
    """A new bucket over https, as the policy's section `store`."""
    secure = {"endpoint": s3.secure_endpoint, "ca_bundle": str(s3.ca_bundle)}
    return {**store_section(s3), **secure}


@pytest.fixture
def backupd(tmp_path: Path) -> Command:
    """The command, with policy, state and home below `tmp_path`."""
    return Command(tmp_path)


@pytest.fixture
def policy(backupd: Command, engine: Engine, request: pytest.FixtureRequest) -> WritePolicy:
    """Writes the policy that `backupd` reads: `policy(jobs, store=…, any_section=…)`.

    Without `store` it is the test's own bucket, without `docker` the test's engine; a section
    given as None is left out.
    """

    def write(jobs: Mapping[str, Any], **sections: Any) -> Path:
        if "store" not in sections:
            sections["store"] = request.getfixturevalue("bucket")
        whole = {
            "host": "testhost",
            "state_dir": str(backupd.state_dir),
            "docker": {"host": engine.host},
            **sections,
            "jobs": dict(jobs),
        }
        return backupd.write({name: part for name, part in whole.items() if part is not None})

    return write


def store_section(server: SeaweedFS, *, locks: bool = False) -> dict[str, Any]:
    """A new bucket of the server, as the policy's section `store`, over http.

    With `locks` it has object lock; the policy does not ask for it.
    """
    name = f"{OWN_PREFIX}-{next(_numbers)}"
    server.make_bucket(name, locks=locks)
    return {
        "url": f"s3://{name}/docker",
        "endpoint": server.endpoint,
        "access_key": FULL.access_key,
        "secret_key": FULL.secret_key,
    }


@contextmanager
def leaving_no_trace(engine: Engine) -> Iterator[docker.APIClient]:
    """A connection; afterwards the engine runs again and has only what it had before."""
    client = engine.client()
    before = _things(client)
    try:
        yield client
    finally:
        if engine.is_ours and not engine.answers():
            engine.restart()
        for kind, identity in sorted(_things(client) - before):
            if engine.is_ours or OWN_PREFIX in identity:
                _remove(client, kind, identity)


def _things(client: docker.APIClient) -> set[tuple[str, str]]:
    """All containers, images (by tag, or by id if there is none), volumes and networks.

    Their kinds sort in the order in which they can be removed.
    """
    containers = {
        ("1 container", each["Names"][0].lstrip("/")) for each in client.containers(all=True)
    }
    images = {
        ("2 image", name)
        for each in client.images()
        for name in [tag for tag in each["RepoTags"] or () if tag != "<none>:<none>"]
        or [each["Id"]]
    }
    volumes = {("3 volume", each["Name"]) for each in client.volumes()["Volumes"] or ()}
    networks = {("4 network", each["Name"]) for each in client.networks()}
    return containers | images | volumes | networks


def _remove(client: docker.APIClient, kind: str, identity: str) -> None:
    # An image may be gone already with its last tag or its parent.
    with suppress(docker.errors.NotFound):
        if kind == "1 container":
            with suppress(docker.errors.APIError):
                client.unpause(identity)
            client.remove_container(identity, force=True, v=True)
        elif kind == "2 image":
            client.remove_image(identity, force=True)
        elif kind == "3 volume":
            client.remove_volume(identity, force=True)
        else:
            client.remove_network(identity)
