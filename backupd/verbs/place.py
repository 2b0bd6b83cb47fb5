"""Files put onto a machine: each whole or not at all, and each step told of as a value.

Nothing here knows which files these are. With `dry_run` every function says what it would do.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from backupd.errors import UsageError


class Act(StrEnum):
    """What becomes of one path."""

    CREATED = "created"
    REPLACED = "replaced"
    SAME = "unchanged"
    KEPT = "kept"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Step:
    """One path, and what was (or would be) done to it."""

    act: Act
    path: Path
    what: str


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the target machine, by its numbers there."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Target:
    """The machine that is changed: its root directory, and whether it is changed at all."""

    root: Path = Path("/")
    dry_run: bool = False

    @property
    def is_this_machine(self) -> bool:
        """Whether it is the one that runs, so that its systemd can be told."""
        return self.root == Path("/")

    def at(self, path: Path) -> Path:
        """Where the target's `path` is found from here."""
        return self.root / path.relative_to("/")

    def has(self, path: Path) -> bool:
        """Whether anything lies there, be it a link that leads nowhere."""
        return os.path.lexists(self.at(path))

    def require_rights(self) -> None:
        """Raise UsageError where only root could do it and somebody else tries."""
        if self.is_this_machine and not self.dry_run and os.geteuid() != 0:
            raise UsageError(
                "cannot install or uninstall: only root may; run it with sudo, or see what it "
                "would do with --dry-run"
            )

    def account(self, name: str) -> Account | None:
        """The numbers of this user there, None if there is no such user."""
        try:
            lines = self.at(Path("/etc/passwd")).read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return None
        for fields in (line.split(":") for line in lines):
            if fields[0] == name:
                return Account(int(fields[2]), int(fields[3]))
        return None


def put(target: Target, path: Path, text: str, what: str) -> Step:
    """Make the file hold `text`, for everyone to read."""
    place, content = target.at(path), text.encode()
    old = place.read_bytes() if place.is_file() else None
    if old == content:
        return Step(Act.SAME, path, what)
    if not target.dry_run:
        _write(place, content, mode=0o644)
    return Step(Act.CREATED if old is None else Act.REPLACED, path, what)


def put_once(target: Target, path: Path, text: str, what: str, *, reader: Account | None) -> Step:
    """Write the file if nothing lies there: for root to change, for the reader's group to read."""
    if target.has(path):
        return Step(Act.KEPT, path, what)
    if not target.dry_run:
        _write(target.at(path), text.encode(), mode=0o640, group=reader)
    return Step(Act.CREATED, path, what)


def put_folder(target: Target, path: Path, what: str, *, owner: Account | None) -> Step:
    """Make a directory of the owner's if there is none."""
    if target.has(path):
        return Step(Act.KEPT, path, what)
    if not target.dry_run:
        place = target.at(path)
        _make_folder(place.parent)
        place.mkdir(mode=0o750)
        if owner is not None and os.geteuid() == 0:
            os.chown(place, owner.uid, owner.gid)
    return Step(Act.CREATED, path, what)


def put_link(target: Target, path: Path, goal: Path, what: str) -> Step:
    """Make `path` a link to `goal`, unless it is something else already, which is kept."""
    place = target.at(path)
    if target.has(path):
        same = place.is_symlink() and place.readlink() == goal
        return Step(Act.SAME if same else Act.KEPT, path, what)
    if not target.dry_run:
        _make_folder(place.parent)
        place.symlink_to(goal)
    return Step(Act.CREATED, path, what)


def remove(target: Target, path: Path, what: str) -> Step:
    """Remove a file or link that lies there."""
    if not target.dry_run:
        target.at(path).unlink()
    return Step(Act.REMOVED, path, what)


def is_readable_by(place: Path, reader: Account) -> bool:
    """Whether the file's mode lets this user read it."""
    found = place.stat()
    if found.st_uid == reader.uid:
        return bool(found.st_mode & stat.S_IRUSR)
    if found.st_gid == reader.gid:
        return bool(found.st_mode & stat.S_IRGRP)
    return bool(found.st_mode & stat.S_IROTH)


def _write(place: Path, content: bytes, *, mode: int, group: Account | None = None) -> None:
    """Put a new file in the place of an old one, with this mode whatever the umask."""
    _make_folder(place.parent)
    partial = place.with_name(f".{place.name}.partial")
    partial.unlink(missing_ok=True)
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as opened:
        opened.write(content)
        if group is not None and os.geteuid() == 0:
            os.fchown(handle, 0, group.gid)
        os.fchmod(handle, mode)
    partial.replace(place)


def _make_folder(folder: Path) -> None:
    """Make it and its parents passable by everyone, whatever root's umask."""
    if not folder.exists():
        _make_folder(folder.parent)
        folder.mkdir()
        folder.chmod(0o755)
