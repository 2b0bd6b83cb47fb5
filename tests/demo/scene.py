"""What the demo plays with: a small image, a container that was changed, and what they were like.

Everything here is named `backupd-demo…`, and nothing else on the engine is ever touched.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import docker
import docker.errors

from tests.servers.rootfs import base_image, build_dockerfile

OWN_PREFIX = "backupd-demo"
BASE = "backupd-demo-base:1"
IMAGE = "backupd-demo:1"
CONTAINER = "backupd-demo-shop"
RESTORED = "backupd-demo-shop:restored"
RESTORED_CONTAINER = "backupd-demo-shop-again"
CHANGED_FILE = "/srv/orders.txt"
CHANGED_TEXT = "order 1\norder 2, paid\n"
DELETED_FILE = "/srv/draft.txt"

DOCKERFILE = f"""\
FROM {BASE}
COPY page.html /srv/page.html
RUN echo 'order 1' > {CHANGED_FILE} && echo draft > {DELETED_FILE}
ENV GREETING="hello, \\"world\\" for \\$5"
LABEL shop.owner="the demo"
WORKDIR /srv
STOPSIGNAL SIGKILL
CMD ["sh", "-c", "echo \\"$GREETING\\"; cat page.html orders.txt; exec sleep 3600"]
"""

_RUN_PARTS = ("Cmd", "Entrypoint", "Env", "Labels", "WorkingDir", "User", "StopSignal")


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What must be the same after an image was lost and restored."""

    id: str
    tags: list[str]
    layers: list[str]
    history: list[tuple[str, int]]

    @classmethod
    def of(cls, api: docker.APIClient, reference: str) -> ImageFacts:
        """The facts as the engine tells them now."""
        found = api.inspect_image(reference)
        steps = api.history(reference)
        return cls(
            found["Id"],
            found["RepoTags"],
            found["RootFS"]["Layers"],
            [(step["CreatedBy"], step["Created"]) for step in steps],
        )


def make_image(api: docker.APIClient) -> ImageFacts:
    """Build the image, in three layers."""
    base_image(api, BASE)
    build_dockerfile(api, IMAGE, DOCKERFILE, {"page.html": b"<h1>our shop</h1>\n"})
    return ImageFacts.of(api, IMAGE)


def make_container(api: docker.APIClient) -> dict[str, Any]:
    """Run the image, change a file and delete another; how the container is configured."""
    api.create_container(IMAGE, name=CONTAINER, environment={"SHOP": "no. 1"})
    api.start(CONTAINER)
    run_inside(api, CONTAINER, f"echo 'order 2, paid' >> {CHANGED_FILE}; rm {DELETED_FILE}")
    return running_parts(api.inspect_container(CONTAINER)["Config"])


def run_restored(api: docker.APIClient) -> str:
    """Run the restored image with nothing but its own configuration; what it printed so far."""
    api.create_container(RESTORED, name=RESTORED_CONTAINER)
    api.start(RESTORED_CONTAINER)
    # Its last command takes the place of the shell, so by then all has been printed.
    lines = api.logs(RESTORED_CONTAINER, stream=True, follow=True)
    printed = b""
    for piece in lines:
        printed += piece
        if printed.count(b"\n") >= 4:
            break
    return printed.decode()


def run_inside(api: docker.APIClient, container: str, script: str) -> str:
    """What the script printed inside the running container."""
    job = api.exec_create(container, ["sh", "-c", script])
    return api.exec_start(str(job["Id"])).decode()


def running_parts(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a configuration that decides how a container runs; order of ENV is no matter."""
    parts = {name: config.get(name) or None for name in _RUN_PARTS}
    return {**parts, "Env": sorted(parts["Env"] or [])}


def exists(api: docker.APIClient, reference: str) -> bool:
    """Whether the engine has such an image."""
    try:
        api.inspect_image(reference)
    except docker.errors.ImageNotFound:
        return False
    return True


def clear(api: docker.APIClient) -> None:
    """Remove every container and image whose name begins `backupd-demo`, and nothing else."""
    for found in api.containers(all=True):
        if any(name.lstrip("/").startswith(OWN_PREFIX) for name in found["Names"] or ()):
            api.remove_container(found["Id"], force=True, v=True)
    for found in api.images():
        for tag in found["RepoTags"] or ():
            if tag.startswith(OWN_PREFIX):
                with suppress(docker.errors.ImageNotFound):
                    api.remove_image(tag, force=True)
