"""However large the archive, backing it up and bringing it back take the same few megabytes."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import docker
import pytest

from tests.integration.command import Command, Result
from tests.integration.conftest import WritePolicy
from tests.servers.rootfs import base_image

CONTAINER, IMAGE = "backupd-test-memory", "backupd-test-memory:1"
MIB = 1 << 20
BIG_MIB = 500
"""More than twice what the process may take: nothing that holds an archive whole passes."""
LIMIT_MIB = 200
MOST_HELD = "20MiB"
"""The size of parts of which most bytes are held: four of them are all that parts may take."""

# The peak of a process counts what it was forked from, so something small must start the command.
MEASURED = """\
import pathlib, resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
peak_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
pathlib.Path(sys.argv[1]).write_text(str(peak_kib))
sys.exit(code)
"""


def measured(backupd: Command, *words: str) -> tuple[Result, float]:
    """How the command ended, and the most memory that it held, in MiB."""
    peak = backupd.directory / "peak"
    result = backupd(*words, before=(sys.executable, "-c", MEASURED, str(peak)))
    return result, int(peak.read_text()) / 1024


@pytest.fixture
def big(api: docker.APIClient, policy: WritePolicy, bucket: dict[str, Any]) -> None:
    """A container with 500 MiB that no compression makes smaller, and a policy for it."""
    command = ["dd", "if=/dev/urandom", "of=/random", "bs=1048576", f"count={BIG_MIB}"]
    api.create_container(base_image(api), command, name=CONTAINER)
    api.start(CONTAINER)
    api.wait(CONTAINER)
    jobs = {"nightly": {"schedule": "@daily", "images": [IMAGE], "containers": [CONTAINER]}}
    policy(jobs, store={**bucket, "part_size": MOST_HELD})


def test_a_large_container_and_a_large_image_go_out_and_come_back_in_little_memory(
    api: docker.APIClient, backupd: Command, big: None
) -> None:
    exported, export_mib = measured(backupd, "backup", CONTAINER)
    back, load_mib = measured(backupd, "restore", "container", CONTAINER, "--tag", IMAGE)
    saved, save_mib = measured(backupd, "backup", IMAGE)
    rows: list[dict[str, Any]] = backupd("list", "--json").json

    assert [0, 0, 0] == [result.code for result in (exported, back, saved)]
    assert 2 == len(rows)
    assert all(row["stored_bytes"] > BIG_MIB * MIB for row in rows)
    peaks = {"export": export_mib, "load": load_mib, "save": save_mib}
    assert {} == {what: peak for what, peak in peaks.items() if peak >= LIMIT_MIB}


def test_the_measure_sees_what_a_command_takes(backupd: Command) -> None:
    peak = backupd.directory / "peak"
    hungry = [sys.executable, "-c", f"bytearray({256 * MIB})"]
    subprocess.run([sys.executable, "-c", MEASURED, peak, *hungry], check=True)
    hungry_mib = int(peak.read_text()) / 1024
    _, version_mib = measured(backupd, "--version")

    assert version_mib < LIMIT_MIB < hungry_mib
