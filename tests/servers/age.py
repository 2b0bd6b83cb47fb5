"""The real program `age`, to decrypt what backupd stored, and keys that it and ssh-keygen make."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.servers.dockerd import install_package


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A private key in a file of its own, and its public one as text."""

    path: Path
    public: str


def age_key(path: Path) -> KeyPair:
    """A new key pair of age."""
    _run(_program("age-keygen"), "-o", str(path))
    return KeyPair(path, _run(_program("age-keygen"), "-y", str(path)).decode().strip())


def ssh_key(
    path: Path, kind: str = "ed25519", *, passphrase: str = "", bits: int | None = None
) -> KeyPair:
    """A new key pair of ssh, with a comment."""
    size = ["-b", str(bits)] if bits else []
    words = ["-q", "-t", kind, *size, "-N", passphrase, "-C", "somebody@somewhere"]
    _run(_program("ssh-keygen"), *words, "-f", str(path))
    return KeyPair(path, path.with_suffix(".pub").read_text().strip())


def decrypt(stored: bytes, key: KeyPair) -> bytes:
    """What `age -d` makes of an object."""
    return _run(_program("age"), "-d", "-i", str(key.path), given=stored)


def _program(name: str) -> str:
    """The path of a program, installed from the system's packages where it is missing."""
    found = shutil.which(name)
    if found is None:
        package = "openssh-client" if name.startswith("ssh") else "age"
        install_package(package, f"{name}, for backups that are encrypted")
        found = shutil.which(name)
    assert found is not None, f"no {name} on this machine, even after installing its package"
    return found


def _run(*command: str, given: bytes = b"") -> bytes:
    return subprocess.run(command, input=given, capture_output=True, check=True).stdout
