"""A group of processes that get so much memory and no more: what takes more is killed (OOM)."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_ENTER = 'echo $$ > "$0" && exec "$@"'
"""A shell that goes into the group and becomes the command."""


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """A group with a limit."""

    _folder: Path
    _peak: str

    @property
    def before(self) -> Sequence[str]:
        """What to put before a command so that it runs inside, from its first page on."""
        return ("sh", "-c", _ENTER, str(self._folder / "cgroup.procs"))

    @property
    def peak_bytes(self) -> int:
        """The most that all inside took together, pages of files included."""
        return int((self._folder / self._peak).read_text())


@contextmanager
def memory_limited(limit_bytes: int) -> Iterator[MemoryGroup]:
    """A group that is gone afterwards; needs root, and either version of cgroups."""
    name = f"backupd-test-{secrets.token_hex(4)}"
    is_second = (_ROOT / "cgroup.controllers").exists()
    folder = _ROOT / name if is_second else _ROOT / "memory" / name
    if is_second:
        (_ROOT / "cgroup.subtree_control").write_text("+memory")
    folder.mkdir()
    try:
        (folder / ("memory.max" if is_second else "memory.limit_in_bytes")).write_text(
            str(limit_bytes)
        )
        for switch, value in (("memory.swap.max", "0"), ("memory.swappiness", "0")):
            if (folder / switch).exists() and os.access(folder / switch, os.W_OK):
                (folder / switch).write_text(value)
        yield MemoryGroup(folder, "memory.peak" if is_second else "memory.max_usage_in_bytes")
    finally:
        folder.rmdir()
