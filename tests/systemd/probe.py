"""Run inside a machine, under the unit's own settings: what may a process of the service do?

It prints one JSON object on standard output and needs nothing but Python.
"""

import json
import os
import socket
import sys
from pathlib import Path

CANNOT_WRITE = ("/etc", "/etc/backupd", "/opt/backupd", "/usr", "/var", "/var/lib", "/boot")
CAN_WRITE = ("/var/lib/backupd", "/run/backupd", "/tmp")  # noqa: S108


def can_write(folder: str) -> bool:
    """Whether a file can be made there."""
    path = Path(folder) / "probe"
    try:
        path.write_text("x")
        path.unlink()
    except OSError:
        return False
    return True


def can_open(family: int, kind: int) -> bool:
    """Whether such a socket can be made."""
    try:
        socket.socket(family, kind).close()
    except OSError:
        return False
    return True


def can_connect(path: str) -> bool:
    """Whether something answers at the socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
        except OSError:
            return False
    return True


def seen(folder: str) -> list[str]:
    """What lies in a folder, nothing if it cannot be seen."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208
    except OSError:
        return []


def status(name: str) -> str:
    """A line of this process's status, as proc(5) names it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(f"{name}:"))


def text_of(path: str) -> str:
    """The content of a file, empty if it may not be read."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""


credentials = os.environ.get("CREDENTIALS_DIRECTORY", "")
json.dump(
    {
        "written": [folder for folder in CANNOT_WRITE if can_write(folder)],
        "unwritten": [folder for folder in CAN_WRITE if not can_write(folder)],
        "homes": seen("/root") + seen("/home"),
        "tmp": seen("/tmp"),  # noqa: S108
        "others": [name for name in seen("/proc") if name.isdigit() and int(name) == 1],
        "user": os.geteuid() != 0,
        "capabilities": status("CapEff") + status("CapBnd"),
        "no_new_privileges": status("NoNewPrivs"),
        "seccomp": status("Seccomp"),
        "packet_socket": can_open(socket.AF_PACKET, socket.SOCK_RAW),
        "netlink_socket": can_open(socket.AF_NETLINK, socket.SOCK_RAW),
        "docker": can_connect("/run/docker.sock"),
        "policy": bool(text_of("/etc/backupd/config.yaml")),
        "secret_file": text_of("/etc/backupd/s3.secret"),
        "credential": text_of(f"{credentials}/s3-secret"),
        "core_limit": text_of("/proc/self/limits").split("Max core file size")[1].split()[0],
    },
    sys.stdout,
)
