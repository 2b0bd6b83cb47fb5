"""Reading a small file that a person named, whatever is really there."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def read_file(path: Path, *, largest_bytes: int) -> tuple[bytes, int]:
    """The content and the mode of the file at `path`; no content if it is no regular file.

    Never more than `largest_bytes` + 1, so that the caller sees that it was larger. Raises OSError,
    and ValueError for a path that no file can have.
    """
    # Without O_NONBLOCK a pipe in the file's place would hold the start for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            return b"", mode
        with os.fdopen(descriptor, "rb", closefd=False) as opened:
            return opened.read(largest_bytes + 1), mode
    finally:
        os.close(descriptor)
