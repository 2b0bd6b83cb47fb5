"""The backupd that runs now, as a hardened unit would start it: can it?

A unit with ProtectHome= and PrivateTmp= sees nothing of /root, /home and /tmp, and its user reads
only what everyone may read. A program that lies there works for whoever installs it and never as a
service, so it is refused before anything is put in place.
"""

from __future__ import annotations

import re
import stat
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import backupd
from backupd.errors import UsageError

HIDDEN = tuple(map(Path, ("/root", "/home", "/run/user", "/tmp", "/var/tmp", "/dev")))  # noqa: S108
"""What the unit hides: ProtectHome=, PrivateTmp= and PrivateDevices= (systemd.exec(5))."""

WAY_OUT = (
    "make a venv with python3 -m venv /opt/backupd, install backupd into that with "
    "/opt/backupd/bin/pip, then run /opt/backupd/bin/backupd install"
)
_PLAIN = re.compile(r"[A-Za-z0-9_./+-]+")


@dataclass(frozen=True, slots=True)
class Program:
    """A command `backupd` and all that it needs to run."""

    script: Path
    """The command itself, as the unit will name it."""
    home: Path
    """The virtual environment, or what else the interpreter calls its prefix."""
    parts: tuple[Path, ...]
    """The script, the interpreter, its libraries and the package."""

    @classmethod
    def running(cls) -> Program:
        """The one that runs now."""
        package = Path(backupd.__file__).parent
        interpreter, libraries = Path(sys.executable), Path(sysconfig.get_path("stdlib"))
        script = Path(sysconfig.get_path("scripts")) / "backupd"
        return cls(script, Path(sys.prefix), (script, interpreter, libraries, package))

    def require_usable(self, hidden: Sequence[Path] = HIDDEN) -> None:
        """Raise UsageError if a hardened unit could not run it, with the way out."""
        if not self.script.exists():
            raise UsageError(
                f"cannot install: there is no command {self.script} beside this Python; {WAY_OUT}"
            )
        if not _PLAIN.fullmatch(str(self.script)):
            raise UsageError(
                f"cannot install: a unit cannot name {str(self.script)!r}, which has signs that "
                f"systemd takes for something else; {WAY_OUT}"
            )
        for path in self._whole_paths():
            if hider := _hider(path, hidden):
                raise UsageError(
                    f"cannot install: {path} lies below {hider}, which the hardened service does "
                    f"not see; {WAY_OUT}"
                )
        for path in self._whole_paths():
            if closed := _closed_part(path):
                everything = "-R " if closed.is_relative_to(self.home) else ""
                raise UsageError(
                    f"cannot install: the service's user may not read {closed}; "
                    f"run: chmod {everything}a+rX {closed}"
                )

    def _whole_paths(self) -> Iterator[Path]:
        """Every part, as it is named and, where that is a link, what it leads to."""
        for part in self.parts:
            yield part
            if part.resolve() != part:
                yield part.resolve()


def _hider(path: Path, hidden: Sequence[Path]) -> Path | None:
    return next((folder for folder in hidden if path.is_relative_to(folder)), None)


def _closed_part(path: Path) -> Path | None:
    """The first part of the path that others than its owner and group may not pass or read."""
    for folder in reversed(path.parents):
        if not folder.stat().st_mode & stat.S_IXOTH:
            return folder
    mode = path.stat().st_mode
    needed = stat.S_IROTH | (stat.S_IXOTH if stat.S_ISDIR(mode) else 0)
    return path if mode & needed != needed else None
