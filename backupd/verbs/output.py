"""Write a backup's plain tar to a file or a pipe, for `docker load` or `docker import` by hand."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from backupd.errors import UsageError

STANDARD_OUTPUT = "-"

_NO_SUCH_FILES = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOSYS)
"""What says that a file system, or a kernel, has no files without a name (open(2))."""

_MODE = 0o600
"""What an image or a container holds was not for everybody to read where it came from."""


def write_tar(chunks: Iterable[bytes], target: str) -> int:
    """Write the chunks to the file `target`, or to standard output; how many bytes that were.

    A file appears under its name only when it is whole, and never replaces what is there. Until
    then it has no name, so that nothing is left of a process that is killed; where the file system
    knows no such files it grows beside its place as `….partial`, which goes away on any error.
    Only its owner may read it. Raises UsageError when it cannot be written.
    """
    if target == STANDARD_OUTPUT:
        if sys.stdout.isatty():
            raise UsageError("cannot write a tar to a terminal; use --output FILE or a pipe")
        return _copy(chunks, sys.stdout.fileno())
    path = Path(target)
    if path.exists():
        raise UsageError(f"cannot write {path}: it exists; remove it or choose another name")
    try:
        with _without_a_name(path.parent) or _beside(path) as place:
            written = _copy(chunks, place.descriptor)
            os.fsync(place.descriptor)
            place.name_it(path)
        return written
    except FileExistsError as error:
        raise UsageError(
            f"cannot write {path}: {error.filename2 or error.filename} exists already; remove it, "
            "unless another restore writes it just now"
        ) from error
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class _Place:
    """A file that is being written."""

    descriptor: int
    path: Path
    """By which it can be linked to."""

    def name_it(self, path: Path) -> None:
        """Give it its name. A link, not a rename: it never replaces what somebody put there."""
        here = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
        try:
            # Only with a directory does Python ask for linkat(2), which follows the link in /proc.
            os.link(self.path, path.absolute(), src_dir_fd=here, follow_symlinks=True)
        finally:
            os.close(here)


def _without_a_name(folder: Path) -> AbstractContextManager[_Place] | None:
    """A file without a name in the folder (open(2), O_TMPFILE); None where there can be none."""
    try:
        descriptor = os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, _MODE)
    except OSError as error:
        if error.errno in _NO_SUCH_FILES:
            return None
        raise
    place = _Place(descriptor, Path(f"/proc/self/fd/{descriptor}"))
    if not place.path.exists():
        os.close(descriptor)
        return None
    return _closed(place)


@contextmanager
def _closed(place: _Place) -> Iterator[_Place]:
    try:
        yield place
    finally:
        os.close(place.descriptor)


@contextmanager
def _beside(path: Path) -> Iterator[_Place]:
    partial = path.with_name(path.name + ".partial")
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    descriptor = os.open(partial, flags, _MODE)
    try:
        yield _Place(descriptor, partial.absolute())
    finally:
        os.close(descriptor)
        partial.unlink()


def _copy(chunks: Iterable[bytes], descriptor: int) -> int:
    written = 0
    for chunk in chunks:
        view = memoryview(chunk)
        while view:
            view = view[os.write(descriptor, view) :]
        written += len(chunk)
    return written
