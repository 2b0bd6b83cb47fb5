"""The machine's systemd, asked by its own programs: who installs backupd needs no more of it.

How the daemon talks to the systemd that runs it is no part of this.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from backupd.errors import SystemdRefused

UNIT_NAME = "backupd.service"

_BOOTED = Path("/run/systemd/system")
"""There if systemd runs this machine (sd_booted(3))."""


def is_running() -> bool:
    """Whether this machine was booted by systemd, so that there is something to tell."""
    return _BOOTED.is_dir()


def can_make_users() -> bool:
    """Whether this machine has systemd-sysusers."""
    return shutil.which("systemd-sysusers") is not None


def make_users(definition: Path, root: Path) -> None:
    """Make the users and groups that the file defines, below `root`. Raises SystemdRefused."""
    _run(["systemd-sysusers", f"--root={root}", str(definition)])


def reload_units() -> None:
    """Have systemd read its units anew. Raises SystemdRefused."""
    _run(["systemctl", "daemon-reload"])


def is_active() -> bool:
    """Whether the service runs now."""
    command = ["systemctl", "is-active", "--quiet", UNIT_NAME]
    return subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode == 0  # noqa: S603


def stop_and_disable() -> None:
    """Stop the service and start it no more at boot. Raises SystemdRefused."""
    _run(["systemctl", "disable", "--now", UNIT_NAME])


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(  # noqa: S603 - programs of the system, with arguments of our own
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise SystemdRefused(f"cannot run {' '.join(command)}: {said}")
