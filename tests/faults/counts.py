"""What the tests of faults did, counted: told at the end of pytest's run, and by the soak.

The numbers are of this process; where tests run in several, the one that tells them has added them
up. Whoever injects a fault, runs the command or looks at a backup adds to `DONE`; a backup counts
as lost where it does not restore to what it was made of.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.integration.command import Command, Result


@dataclass(slots=True)
class Counts:
    """The numbers."""

    faults: int = 0
    runs: int = 0
    backups: int = 0
    lost: int = 0

    def __str__(self) -> str:
        return (
            f"faults injected: {self.faults:,}, runs: {self.runs:,}, "
            f"backups checked: {self.backups:,}, lost: {self.lost:,}"
        )

    def add(self, other: Mapping[str, int]) -> None:
        """Add what another process counted, by the names of these numbers."""
        for name, count in other.items():
            setattr(self, name, getattr(self, name) + count)

    @contextmanager
    def checking(self) -> Iterator[None]:
        """Inside the block one backup is restored and compared; if that fails, it is lost."""
        self.backups += 1
        try:
            yield
        except BaseException:
            self.lost += 1
            raise


DONE = Counts()
"""Those of this process."""


class CountedCommand(Command):
    """The command, each of whose runs counts."""

    def __call__(
        self,
        *arguments: str | Path,
        stdin: bytes = b"",
        before: Sequence[str] = (),
        timeout_seconds: float = 180,
    ) -> Result:
        """See `Command`."""
        DONE.runs += 1
        return super().__call__(
            *arguments, stdin=stdin, before=before, timeout_seconds=timeout_seconds
        )

    def start(
        self,
        *arguments: str | Path,
        before: Sequence[str] = (),
        errors: int | IO[bytes] = subprocess.PIPE,
    ) -> subprocess.Popen[bytes]:
        """See `Command`."""
        DONE.runs += 1
        return super().start(*arguments, before=before, errors=errors)
