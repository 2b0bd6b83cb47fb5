"""The files below one directory: walked in the order of their keys, made, flushed, cleaned up.

Serves `DirectoryStore` alone. Symbolic links and names that are not UTF-8 are no objects: they are
never followed, listed or written through. OSErrors come out as they are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from errno import EINVAL, ENOSYS, ENOTSUP, EOPNOTSUPP, EPERM
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TypeVar

from backupd.stores import Entry

Result = TypeVar("Result")

FILE_MODE = 0o640
FOLDER_MODE = 0o750
_ATTEMPTS = 20
_NO_HARD_LINKS = frozenset({EPERM, ENOSYS, ENOTSUP, EOPNOTSUPP})
"""What file systems without hard links answer: FAT, some network and FUSE file systems."""


@dataclass(frozen=True, slots=True)
class Child:
    """One file or folder; the key of a folder ends in `/`, which also sorts it as keys do."""

    key: str
    size_bytes: int
    modified_at: datetime


def children(top: Path, folder: str) -> list[Child]:
    """What lies directly in `folder` (empty, or ending in `/`) below `top`, in byte order of keys.

    A folder that is not there has no children.
    """
    found = []
    try:
        with os.scandir(top / folder) as entries:
            for entry in entries:
                child = _child(entry, folder)
                if child is not None:
                    found.append(child)
    except (FileNotFoundError, NotADirectoryError):
        return []
    # Code points sort as their UTF-8 bytes do.
    return sorted(found, key=lambda child: child.key)


def _child(entry: os.DirEntry[str], folder: str) -> Child | None:
    try:
        entry.name.encode()
        status = entry.stat(follow_symlinks=False)
    except (UnicodeEncodeError, FileNotFoundError):
        return None
    modified_at = datetime.fromtimestamp(status.st_mtime, UTC)
    if S_ISDIR(status.st_mode):
        return Child(f"{folder}{entry.name}/", 0, modified_at)
    if S_ISREG(status.st_mode):
        return Child(folder + entry.name, status.st_size, modified_at)
    return None


def walk(
    top: Path, prefix: str, *, start_after: str = "", without: str | None = None
) -> Iterator[Entry]:
    """Every file below `top` whose key begins with `prefix`, in byte order of keys, lazily.

    `without` is the key of one folder that is passed over.
    """
    yield from _walk(top, prefix[: prefix.rfind("/") + 1], prefix, start_after, without)


def _walk(
    top: Path, folder: str, prefix: str, start_after: str, without: str | None
) -> Iterator[Entry]:
    for child in children(top, folder):
        key = child.key
        if key == without or (key < start_after and not start_after.startswith(key)):
            continue
        if key.endswith("/"):
            if key.startswith(prefix) or prefix.startswith(key):
                yield from _walk(top, key, prefix, start_after, without)
        elif key.startswith(prefix) and key > start_after:
            yield Entry(key, child.size_bytes, child.modified_at)


def in_folder(path: Path, act: Callable[[], Result]) -> Result:
    """What `act` returns, once the folder of `path` is there.

    Repeated when the folder goes away in between: a deletion removes folders that it left empty.
    """
    for _ in range(_ATTEMPTS):
        with suppress(FileNotFoundError):
            make_folder(path.parent)
            return act()
    make_folder(path.parent)
    return act()


def make_folder(folder: Path) -> None:
    """Make `folder` and those above it; `Path.mkdir` would give those above another mode."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(FOLDER_MODE)
        hand_over(folder)


def hand_over(path: Path) -> None:
    """Give what root made to the owner of the folder in which it lies.

    Otherwise a command run with sudo would lock the service's user out of its own store.
    """
    if os.geteuid() != 0:
        return
    # Some file systems have no owners, and on some a network's root is nobody.
    with suppress(OSError):
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def place_new(partial: Path, final: Path) -> None:
    """Give `partial` its place. Raises FileExistsError rather than replace what is there."""
    try:
        os.link(partial, final, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if os.path.lexists(final):
            raise FileExistsError from error
        partial.rename(final)


def flush_folders(folder: Path, top: Path) -> None:
    """Make the names in `folder`, and in those above up to `top`, survive a loss of power."""
    for each in (folder, *folder.parents):
        with suppress(FileNotFoundError):
            _flush(each)
        if each == top:
            return


def _flush(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network and FUSE file systems cannot flush a folder.
        if error.errno not in {EINVAL, ENOTSUP, EOPNOTSUPP}:
            raise
    finally:
        os.close(handle)


def remove_empty(folder: Path, top: Path) -> None:
    """Remove `folder` and those above, below `top`, as far as they are empty."""
    while folder != top:
        try:
            folder.rmdir()
        except FileNotFoundError:
            pass
        except OSError:
            return
        folder = folder.parent
