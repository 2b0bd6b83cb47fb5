"""What must be equal before and after a loss: images, and the files of containers."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import docker
import docker.errors

from tests.integration.command import Result
from tests.servers.rootfs import Layer, base_image, build_image, folder

CAPABILITY = "SCHILY.xattr.security.capability"
"""Where a tar keeps the capabilities of a file."""

_MADE_BY_DOCKER = ("dev", ".dockerenv", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab")


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """All that makes an image what it is."""

    id: str
    tags: tuple[str, ...]
    layers: tuple[str, ...]
    history: tuple[tuple[str, int, int], ...]
    """For each step what made it, when (in seconds), and how many bytes it added."""
    config: dict[str, Any]
    author: str


@dataclass(frozen=True, slots=True)
class FileFacts:
    """All that a tar says of one file."""

    kind: bytes
    mode: int
    owner: tuple[int, int]
    size_bytes: int
    sha256: str
    mtime: int | None
    """None for directories and Docker's own files, which a new container touches."""
    target: str
    device: tuple[int, int]
    capability: str


def image_facts(api: docker.APIClient, reference: str) -> ImageFacts:
    """The facts as the engine tells them now."""
    found = api.inspect_image(reference)
    return ImageFacts(
        id=found["Id"],
        tags=tuple(sorted(found["RepoTags"])),
        layers=tuple(found["RootFS"]["Layers"]),
        history=tuple(
            (step["CreatedBy"], step["Created"], step["Size"]) for step in api.history(reference)
        ),
        config=found["Config"],
        author=found["Author"],
    )


def make_image(
    api: docker.APIClient, *tags: str, text: str = "first", layers: Sequence[Layer] = ()
) -> ImageFacts:
    """An image of a few layers; another `text` makes it another image."""
    own: list[Layer] = [{"etc/motd": b"in between\n"}, {"etc/motd": text.encode(), "srv": folder()}]
    build_image(api, *tags, layers=[*layers, *own], config={"Labels": {"text": text}})
    return image_facts(api, tags[0])


def has_image(api: docker.APIClient, reference: str) -> bool:
    """Whether the engine has such an image."""
    try:
        api.inspect_image(reference)
    except docker.errors.ImageNotFound:
        return False
    return True


def lose(api: docker.APIClient, *references: str) -> None:
    """Remove images, by tags or ids; the ids among them must be gone then."""
    for reference in references:
        api.remove_image(reference, force=True)


def image_ids(api: docker.APIClient) -> set[str]:
    """The ids of all images of the engine, dangling ones included."""
    return {found["Id"] for found in api.images()}


def files_of(api: docker.APIClient, container: str) -> dict[str, FileFacts]:
    """The files of a container by their paths, as the engine exports them."""
    return files_in(exported(api, container))


def files_in(tar_bytes: bytes) -> dict[str, FileFacts]:
    """The files of a tar by their paths."""
    with tarfile.open(fileobj=io.BytesIO(tar_bytes)) as tar:
        return {member.name: _facts(tar, member) for member in tar}


def files_at(api: docker.APIClient, container: str, path: str) -> dict[str, FileFacts]:
    """The files at a path of a container by their paths below it, as the engine reads them."""
    chunks, _ = api.get_archive(container, f"{path}/.")
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        return {member.name: _facts(tar, member) for member in tar}


def files_of_image(api: docker.APIClient, reference: str, name: str) -> dict[str, FileFacts]:
    """The files of an image: of a container `name` that is made of it and never started."""
    # An imported image may have no command, and the engine insists on one.
    container = api.create_container(reference, ["true"], name=name)
    return files_of(api, container["Id"])


def start_container(
    api: docker.APIClient, name: str, image: str = "", command: list[str] | None = None
) -> str:
    """The id of a running container that waits, or runs `command`, in the base image or another."""
    made = api.create_container(
        image or base_image(api), command or ["sleep", "1000"], name=name, stop_signal="SIGKILL"
    )
    api.start(made)
    return str(made["Id"])


def run_inside(api: docker.APIClient, container: str, script: str) -> str:
    """What a script printed inside the running container."""
    job = str(api.exec_create(container, ["sh", "-ec", script])["Id"])
    said = api.exec_start(job).decode()
    if api.exec_inspect(job)["ExitCode"] != 0:
        raise RuntimeError(f"the script failed in {container}: {said}")
    return str(said)


def output_of(api: docker.APIClient, image: str, name: str) -> str:
    """What a new container of the image prints, run with nothing but the image's own settings."""
    container = api.create_container(image, name=name)
    api.start(container)
    api.wait(container)
    return str(api.logs(container).decode())


def saved(api: docker.APIClient, reference: str) -> bytes:
    """The tar of `docker save`."""
    return b"".join(api.get_image(reference))


def exported(api: docker.APIClient, container: str) -> bytes:
    """The tar of `docker export`."""
    return b"".join(api.export(container))


def succeeded(result: Result) -> Result:
    """The result itself, of a command that must have ended well for the test to go on."""
    assert result.code == 0, f"exit code {result.code}:\n{result.stdout}{result.stderr}"
    return result


def _facts(tar: tarfile.TarFile, member: tarfile.TarInfo) -> FileFacts:
    content = tar.extractfile(member) if member.isreg() else None
    is_dockers = any(
        member.name == name or member.name.startswith(f"{name}/") for name in _MADE_BY_DOCKER
    )
    return FileFacts(
        kind=member.type,
        mode=member.mode & 0o7777,
        owner=(member.uid, member.gid),
        size_bytes=member.size,
        sha256=hashlib.sha256(content.read()).hexdigest() if content else "",
        mtime=None if member.isdir() or is_dockers else int(member.mtime),
        target=member.linkname,
        device=(member.devmajor, member.devminor),
        capability=member.pax_headers.get(CAPABILITY, ""),
    )
