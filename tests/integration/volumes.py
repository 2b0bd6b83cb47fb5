"""Volumes for tests: made, filled and looked at through a container that is never started."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from typing import Any

import docker
from docker.types import Mount

from tests.integration.trees import FileFacts, files_at
from tests.servers.rootfs import Entry, base_image, layer_tar

PLACE = "/v"
HELPERS = {"label": "io.backupd.helper.owner"}


def make_volume(
    api: docker.APIClient, name: str, files: dict[str, Entry] | None = None, **options: Any
) -> str:
    """The name of a new volume with these files; `./` is the volume's own directory."""
    api.create_volume(name, **options)
    fill(api, name, files or {})
    return name


def fill(api: docker.APIClient, volume: str, files: dict[str, Entry]) -> None:
    """Put files into a volume."""
    container = looking_at(api, volume)
    inside = {f"{PLACE[1:]}/{path.removeprefix('./')}": entry for path, entry in files.items()}
    api.put_archive(container, "/", layer_tar(inside))
    api.remove_container(container)


def files_in(api: docker.APIClient, volume: str) -> dict[str, FileFacts]:
    """The files of a volume by their paths, each beginning with `./`."""
    container = looking_at(api, volume)
    found = files_at(api, container, PLACE)
    api.remove_container(container)
    return found


def looking_at(api: docker.APIClient, source: str) -> str:
    """The id of a container that mounts a volume or a directory, and is never started."""
    mounts = [Mount(PLACE, source, type="bind" if source.startswith("/") else "volume")]
    config = api.create_host_config(mounts=mounts)
    return str(api.create_container(base_image(api), ["true"], host_config=config)["Id"])


def start_with(
    api: docker.APIClient, name: str, script: str, sources: Sequence[str], **options: Any
) -> str:
    """The id of a running service that has each source at `/1`, `/2` … in their order."""
    mounts = [
        Mount(f"/{number}", source, type="bind" if source.startswith("/") else "volume")
        for number, source in enumerate(sources, 1)
    ]
    config = api.create_host_config(mounts=mounts)
    made = api.create_container(
        base_image(api), ["sh", "-c", script], name=name, host_config=config, **options
    )
    api.start(made)
    return str(made["Id"])


def helpers(api: docker.APIClient) -> list[str]:
    """What is there of helpers: containers and images, of any backupd."""
    containers = api.containers(all=True, filters=HELPERS)
    return [found["Id"] for found in [*containers, *api.images(all=True, filters=HELPERS)]]


def text_in(tar: bytes, path: str) -> str:
    """The text of one file of a tar."""
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        file = opened.extractfile(path)
        assert file is not None
        return file.read().decode()
