"""A process that is stopped for long (SIGSTOP) loses nothing, and nobody takes what is its own.

Nothing waits for ten minutes: the policy lets the engine be silent for a second only, and whoever
prunes meanwhile believes that days have passed.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from tests.faults.conftest import Write
from tests.faults.gate import Gate, Step
from tests.faults.scene import (
    IMAGE,
    JOB,
    MIB,
    PAUSED,
    PLAIN,
    Scene,
    daemon,
    left_on_disk,
    unfinished,
)
from tests.faults.sweeping import sweep
from tests.faults.test_killed_at_each_step import MANIFEST, PART
from tests.integration.aftermath import journal, refuse_secrets, wait_until
from tests.integration.command import Command, Result
from tests.integration.trees import succeeded
from tests.servers.faulty_engine import EXPORT
from tests.servers.seaweedfs import SeaweedFS

STALL_SECONDS = 1.0


@contextmanager
def stopped(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """The process, stopped for longer than its engine may be silent."""
    process.send_signal(signal.SIGSTOP)
    until = time.monotonic() + STALL_SECONDS * 1.5
    yield
    wait_until(lambda: time.monotonic() > until)
    process.send_signal(signal.SIGCONT)


def ended(process: subprocess.Popen[bytes]) -> Result:
    output, errors = process.communicate(timeout=60)
    result = Result(process.returncode, output, errors.decode())
    refuse_secrets(result)
    return result


def let_be_silent_for(backupd: Command, timeout: str) -> None:
    """Set how long the policy lets the engine be silent."""
    policy = yaml.safe_load(backupd.config.read_text())
    policy["docker"]["stall_timeout"] = timeout
    backupd.write(policy)


def test_the_time_in_which_a_backup_is_stopped_is_no_silence_of_the_engine(
    scene: Scene, gate: Gate, write: Write, backupd: Command
) -> None:
    write([], [PLAIN])
    let_be_silent_for(backupd, f"{STALL_SECONDS:g}s")
    gate.close(Step(EXPORT, answered=True, at_byte=3 * MIB))
    with backupd.start("backup", JOB) as process:
        assert gate.is_reached()
        with stopped(process):
            gate.open(lets_through=True)
        result = ended(process)

    assert (0, "") == (result.code, result.stderr)
    assert [("container", PLAIN)] == scene.assert_restorable(backupd)


def test_an_engine_that_is_silent_is_still_noticed(
    scene: Scene, gate: Gate, write: Write, backupd: Command
) -> None:
    write([], [PLAIN])
    let_be_silent_for(backupd, f"{STALL_SECONDS:g}s")
    gate.close(Step(EXPORT, answered=True, at_byte=3 * MIB))
    with backupd.start("backup", JOB) as process:
        result = ended(process)

    assert 1 == result.code
    assert f"the engine sent nothing for {STALL_SECONDS:g}s" in result.stderr


@pytest.mark.parametrize("step", [Step(PART), Step(MANIFEST)], ids=["uploading", "committing"])
def test_what_a_stopped_backup_works_on_is_swept_by_nobody(
    step: Step,
    scene: Scene,
    gate: Gate,
    write: Write,
    backupd: Command,
    s3: SeaweedFS,
    bucket: dict[str, Any],
) -> None:
    write([IMAGE], [PAUSED])
    gate.close(step)
    with backupd.start("backup", JOB) as process:
        assert gate.is_reached()
        with stopped(process):
            sweep(backupd)
            said = succeeded(backupd("backup", "nothing")).stderr
            with daemon(backupd) as other:
                wait_until(lambda: (backupd.state_dir / "daemon.json").exists())
                other.send_signal(signal.SIGTERM)
                assert 0 == ended(other).code
            gate.open(lets_through=True)
        result = ended(process)

    assert 0 == result.code, result.stderr
    assert "was left paused" not in said
    assert 2 == len(scene.assert_restorable(backupd))
    assert {PAUSED: "running"} == scene.states(PAUSED)
    assert ([], [], []) == (unfinished(s3, bucket), journal(backupd), left_on_disk(backupd))
