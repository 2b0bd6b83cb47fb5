"""A prune, a verify, a restore of a volume, a recovery that are killed: nothing listed is lost."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import docker
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
    STOPPED,
    Scene,
    daemon,
    left_on_disk,
    listed,
)
from tests.faults.sweeping import named_archives, stored_archives, sweep
from tests.faults.test_killed_restore import sent
from tests.integration import volumes
from tests.integration.aftermath import kept_in, the_sentence
from tests.integration.command import Command
from tests.integration.trees import succeeded
from tests.servers.faulty_engine import EXPORT, START, UNPAUSE
from tests.servers.relay import Piece
from tests.servers.seaweedfs import SeaweedFS

DELETE = r"POST /[^?]+\?delete\S*"
PROOF = r"PUT /[^?]+\.verified(\?.*)?"
FILL = r"PUT /v[\d.]+/containers/[^/]+/archive\?.*"
VOLUME, COPY = "backupd-test-faults", "backupd-test-faults-copy"


@dataclass(frozen=True, slots=True)
class Nth:
    """The moment of the n-th request of a kind, or of its answer."""

    step: Step
    number: int

    def __call__(self, piece: Piece, passed: Counter[str]) -> bool:
        asked = sum(n for made, n in passed.items() if re.fullmatch(self.step.request, made))
        return asked == self.number and self.step(piece, passed)


@pytest.mark.parametrize("is_answered", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", [1, 2])
def test_a_killed_prune_leaves_no_backup_without_its_archive_and_the_next_sweeps_the_rest(
    number: int,
    is_answered: bool,
    scene: Scene,
    gate: Gate,
    write: Write,
    backupd: Command,
    s3: SeaweedFS,
    bucket: dict[str, Any],
) -> None:
    write([], [PLAIN])
    for _ in range(3):
        succeeded(backupd("backup", JOB))
    prune = ("prune", "--job", JOB, "--retention", "keep_last=1", "--yes")
    gate.close(Nth(Step(DELETE, answered=is_answered), number))
    with backupd.start(*prune) as process:
        gate.kill(process)
    gate.open()
    left = len(scene.assert_restorable(backupd))
    succeeded(backupd(*prune))
    sweep(backupd)

    assert (3 if (number, is_answered) == (1, False) else 1) == left
    assert [("container", PLAIN)] == scene.assert_restorable(backupd)
    assert named_archives(backupd) == stored_archives(kept_in(s3, bucket))


def test_a_killed_verify_has_flagged_nothing_and_can_be_done_again(
    scene: Scene, gate: Gate, write: Write, backupd: Command
) -> None:
    write([IMAGE], [PLAIN])
    succeeded(backupd("backup", JOB))
    gate.close(Step(PROOF))
    with backupd.start("verify", "--data") as process:
        gate.kill(process)
    gate.open()

    assert 2 == len(scene.assert_restorable(backupd))
    assert [[], []] == [row["states"] for row in listed(backupd)]
    succeeded(backupd("verify", "--data"))


def test_a_killed_restore_of_a_volume_is_refused_until_its_half_may_be_replaced(
    scene: Scene, gate: Gate, write: Write, api: docker.APIClient, backupd: Command
) -> None:
    volumes.make_volume(api, VOLUME, {"rows": bytes(range(256)) * 4096 * 6})
    write([], [])
    policy = yaml.safe_load(backupd.config.read_text())
    policy["jobs"][JOB]["volumes"] = [VOLUME]
    backupd.write(policy)
    succeeded(backupd("backup", JOB))
    restore = ("restore", "volume", VOLUME, "--to", COPY)
    gate.close(sent(FILL, 4 * MIB))
    with backupd.start(*restore) as process:
        gate.kill(process)
    gate.open()
    succeeded(backupd("backup", "nothing"))
    left = volumes.helpers(api)
    again = backupd(*restore)

    assert [] == left
    if again.code:  # what was written of the file depends on the engine
        assert "is not empty" in the_sentence(again)
        assert 2 == again.code
        succeeded(backupd(*restore, "--replace"))
    assert volumes.files_in(api, VOLUME) == volumes.files_in(api, COPY)
    assert [] == left_on_disk(backupd)


@pytest.mark.parametrize("is_answered", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("name", "undoing"), [(PAUSED, UNPAUSE), (STOPPED, START)])
def test_a_daemon_that_is_killed_while_it_undoes_leaves_that_to_the_next_one(
    name: str,
    undoing: str,
    is_answered: bool,
    scene: Scene,
    gate: Gate,
    write: Write,
    backupd: Command,
) -> None:
    write([], [name])
    gate.close(Step(EXPORT, answered=True, at_byte=3 * MIB))
    with backupd.start("backup", JOB) as process:
        gate.kill(process)
    gate.close(Step(undoing, answered=is_answered))
    with daemon(backupd) as process:
        gate.kill(process)
    gate.open()
    succeeded(backupd("backup", JOB))

    assert {name: "running"} == scene.states(name)
    assert [("container", name)] == scene.assert_restorable(backupd)
    assert [] == left_on_disk(backupd)
