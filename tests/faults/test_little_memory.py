"""In 256 MiB of memory, all that the kernel gives, a large container and image go and come back."""

from __future__ import annotations

import signal
import subprocess
import sys

import docker

from tests.integration.command import Command
from tests.integration.conftest import WritePolicy
from tests.integration.trees import lose, succeeded
from tests.servers.memory_limit import memory_limited
from tests.servers.rootfs import base_image

CONTAINER, IMAGE = "backupd-test-little", "backupd-test-little:1"
MIB = 1 << 20
LIMIT_BYTES = 256 * MIB
BIG_MIB = 400
WRITE = f"dd if=/dev/urandom of=/random bs=1048576 count={BIG_MIB} 2>/dev/null; sha256sum /random"


def test_a_container_and_an_image_larger_than_all_memory_are_backed_up_and_restored(
    api: docker.APIClient, backupd: Command, policy: WritePolicy
) -> None:
    api.create_container(base_image(api), ["sh", "-c", WRITE], name=CONTAINER)
    api.start(CONTAINER)
    api.wait(CONTAINER)
    policy({"nightly": {"schedule": "@daily", "images": [IMAGE], "containers": [CONTAINER]}})
    digest = api.logs(CONTAINER).decode()
    with memory_limited(LIMIT_BYTES) as group:
        succeeded(backupd("backup", CONTAINER, before=group.before))
        again = ("restore", "container", CONTAINER, "--tag", IMAGE)
        succeeded(backupd(*again, before=group.before))
        succeeded(backupd("backup", IMAGE, before=group.before))
        lose(api, IMAGE)
        succeeded(backupd("restore", "image", IMAGE, before=group.before))
        taken_bytes = group.peak_bytes
    api.create_container(IMAGE, ["sha256sum", "/random"], name=f"{CONTAINER}-back")
    api.start(f"{CONTAINER}-back")
    api.wait(f"{CONTAINER}-back")

    assert digest == api.logs(f"{CONTAINER}-back").decode()
    assert 0 < taken_bytes <= LIMIT_BYTES


def test_the_limit_holds() -> None:
    hungry = [sys.executable, "-c", f"bytearray(b'x') * {LIMIT_BYTES}"]
    with memory_limited(LIMIT_BYTES) as group:
        done = subprocess.run([*group.before, *hungry], check=False)

    assert -signal.SIGKILL == done.returncode
