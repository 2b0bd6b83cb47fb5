"""A wall clock that a test sets while a process runs, by Debian's libfaketime, preloaded into it.

Only the time of day is shifted, for that process alone: the clock that only goes forward stays, as
it does when somebody sets a machine's clock, and so do the times of files.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.servers.dockerd import install_package

_LIBRARIES = "usr/lib/*/faketime/libfaketimeMT.so.1"


class ShiftedClock:
    """The clock; right until it is set. `path` is the file by which the library is told."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._library = _library()
        self.shift(0)

    @property
    def before(self) -> Sequence[str]:
        """What to put before a command so that it has this clock."""
        return (
            "env",
            f"LD_PRELOAD={self._library}",
            f"FAKETIME_TIMESTAMP_FILE={self._path}",
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
            "NO_FAKE_STAT=1",
        )

    def shift(self, seconds: float) -> None:
        """Let it be so far ahead of the true time; below zero is behind."""
        partial = self._path.with_suffix(".partial")
        partial.write_text(f"{seconds:+.3f}\n")
        partial.replace(self._path)

    def set(self, moment: datetime) -> None:
        """Let it be this moment now, and go on from there."""
        self.shift((moment - datetime.now(UTC)).total_seconds())


def _library() -> Path:
    if not list(Path("/").glob(_LIBRARIES)):
        install_package("faketime", "a clock that can be set for one process")
    return next(Path("/").glob(_LIBRARIES))
