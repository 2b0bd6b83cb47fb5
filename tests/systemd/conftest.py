"""Machines with a real systemd, an engine to back up and an S3 server that they reach."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import docker
import pytest

from tests.servers.dockerd import Engine, EngineMissing
from tests.servers.rootfs import base_image
from tests.servers.seaweedfs import SeaweedFS
from tests.systemd import rootfs
from tests.systemd.doorway import doorway
from tests.systemd.machine import Machine
from tests.systemd.scene import DOCKER_GROUP, Scene


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The engine on which the machines run, and which they back up."""
    with Engine() as started:
        if not started.host.startswith("unix://"):
            raise EngineMissing(f"the machines need an engine with a socket, not {started.host}")
        if started.is_ours:
            os.chown(socket_of(started), 0, DOCKER_GROUP)
        yield started


@pytest.fixture(scope="session")
def s3(engine: Engine) -> Iterator[SeaweedFS]:
    """A real S3 server, at the same address here and in the machines."""
    with ExitStack() as stack:
        server = stack.enter_context(SeaweedFS())
        if engine.is_ours:
            port = urlsplit(server.endpoint).port
            assert port is not None
            stack.enter_context(doorway(engine.network, port))
        yield server


@pytest.fixture(scope="session")
def image(engine: Engine) -> str:
    """A Debian with systemd, and backupd in a virtual environment below /opt."""
    return rootfs.build(engine.client())


@pytest.fixture
def api(engine: Engine) -> docker.APIClient:
    """A connection to the engine, which has the image that is backed up."""
    client = engine.client()
    base_image(client)
    return client


@pytest.fixture
def machine(api: docker.APIClient, engine: Engine, image: str) -> Iterator[Machine]:
    """A machine that was booted just now, with backupd installed by pip and nothing more."""
    made = Machine(api, image, socket_of(engine))
    try:
        made.boot()
        yield made
    finally:
        made.remove()


@pytest.fixture
def scene(machine: Machine, engine: Engine, s3: SeaweedFS) -> Scene:
    """The same after `backupd install`, with a policy for a bucket of its own; not yet started."""
    return Scene.make(machine, s3, socket_group=socket_of(engine).stat().st_gid)


def socket_of(engine: Engine) -> Path:
    """The engine's socket."""
    return Path(engine.host.removeprefix("unix://"))
