"""The unit: what systemd itself says of it, and what a process under it can and cannot do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.servers.seaweedfs import FULL
from tests.systemd.machine import UNIT
from tests.systemd.scene import Scene

PROBE = (Path(__file__).parent / "probe.py").read_text()
INSTEAD_OF_THE_DAEMON = """\
[Service]
Type=oneshot
WatchdogSec=0
Restart=no
ExecStart=
ExecStart=/opt/backupd/bin/python3 /opt/probe.py
"""
MOST_EXPOSURE = 15
"""In tenths, as systemd-analyze takes it."""
NOTHING = "0000000000000000"


@pytest.fixture
def found(scene: Scene) -> dict[str, Any]:
    """What a process with all of the unit's settings finds."""
    scene.machine.write("/opt/probe.py", PROBE)
    scene.machine.write("/home/someone/secret", "x")
    scene.machine.run("touch", "/tmp/of-others")  # noqa: S108
    scene.drop_in(INSTEAD_OF_THE_DAEMON)
    scene.start()
    said = [entry["MESSAGE"] for entry in scene.machine.journal()]
    (line,) = (text for text in said if text.startswith("{"))
    result: dict[str, Any] = json.loads(line)
    return result


def test_systemd_finds_no_fault_in_the_unit(scene: Scene) -> None:
    said = scene.machine.run("systemd-analyze", "verify", f"{UNIT}.service").text

    assert "" == "\n".join(line for line in said.splitlines() if UNIT in line)


def test_the_unit_is_hardened_as_far_as_promised(scene: Scene) -> None:
    scene.machine.run(
        *("systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSURE}"),
        f"/usr/local/lib/systemd/system/{UNIT}.service",
    )


def test_a_process_of_the_service_can_do_its_work_and_nothing_else(found: dict[str, Any]) -> None:
    assert {
        "written": [],
        "unwritten": [],
        "homes": [],
        "tmp": [],
        "others": [],
        "user": True,
        "capabilities": NOTHING + NOTHING,
        "no_new_privileges": "1",
        "seccomp": "2",
        "packet_socket": False,
        "netlink_socket": False,
        "docker": True,
        "policy": True,
        "secret_file": "",
        "credential": FULL.secret_key,
        "core_limit": "0",
    } == found
