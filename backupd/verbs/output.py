"""Write a backup's plain tar to a file or a pipe, for `docker load` or `docker import` by hand."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from backupd.errors import UsageError

STANDARD_OUTPUT = "-"


def write_tar(chunks: Iterable[bytes], target: str) -> int:
    """Write the chunks to the file `target`, or to standard output; how many bytes that were.

    A file appears under its name only when it is whole: it grows beside it as `….partial`, which
    goes away on any error. Raises UsageError when it cannot be written.
    """
    if target == STANDARD_OUTPUT:
        if sys.stdout.isatty():
            raise UsageError("cannot write a tar to a terminal; use --output FILE or a pipe")
        return _copy(chunks, sys.stdout.fileno())
    path = Path(target)
    if path.exists():
        raise UsageError(f"cannot write {path}: it exists; remove it or choose another name")
    try:
        return _write_beside(chunks, path)
    except FileExistsError as error:
        raise UsageError(f"cannot write {path}: {error.filename} exists already") from error
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def _write_beside(chunks: Iterable[bytes], path: Path) -> int:
    partial = path.with_name(path.name + ".partial")
    with partial.open("xb") as handle:
        try:
            written = _copy(chunks, handle.fileno())
            os.fsync(handle.fileno())
            # A link, not a rename: it never replaces what somebody put there meanwhile.
            path.hardlink_to(partial)
        finally:
            partial.unlink()
    return written


def _copy(chunks: Iterable[bytes], descriptor: int) -> int:
    written = 0
    for chunk in chunks:
        view = memoryview(chunk)
        while view:
            view = view[os.write(descriptor, view) :]
        written += len(chunk)
    return written
