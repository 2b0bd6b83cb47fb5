"""A state directory that is full or read-only: what needs no undoing goes on, nothing else begins.

The directory is a file system of its own, filled by a file of zeros or mounted read-only.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.conftest import Write
from tests.faults.gate import Gate, Step
from tests.faults.scene import (
    IMAGE,
    JOB,
    MIB,
    PAUSED,
    PLAIN,
    STOPPED,
    Scene,
    daemon,
    left_on_disk,
    listed,
)
from tests.integration.aftermath import journal, refuse_secrets, the_sentence, wait_until
from tests.integration.command import Command, Result
from tests.integration.trees import succeeded
from tests.servers.faulty_engine import EXPORT

ALL_RUN = {PAUSED: "running", STOPPED: "running"}
NO_SPACE = "No space left on device; free some space there"
READ_ONLY = "Read-only file system; see in the kernel's log why its file system is read-only"


@pytest.fixture
def disk(backupd: Command) -> Iterator[Path]:
    """The state directory, on a file system that has room for little more than a history."""
    backupd.state_dir.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "backupd-test", str(backupd.state_dir)]
    subprocess.run(mount, check=True)
    try:
        yield backupd.state_dir
    finally:
        subprocess.run(["umount", "--lazy", str(backupd.state_dir)], check=True)


def fill(disk: Path) -> None:
    """Leave no byte on it."""
    with (disk / "zeros").open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def free(disk: Path) -> None:
    """Let there be room again."""
    (disk / "zeros").unlink()


def said(result: Result) -> str:
    """What went wrong, by the lines that say so; none of them is a traceback."""
    refuse_secrets(result)
    return "\n".join(line for line in result.stderr.splitlines() if "warning: " not in line)


@pytest.mark.parametrize("name", [PAUSED, STOPPED], ids=["pause", "stop"])
def test_on_a_full_disk_what_is_to_be_undone_is_not_begun_and_the_rest_is_backed_up(
    name: str, scene: Scene, write: Write, backupd: Command, disk: Path
) -> None:
    write([IMAGE], [name, PLAIN])
    fill(disk)
    started = scene.api.inspect_container(name)["State"]["StartedAt"]
    result = backupd("backup")

    assert 1 == result.code
    assert f"backupd: container {name}: cannot use the state directory" in said(result)
    assert NO_SPACE in said(result)
    assert 1 == result.stderr.count("history.sqlite is not kept")
    assert ALL_RUN == scene.states(PAUSED, STOPPED)
    assert started == scene.api.inspect_container(name)["State"]["StartedAt"]
    assert {("image", IMAGE), ("container", PLAIN)} == set(scene.assert_restorable(backupd))
    free(disk)
    succeeded(backupd("backup"))
    assert ("container", name) in scene.assert_restorable(backupd)
    assert [] == left_on_disk(backupd)


def test_a_disk_that_fills_up_while_a_container_is_paused_keeps_neither_it_nor_its_backup(
    scene: Scene, gate: Gate, write: Write, backupd: Command, disk: Path
) -> None:
    write([], [PAUSED])
    gate.close(Step(EXPORT, answered=True, at_byte=3 * MIB))
    with backupd.start("backup") as process:
        assert gate.is_reached()
        fill(disk)
        gate.open(lets_through=True)
        output, errors = process.communicate(timeout=60)
    result = Result(process.returncode, output, errors.decode())

    assert (0, "") == (result.code, said(result))
    assert {PAUSED: "running"} == scene.states(PAUSED)
    assert [("container", PAUSED)] == scene.assert_restorable(backupd)
    assert [] == left_on_disk(backupd)


def test_what_a_killed_backup_paused_goes_on_at_the_next_start_on_a_full_disk(
    scene: Scene, gate: Gate, write: Write, backupd: Command, disk: Path
) -> None:
    write([], [PAUSED])
    gate.close(Step(EXPORT, answered=True, at_byte=3 * MIB))
    with backupd.start("backup") as process:
        gate.kill(process)
    gate.open()
    left = scene.states(PAUSED)
    fill(disk)
    with daemon(backupd) as process:
        wait_until(lambda: scene.states(PAUSED) == {PAUSED: "running"})
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)

    assert {PAUSED: "paused"} == left
    assert 0 == process.returncode
    refuse_secrets(Result(0, b"", errors.decode()))
    assert [] == journal(backupd)


def test_a_read_only_disk_lets_nothing_begin_and_everything_come_back(
    scene: Scene, write: Write, backupd: Command, disk: Path
) -> None:
    write([IMAGE], [PAUSED])
    succeeded(backupd("backup"))
    started = scene.api.inspect_container(PAUSED)["State"]["StartedAt"]
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    refused, service = backupd("backup"), backupd("daemon")
    status = backupd("status")
    proven = backupd("verify", "--data")

    assert (2, 2, 2) == (refused.code, service.code, status.code)
    assert READ_ONLY in the_sentence(service)
    assert READ_ONLY in said(refused)
    assert "let its file system be writable" in the_sentence(status)
    assert started == scene.api.inspect_container(PAUSED)["State"]["StartedAt"]
    assert 0 == proven.code, proven.stderr
    assert 2 == len(scene.assert_restorable(backupd))
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    succeeded(backupd("backup"))
    assert 4 == len(scene.assert_restorable(backupd))


def test_a_restore_and_a_prune_need_no_room_in_the_state_directory(
    scene: Scene, write: Write, backupd: Command, disk: Path
) -> None:
    write([IMAGE], [PLAIN])
    succeeded(backupd("backup"))
    succeeded(backupd("backup"))
    fill(disk)
    again = ("restore", "image", IMAGE, "--tag", "backupd-test-faults:again")
    pruned = backupd("prune", "--job", JOB, "--retention", "keep_last=1")

    assert (0, "") == (backupd(*again).code, said(pruned))
    assert 0 == pruned.code
    assert {("image", IMAGE), ("container", PLAIN)} == set(scene.assert_restorable(backupd))
    assert 2 == len(listed(backupd))
