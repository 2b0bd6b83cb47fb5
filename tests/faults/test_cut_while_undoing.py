"""A connection that breaks off just when a container is to go on does not leave it as it is."""

from __future__ import annotations

import pytest

from tests.faults.conftest import Write
from tests.faults.gate import Gate, Step
from tests.faults.scene import JOB, PAUSED, STOPPED, Scene, left_on_disk
from tests.integration.command import Command, Result
from tests.servers.faulty_engine import START, UNPAUSE


@pytest.mark.parametrize("is_answered", [False, True], ids=["before it", "before its answer"])
@pytest.mark.parametrize(("name", "request_"), [(PAUSED, UNPAUSE), (STOPPED, START)])
def test_a_container_goes_on_although_the_connection_breaks_off_just_then(
    name: str,
    request_: str,
    is_answered: bool,
    scene: Scene,
    gate: Gate,
    write: Write,
    backupd: Command,
) -> None:
    write([], [name])
    gate.close(Step(request_, answered=is_answered))
    with backupd.start("backup", JOB) as process:
        assert gate.is_reached()
        gate.open(lets_through=False)
        output, errors = process.communicate(timeout=60)
    result = Result(process.returncode, output, errors.decode())

    assert (0, "") == (result.code, result.stderr)
    assert {name: "running"} == scene.states(name)
    assert [] == left_on_disk(backupd)
    assert [("container", name)] == scene.assert_restorable(backupd)
