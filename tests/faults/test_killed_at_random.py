"""Twenty kills at random moments: containers run, and every backup that is listed restores."""

from __future__ import annotations

import os
import random
import secrets
import subprocess
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import docker

from tests.faults.conftest import Write
from tests.faults.counts import DONE
from tests.faults.gate import Gate, Passed
from tests.faults.scene import (
    CONTAINERS,
    IMAGE,
    JOB,
    OTHER_IMAGE,
    Scene,
    catch_up,
    daemon,
    history,
    left_on_disk,
    listed,
    make_due,
    restored,
    source_of,
    take_up,
)
from tests.faults.sweeping import check_all, named_archives, stored_archives, sweep
from tests.integration.aftermath import images, journal, kept_in, wait_until
from tests.integration.command import Command
from tests.integration.trees import succeeded
from tests.servers.seaweedfs import SeaweedFS

KILLS = 20
SEED = "BACKUPD_TEST_SEED"
"""Environment variable with the number that a failed run printed, to have the same draws again."""

ALL_RUN = dict.fromkeys(CONTAINERS, "running")


def test_twenty_kills_at_random_moments_leave_nothing_that_does_not_restore(
    scene: Scene,
    gate: Gate,
    write: Write,
    api: docker.APIClient,
    backupd: Command,
    s3: SeaweedFS,
    bucket: dict[str, Any],
) -> None:
    seed = int(os.environ.get(SEED) or secrets.randbits(32))
    print(f"{SEED}={seed}")
    draw = random.Random(seed)  # noqa: S311 - no secret
    write([IMAGE, OTHER_IMAGE], list(CONTAINERS))
    take_up(backupd)
    before = images(api), containers(api)
    whole = measured(gate, backupd)
    for number in range(KILLS):
        print(number, killed(draw, gate, backupd, whole))
        if number % 2:
            make_due(backupd)
            catch_up(backupd)
        else:
            succeeded(backupd("backup", "nothing"))
        assert (ALL_RUN, []) == (scene.states(), journal(backupd))
    succeeded(backupd("backup"))
    make_due(backupd)
    catch_up(backupd)

    assert (ALL_RUN, before) == (scene.states(), (images(api), containers(api)))
    assert [] == left_on_disk(backupd)
    assert_all_restore(scene, backupd)
    sweep(backupd)
    assert named_archives(backupd) == stored_archives(kept_in(s3, bucket))


def measured(gate: Gate, backupd: Command) -> Counter[str]:
    """How many bytes and requests a whole run takes."""
    gate.close(lambda piece, passed: False)
    succeeded(backupd("backup"))
    return gate.passed


def killed(draw: random.Random, gate: Gate, backupd: Command, whole: Counter[str]) -> str:
    """Kill a run in the middle; who was killed, and when.

    Parts of a run come in another order each time; one that ends before its moment is run anew.
    """
    while True:
        what = draw.choice(("bytes", "requests"))
        moment = Passed(what, draw.randrange(whole[what]))
        is_daemon = draw.random() < 0.5
        gate.close(moment)
        make_due(backupd)
        with daemon(backupd) if is_daemon else backupd.start("backup") as process:
            is_cut = came_so_far(gate, backupd, process)
            process.kill()
        gate.open()
        if is_cut:
            return f"{'daemon' if is_daemon else 'backup'} at {moment.count} {what}"


def came_so_far(gate: Gate, backupd: Command, process: subprocess.Popen[bytes]) -> bool:
    """Wait for the moment; whether it came before the end of the run."""
    begun = datetime.now(UTC)

    def is_over() -> bool:
        last = history(backupd).last(JOB)
        return last is not None and last.started_at > begun and last.state != "running"

    wait_until(lambda: gate.is_reached(0) or process.poll() is not None or is_over())
    return gate.is_reached(0)


def assert_all_restore(scene: Scene, backupd: Command) -> None:
    """The newest backup of each source by the command, and every archive by what it is made of."""
    rows = listed(backupd)
    newest = {source_of(row): row for row in rows}
    assert set(scene.contents) == set(newest)
    for source, row in newest.items():
        with DONE.checking():
            scene.assert_same(source, restored(backupd, row))
    assert [row["id"] for row in rows] == check_all(scene, backupd)


def containers(api: docker.APIClient) -> set[str]:
    """The ids of all containers, stopped ones too."""
    return {each["Id"] for each in api.containers(all=True)}
