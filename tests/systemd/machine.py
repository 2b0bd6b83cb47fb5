"""A machine of its own for a test: a container in which a real systemd is the first process.

`--privileged` fails where this machine lacks a capability itself, so all but that one are given.
The machine has the network of its engine, and the engine's socket, where Docker's own would be.
"""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import docker
import docker.errors

UNIT = "backupd"
PATIENCE_SECONDS = 60.0
_HALT = "SIGRTMIN+3"
"""What tells systemd to end all services and stop (systemd(1))."""
_BOOT = "mount --make-rshared / && exec /lib/systemd/systemd"
"""Mounts are shared on a machine, and systemd relies on that to hand over credentials; it does not
see to it itself in a container."""
_BOOTED = {"running", "degraded"}


@dataclass(frozen=True, slots=True)
class Said:
    """How a command inside ended, and all that it printed."""

    code: int
    text: str


class Machine:
    """A booted machine, from `boot` to `remove`."""

    def __init__(self, api: docker.APIClient, image: str, socket: Path) -> None:
        self._api = api
        created = api.create_container(
            image,
            command=["sh", "-c", _BOOT],
            name=f"backupd-test-machine-{time.monotonic_ns()}",
            stop_signal=_HALT,
            host_config=_host_config(api, socket),
        )
        self.id = str(created["Id"])

    def boot(self) -> None:
        """Switch it on, and wait until systemd has started all that it should."""
        self._api.start(self.id)
        self.wait_booted()

    def reboot(self) -> None:
        """End all services in order, and boot again."""
        self._api.restart(self.id, timeout=int(PATIENCE_SECONDS))
        self.wait_booted()

    def cut_power(self) -> None:
        """Kill everything in it at once."""
        self._api.kill(self.id, signal="SIGKILL")
        self.wait(lambda: not self._is_on(), "the machine is still on")

    def remove(self) -> None:
        """Switch it off and throw it away."""
        with suppress(docker.errors.NotFound):
            self._api.remove_container(self.id, force=True, v=True)

    def wait_booted(self) -> None:
        """Return once systemd has nothing left to start."""
        self.wait(lambda: self.state() in _BOOTED, "systemd did not boot")

    def state(self) -> str:
        """What systemd says of the whole machine; empty while it does not answer."""
        with suppress(docker.errors.APIError):
            return self.run("systemctl", "is-system-running", check=False).text.strip()
        return ""

    def run(self, *command: str, check: bool = True) -> Said:
        """Run a command in it, as root. Raises AssertionError if it fails, unless told not to."""
        job = str(self._api.exec_create(self.id, list(command))["Id"])
        text = self._api.exec_start(job).decode(errors="replace")
        said = Said(int(self._api.exec_inspect(job)["ExitCode"] or 0), text)
        assert said.code == 0 or not check, f"{' '.join(command)} → {said.code}:\n{said.text}"
        return said

    def shell(self, script: str, *, check: bool = True) -> Said:
        """The same for a line of the shell."""
        return self.run("sh", "-c", script, check=check)

    def write(self, path: str, text: str, *, mode: int = 0o644) -> None:
        """Put a file of root's there, with the folders above it."""
        place = PurePosixPath(path)
        self.run("mkdir", "-p", str(place.parent))
        data = text.encode()
        header = tarfile.TarInfo(place.name)
        header.size, header.mode = len(data), mode
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            tar.addfile(header, io.BytesIO(data))
        self._api.put_archive(self.id, str(place.parent), buffer.getvalue())

    def read(self, path: str) -> str:
        """The content of a file."""
        return self.run("cat", path).text

    def systemctl(self, *arguments: str, check: bool = True) -> Said:
        """Run systemctl."""
        return self.run("systemctl", *arguments, check=check)

    def show(self, name: str) -> str:
        """One property of the service, as systemd has it now."""
        return self.systemctl("show", "--value", "-p", name, UNIT).text.strip()

    def main_process(self) -> int:
        """The id of the service's main process inside the machine; 0 if it has none."""
        return int(self.show("MainPID"))

    def journal(self) -> list[dict[str, Any]]:
        """The service's journal since the first boot, one entry a line."""
        text = self.run("journalctl", "-u", UNIT, "-o", "json", "--no-pager").text
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def lines(self) -> str:
        """The messages of the journal, with those of systemd on the service."""
        return self.run("journalctl", "-u", UNIT, "-o", "cat", "--no-pager").text

    def wait(
        self, condition: Callable[[], bool], what: str, *, seconds: float = PATIENCE_SECONDS
    ) -> None:
        """Return once the condition holds. Raises AssertionError with the journal otherwise."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"{what}, after {seconds:.0f} s:\n{self._last_words()}")
            time.sleep(0.1)

    def wait_state(self, state: str) -> None:
        """Return once the service is in this state: active, inactive, failed …"""
        self.wait(lambda: self.show("ActiveState") == state, f"the service is not {state}")

    def wait_line(self, part: str) -> None:
        """Return once the journal has a line with this in it."""
        self.wait(lambda: part in self.lines(), f"the journal says nothing of {part!r}")

    def _is_on(self) -> bool:
        return bool(self._api.inspect_container(self.id)["State"]["Running"])

    def _last_words(self) -> str:
        if not self._is_on():
            return self._api.logs(self.id, tail=30).decode(errors="replace")
        status = self.systemctl("status", "--no-pager", "-n", "40", UNIT, check=False).text
        return f"system: {self.state()}\n{status}"


def _host_config(api: docker.APIClient, socket: Path) -> dict[str, Any]:
    made: dict[str, Any] = api.create_host_config(
        network_mode="host",
        cap_add=["ALL"],
        cap_drop=["SYS_RESOURCE"],
        security_opt=["seccomp=unconfined", "apparmor=unconfined"],
        tmpfs={"/run": "", "/tmp": ""},  # noqa: S108
        binds=["/sys/fs/cgroup:/sys/fs/cgroup:rw", f"{socket}:/run/docker.sock"],
    )
    return {**made, "CgroupnsMode": "host"}
