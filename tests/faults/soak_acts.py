"""What the soak does: the commands that it runs, and what befalls them at a random moment."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import docker.errors

from tests.faults.scene import JOB, OTHER_IMAGE, PLAIN
from tests.faults.soak_world import STALL_TIMEOUT, VOLUME, World

AGAIN = "backupd-test-faults:restored"
COPY = "backupd-test-faults-restored"
STALL_SECONDS = float(STALL_TIMEOUT.rstrip("s")) * 1.5
DAEMON = "daemon"

VERBS: dict[str, tuple[int, Sequence[str]]] = {
    "backup": (40, ("backup", JOB)),
    DAEMON: (15, (DAEMON,)),
    "prune": (8, ("prune", "--job", JOB, "--retention", "keep_last=3", "--yes")),
    "verify": (8, ("verify", "--data")),
    "restore image": (8, ("restore", "image", OTHER_IMAGE, "--tag", AGAIN)),
    "restore container": (5, ("restore", "container", PLAIN, "--tag", AGAIN)),
    "restore volume": (8, ("restore", "volume", VOLUME, "--to", COPY)),
    "drill": (5, ("drill",)),
    "list": (3, ("list",)),
}
"""Verb → how often it comes, and what is typed."""


def clean_up(world: World) -> None:
    """Remove what a restore was asked to make, half or whole."""
    with suppress(docker.errors.ImageNotFound):
        world.scene.api.remove_image(AGAIN, force=True)
    with suppress(docker.errors.NotFound):
        world.scene.api.remove_volume(COPY, force=True)


@dataclass(frozen=True, slots=True)
class Fault:
    """What befalls a command at its moment."""

    weight: int
    strike: Callable[[World, subprocess.Popen[bytes]], None]
    codes: frozenset[int]
    """The exit codes that may come of it."""
    kills_containers: bool = False


def _cut(world: World, process: subprocess.Popen[bytes]) -> None:
    world.gate.open(lets_through=False)


def _stall(world: World, process: subprocess.Popen[bytes]) -> None:
    # No condition to wait for: the silence itself is the fault.
    with suppress(subprocess.TimeoutExpired):
        process.wait(STALL_SECONDS)
    world.gate.open(lets_through=True)


def _signal(number: signal.Signals) -> Callable[[World, subprocess.Popen[bytes]], None]:
    def send(world: World, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(number)
        world.gate.open(lets_through=True)

    return send


def _kill(world: World, process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    world.gate.open()


def _suspend(world: World, process: subprocess.Popen[bytes]) -> None:
    """Stopped for longer than its engine may be silent, while another one backs up and prunes."""
    process.send_signal(signal.SIGSTOP)
    until = time.monotonic() + STALL_SECONDS
    with world.backupd.start("backup", "nothing") as other:
        world.gate.open(lets_through=True)
        with suppress(subprocess.TimeoutExpired):
            # It may have to wait for what the stopped one holds.
            other.wait(max(0.0, until - time.monotonic()))
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, until - time.monotonic()))
        process.send_signal(signal.SIGCONT)
        _, said = other.communicate(timeout=120)
    assert other.returncode == 0, said.decode()


def _kill_engine(world: World, process: subprocess.Popen[bytes]) -> None:
    world.engine.kill()
    world.gate.open()
    world.engine.restart()
    world.engine_is_back()


def _kill_store(world: World, process: subprocess.Popen[bytes]) -> None:
    world.s3.kill()
    world.gate.open()
    world.s3.restart()


_FAILED = frozenset({0, 1, 3, 4})
FAULTS: dict[str, Fault] = {
    "cut": Fault(25, _cut, _FAILED),
    "stall": Fault(8, _stall, _FAILED),
    "SIGKILL": Fault(30, _kill, frozenset({-signal.SIGKILL})),
    "SIGTERM": Fault(10, _signal(signal.SIGTERM), frozenset({0, 130})),
    "SIGINT": Fault(5, _signal(signal.SIGINT), frozenset({0, 130})),
    "SIGSTOP": Fault(8, _suspend, _FAILED),
    "engine killed": Fault(7, _kill_engine, _FAILED, kills_containers=True),
    "store killed": Fault(7, _kill_store, _FAILED),
}
