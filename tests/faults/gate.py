"""A gate on the wires: it stops a piece there, so that a process dies at exactly that moment."""

from __future__ import annotations

import re
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.counts import DONE
from tests.servers.relay import Piece

PATIENCE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Step:
    """A moment in a run: a request before its server hears of it, or its answer from some byte."""

    request: str
    """Regular expression for all of `METHOD /path?query`."""
    answered: bool = False
    at_byte: int = 0
    """Of the answer, its head included."""

    def __call__(self, piece: Piece, _: Counter[str]) -> bool:
        if re.fullmatch(self.request, piece.request) is None:
            return False
        if not self.answered:
            return piece.is_head
        # A "100 Continue" is no answer yet.
        is_early = piece.data.startswith(b"HTTP/1.1 1")
        return piece.is_answer and not is_early and piece.answered_bytes > self.at_byte


@dataclass(frozen=True, slots=True)
class Passed:
    """The moment at which so much of something has passed."""

    what: str
    """`bytes` or `requests`."""
    count: int

    def __call__(self, _: Piece, passed: Counter[str]) -> bool:
        return passed[self.what] >= self.count


Moment = Callable[[Piece, Counter[str]], bool]
"""Whether it has come, with this piece and all that passed until now."""


class Gate:
    """Open until it is closed; what then comes at the moment waits until it is opened again."""

    def __init__(self) -> None:
        self.passed: Counter[str] = Counter()
        """How many `bytes` and `requests` passed since it was closed, and each request itself."""
        self._lets_through = False
        self._moment: Moment | None = None
        self._reached = threading.Event()
        self._open = threading.Event()
        self._lock = threading.Lock()

    def close(self, moment: Moment) -> None:
        """Stop the first piece that comes at this moment; what comes elsewhere goes on."""
        with self._lock:
            self._moment = moment
            self._lets_through = False
            self.passed = Counter()
            self._reached.clear()
            self._open.clear()

    def open(self, *, lets_through: bool = False) -> None:
        """Let everything pass again; what waited too, or it is lost with its connection."""
        with self._lock:
            self._moment = None
            self._lets_through = lets_through
        self._open.set()

    def is_reached(self, within_seconds: float = PATIENCE_SECONDS) -> bool:
        """Whether the moment comes within that time, so that something waits."""
        return self._reached.wait(within_seconds)

    def watch(self, piece: Piece) -> bool:
        """What the wires ask."""
        with self._lock:
            self.passed["bytes"] += len(piece.data)
            if piece.is_head:
                self.passed["requests"] += 1
                self.passed[piece.request] += 1
            if self._moment is None or not self._moment(piece, self.passed):
                return True
            self._moment = None
        DONE.faults += 1
        self._reached.set()
        self._open.wait(PATIENCE_SECONDS * 2)
        return self._lets_through

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """SIGKILL the process once it has come to the moment; what waits there goes on waiting."""
        assert self.is_reached(), "it did not come so far"
        process.kill()
        process.wait()
