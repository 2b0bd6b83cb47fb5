"""A clock that is set while the daemon runs: each moment is run once, and nothing good is lost."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.faults.scene import IMAGE, JOB, Scene, listed
from tests.integration.command import Command
from tests.integration.conftest import WritePolicy
from tests.integration.daemon_process import DaemonProcess, running
from tests.servers.shifted_clock import ShiftedClock

START = datetime(2026, 6, 10, 8, 30, tzinfo=UTC)
ENDED = f"job {JOB} ended"


@pytest.fixture
def clock(tmp_path: Path) -> ShiftedClock:
    return ShiftedClock(tmp_path / "clock")


class Follower:
    """A daemon under the shifted clock, and how its job's runs went."""

    def __init__(self, daemon: DaemonProcess, clock: ShiftedClock, backupd: Command) -> None:
        self.daemon = daemon
        self._clock = clock
        self._backupd = backupd

    def set(self, moment: datetime) -> None:
        """Set the clock, and let the daemon look at it now and not within a minute."""
        looks = self.daemon.log.count("the new policy is in force")
        self._clock.set(moment)
        for look in (1, 2):  # the loop turns after it took in what came
            self.daemon.send(signal.SIGHUP)
            self.daemon.wait_for("the new policy is in force", looks + look)

    def runs(self) -> list[str]:
        """How the runs ended, the oldest first."""
        rows = self._backupd("history", JOB, "--json").json
        return [row["state"] for row in reversed(rows)]


@contextmanager
def following(backupd: Command, clock: ShiftedClock) -> Iterator[Follower]:
    with running(backupd, before=clock.before) as daemon:
        daemon.wait_until_ready()
        yield Follower(daemon, clock, backupd)
        assert 0 == daemon.stop(), daemon.log
        assert "Traceback" not in daemon.log


def write(policy: WritePolicy, tmp_path: Path, schedule: str, **sections: Any) -> None:
    """A store that is a directory: a bucket's server refuses a clock that is wrong by hours."""
    job = {"schedule": schedule, "images": [IMAGE]}
    store = {"url": f"file://{tmp_path}/store"}
    policy({JOB: job}, store=store, reuse_max_age="0", **sections)


def test_a_jump_forward_runs_once_what_was_due_meanwhile(
    scene: Scene, clock: ShiftedClock, policy: WritePolicy, backupd: Command, tmp_path: Path
) -> None:
    write(policy, tmp_path, "0 * * * *", defaults={"retention": {"keep_last": 1}})
    clock.set(START)
    with following(backupd, clock) as follower:
        follower.set(START + timedelta(hours=5))
        follower.daemon.wait_for(ENDED, 1)
        assert "4 earlier moments passed while this machine slept" in follower.daemon.log
        follower.set(START + timedelta(hours=6))
        follower.daemon.wait_for(ENDED, 2)
        states = follower.runs()

    assert ["skipped", "good", "good"] == states
    assert [("image", IMAGE)] == scene.assert_restorable(backupd)


def test_a_jump_backward_keeps_what_there_is_and_the_right_time_goes_on_as_before(
    scene: Scene, clock: ShiftedClock, policy: WritePolicy, backupd: Command, tmp_path: Path
) -> None:
    write(policy, tmp_path, "0 * * * *", defaults={"retention": {"keep_last": 2}})
    clock.set(START)
    with following(backupd, clock) as follower:
        follower.set(START + timedelta(hours=1))
        follower.daemon.wait_for(ENDED, 1)
        existed = [row["id"] for row in listed(backupd)]
        follower.set(START - timedelta(hours=4))
        follower.daemon.wait_for("the clock was set back")
        follower.set(START - timedelta(hours=3))
        follower.daemon.wait_for(ENDED, 2)
        assert "set the clock right" in follower.daemon.log
        assert existed == [row["id"] for row in listed(backupd)]
        follower.set(START + timedelta(hours=2))
        follower.daemon.wait_for(ENDED, 3)

    assert existed == [row["id"] for row in listed(backupd)][:1]
    assert 2 == len(scene.assert_restorable(backupd))


@pytest.mark.parametrize(
    ("before_it", "moments"),
    [
        # The clock jumps from 2:00 to 3:00, so that half past two does not come that night.
        (
            datetime(2026, 3, 29, 0, 20, tzinfo=UTC),
            [datetime(2026, 3, 29, 1, 0, 20, tzinfo=UTC), datetime(2026, 3, 29, 2, tzinfo=UTC)],
        ),
        # It goes from 3:00 back to 2:00, so that half past two comes twice.
        (
            datetime(2026, 10, 25, 0, 20, tzinfo=UTC),
            [
                datetime(2026, 10, 25, 0, 30, 20, tzinfo=UTC),
                datetime(2026, 10, 25, 1, 30, 20, tzinfo=UTC),
            ],
        ),
    ],
    ids=["spring", "autumn"],
)
def test_a_change_of_summer_time_runs_a_daily_job_once(
    before_it: datetime,
    moments: list[datetime],
    scene: Scene,
    clock: ShiftedClock,
    policy: WritePolicy,
    backupd: Command,
    tmp_path: Path,
) -> None:
    write(policy, tmp_path, "30 2 * * *", timezone="Europe/Berlin")
    clock.set(before_it)
    with following(backupd, clock) as follower:
        follower.set(moments[0])
        follower.daemon.wait_for(ENDED, 1)
        follower.set(moments[1])
        states = follower.runs()
        state = json.loads((backupd.state_dir / "daemon.json").read_bytes())

    assert ["good"] == states
    assert datetime.fromisoformat(state["next_runs"][JOB]) > moments[1] + timedelta(hours=20)
    assert [("image", IMAGE)] == scene.assert_restorable(backupd)
