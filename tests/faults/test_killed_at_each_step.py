"""A process that is killed at any step of a run: the next one puts right what it left."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from tests.faults.conftest import Write
from tests.faults.gate import Gate, Step
from tests.faults.scene import (
    IMAGE,
    MIB,
    PAUSED,
    STOPPED,
    Scene,
    catch_up,
    daemon,
    left_on_disk,
    run_states,
    take_up,
    unfinished,
)
from tests.integration.aftermath import journal, wait_until
from tests.integration.command import Command
from tests.integration.trees import succeeded
from tests.servers.faulty_engine import EXPORT, PAUSE, SAVE, STOP
from tests.servers.seaweedfs import SeaweedFS

PART = r"PUT /\S+[?&]partNumber=2(&\S*)?"
MANIFEST = r"PUT /[^?]+/backups/[^?]+\.json(\?.*)?"
INSPECT = r"GET /v[\d.]+/containers/[0-9a-f]{64}/json"

READ = {PAUSED: EXPORT, STOPPED: EXPORT, IMAGE: SAVE}
STILL = {PAUSED: ("paused", PAUSE), STOPPED: ("exited", STOP)}
"""How a container is while it is read, and what makes it so."""
STEPS = ("held still just now", "mid-export", "mid-upload", "before manifest", "after manifest")


def step_of(name: str, step: str) -> Step:
    """Where in a run of this source the step is."""
    return {
        STEPS[0]: Step(STILL[name][1], answered=True) if name in STILL else Step(SAVE),
        STEPS[1]: Step(READ[name], answered=True, at_byte=3 * MIB),
        STEPS[2]: Step(PART),
        STEPS[3]: Step(MANIFEST),
        STEPS[4]: Step(MANIFEST, answered=True),
    }[step]


@pytest.fixture(autouse=True)
def _all_run(scene: Scene) -> Iterator[None]:
    yield
    scene.as_it_was()


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", [PAUSED, STOPPED, IMAGE], ids=["pause", "stop", "image"])
def test_what_a_killed_daemon_left_is_put_right_by_the_next_one(
    name: str,
    step: str,
    scene: Scene,
    gate: Gate,
    write: Write,
    backupd: Command,
    s3: SeaweedFS,
    bucket: dict[str, Any],
) -> None:
    is_image = name == IMAGE
    write([name] if is_image else [], [] if is_image else [name])
    take_up(backupd)
    kill(daemon(backupd), gate, step_of(name, step))
    left, began = scene.states(PAUSED, STOPPED), unfinished(s3, bucket)
    existed = len(scene.assert_restorable(backupd))
    catch_up(backupd)

    is_still = not is_image and step in STEPS[:3]
    assert ({name: STILL[name][0]} if is_still else {}).items() <= left.items()
    assert (step == "mid-upload", step == "after manifest") == (bool(began), existed == 1)
    assert {PAUSED: "running", STOPPED: "running"} == scene.states(PAUSED, STOPPED)
    assert ([], []) == (unfinished(s3, bucket), left_on_disk(backupd))
    assert ["good", "interrupted"] == run_states(backupd)
    source = ("image" if is_image else "container", name)
    assert [source] * (existed + 1) == scene.assert_restorable(backupd)


@pytest.mark.parametrize(("ours", "persons"), [(PAUSED, STOPPED), (STOPPED, PAUSED)])
def test_a_run_that_backs_up_nothing_lets_go_on_what_a_killed_one_held_and_nothing_else(
    ours: str, persons: str, scene: Scene, gate: Gate, write: Write, backupd: Command
) -> None:
    write([], [PAUSED, STOPPED])
    by_hand = {PAUSED: scene.api.pause, STOPPED: scene.api.stop}
    by_hand[persons](persons)
    identity = scene.api.inspect_container(ours)["Id"]
    step = Step(EXPORT.replace("[^/]+", identity), answered=True, at_byte=3 * MIB)
    kill(backupd.start("backup"), gate, step)
    left = scene.states(PAUSED, STOPPED)
    result = succeeded(backupd("backup", "nothing"))

    assert {PAUSED: "paused", STOPPED: "exited"} == left
    assert f"container {ours!r} was left {ours.split('-')[-1]} by a backup that" in result.stderr
    assert {ours: "running", persons: left[persons]} == scene.states(PAUSED, STOPPED)
    assert [] == journal(backupd)


def test_a_pause_that_comes_only_after_its_asker_was_killed_is_undone_too(
    scene: Scene, gate: Gate, write: Write, backupd: Command
) -> None:
    write([], [PAUSED])
    gate.close(Step(PAUSE))
    with backupd.start("backup") as process:
        gate.kill(process)
    before = asked(gate, INSPECT)
    with backupd.start("backup", "nothing") as process:
        wait_until(lambda: asked(gate, INSPECT) > before + 1)
        still = scene.states(PAUSED)
        gate.open(lets_through=True)
        _, said = process.communicate(timeout=60)

    assert {PAUSED: "running"} == still
    assert f"container {PAUSED!r} was left paused" in said.decode()
    assert ({PAUSED: "running"}, []) == (scene.states(PAUSED), journal(backupd))


def test_what_a_killed_process_had_begun_to_write_down_goes_away(
    write: Write, backupd: Command
) -> None:
    write([IMAGE], [])
    folder = backupd.state_dir / "journal"
    folder.mkdir(parents=True)
    (folder / "pause-0123.partial").write_text('{"act": "pa')
    succeeded(backupd("backup", "nothing"))

    assert [] == journal(backupd)


def kill(running: AbstractContextManager[Any], gate: Gate, step: Step) -> None:
    """Let the process run until it comes to the step, and kill it there."""
    gate.close(step)
    with running as process:
        gate.kill(process)
    gate.open()


def asked(gate: Gate, request: str) -> int:
    """How often the gate saw such a request since it was closed."""
    return sum(count for made, count in gate.passed.items() if re.fullmatch(request, made))
