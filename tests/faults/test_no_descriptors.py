"""No file descriptors left: refused before anything is touched, or said and put right after."""

from __future__ import annotations

import resource
from typing import Any

import pytest

from tests.faults.conftest import Write
from tests.faults.gate import Gate, Step
from tests.faults.scene import IMAGE, JOB, MIB, PAUSED, Scene, left_on_disk, unfinished
from tests.integration.aftermath import refuse_secrets, the_sentence
from tests.integration.command import Command, Result
from tests.integration.trees import succeeded
from tests.servers.faulty_engine import EXPORT, PAUSE
from tests.servers.seaweedfs import SeaweedFS


@pytest.mark.parametrize("verb", ["backup", "daemon", "verify", "prune"])
@pytest.mark.parametrize("most", [9, 15, 40])
def test_a_limit_that_is_too_low_is_refused_before_anything_is_touched(
    verb: str, most: int, scene: Scene, write: Write, backupd: Command
) -> None:
    write([IMAGE], [PAUSED])
    refusal = backupd(verb, before=("prlimit", f"--nofile={most}:{most}"))

    assert 2 == refusal.code
    assert f"may open {most} files at most, and 64 are needed" in the_sentence(refusal)
    assert not backupd.state_dir.exists()


def test_a_low_limit_that_may_be_raised_is_raised(
    scene: Scene, write: Write, backupd: Command
) -> None:
    write([IMAGE], [PAUSED])
    succeeded(backupd("backup", before=("prlimit", "--nofile=16:4096")))

    assert 2 == len(scene.assert_restorable(backupd))


@pytest.mark.parametrize(
    "step",
    [Step(PAUSE, answered=True), Step(EXPORT, answered=True, at_byte=3 * MIB)],
    ids=["paused", "mid-export"],
)
def test_a_backup_that_has_none_left_in_the_middle_is_none_and_the_next_one_puts_it_right(
    step: Step,
    scene: Scene,
    gate: Gate,
    write: Write,
    backupd: Command,
    s3: SeaweedFS,
    bucket: dict[str, Any],
) -> None:
    write([], [PAUSED])
    gate.close(step)
    with backupd.start("backup", JOB) as process:
        assert gate.is_reached()
        # What is open stays open; nothing can be opened any more.
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (1, 1))
        gate.open(lets_through=True)
        output, errors = process.communicate(timeout=120)
    result = Result(process.returncode, output, errors.decode())
    refuse_secrets(result)
    existed = scene.assert_restorable(backupd)
    succeeded(backupd("backup"))

    assert 1 == result.code
    assert "Too many open files; raise this process's limit of open files" in result.stderr
    assert [] == existed
    assert {PAUSED: "running"} == scene.states(PAUSED)
    assert [("container", PAUSED)] == scene.assert_restorable(backupd)
    assert ([], []) == (unfinished(s3, bucket), left_on_disk(backupd))
