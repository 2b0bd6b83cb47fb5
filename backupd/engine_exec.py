"""One command inside a running container: run it, bound it, and say how it ended.

The engine gives both outputs in one stream of frames: a byte that names the output, three zeros,
four bytes of length, then so many bytes (Docker Engine API, "ContainerAttach", stream format).
"""

from __future__ import annotations

import struct
import threading
import time
from dataclasses import dataclass

from backupd.engine import Engine
from backupd.engine_link import ANSWER_TIMEOUT_SECONDS
from backupd.errors import EngineError
from backupd.stream import Cancel

TAIL_BYTES = 4096
"""How much of a command's output is kept: its end, where the reason of a failure stands."""

_LINE_LIMIT = 300
_HEADER_BYTES = 8
_OUTPUTS = frozenset({0, 1, 2})
_OUTPUT, _ERRORS = 1, 2
_LOOKS = 50
_PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Command:
    """What is to run inside a container."""

    argv: tuple[str, ...]
    user: str | None = None
    """None is the container's own user."""
    timeout_seconds: float = 300


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    exit_code: int | None
    """None when it did not end in its time."""
    output: str
    """The end of what it printed."""
    errors: str = ""
    """The end of what it printed as errors; which came first, the engine does not tell."""

    @property
    def last_line(self) -> str:
        """The last line that says something, of the errors if there is one; may be empty.

        Short enough for a message.
        """
        for text in (self.errors, self.output):
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            if lines:
                return lines[-1][:_LINE_LIMIT]
        return ""


def run_inside(engine: Engine, container: str, command: Command, cancel: Cancel) -> Ended:
    """Run the command to its end, its timeout, or until `cancel` is set.

    The engine offers no way to end a command: one that takes too long goes on in there. No message
    repeats the command, which may hold a password. Raises EngineError, Cancelled.
    """
    exec_id = engine.exec_create(container, command.argv, command.user)
    # The patience of the connection must not end first: the timer says which of the two it was.
    said = engine.exec_start(exec_id, command.timeout_seconds + ANSWER_TIMEOUT_SECONDS)
    late = threading.Event()

    def end() -> None:
        late.set()
        said.hang_up()

    timer = threading.Timer(command.timeout_seconds, end)
    timer.daemon = True
    timer.start()
    tail = Tail()
    try:
        with cancel.closing(said.hang_up):
            for chunk in said:
                tail.feed(chunk)
    except EngineError:
        cancel.raise_if_set()
        if not late.is_set():
            raise
    finally:
        timer.cancel()
    cancel.raise_if_set()
    code = _exit_code(engine, exec_id, looks=1 if late.is_set() else _LOOKS)
    return Ended(code, tail.output, tail.errors)


def _exit_code(engine: Engine, exec_id: str, looks: int) -> int | None:
    """None when it still runs: its output may end a moment before the engine knows the code."""
    for look in range(looks):
        if look:
            time.sleep(_PAUSE_SECONDS)
        state = engine.exec_inspect(exec_id)
        if not state.get("Running") and state.get("ExitCode") is not None:
            return int(state["ExitCode"])
    return None


class Tail:
    """The end of each output in a stream of frames, whatever pieces it comes in."""

    def __init__(self) -> None:
        self._kept = {_OUTPUT: b"", _ERRORS: b""}
        self._frame = _OUTPUT
        self._ahead = b""
        self._left = 0

    def feed(self, chunk: bytes) -> None:
        """Take the next piece; what is no frame (an engine's bare words) counts as it is."""
        ahead = self._ahead + chunk
        while ahead:
            if self._left:
                self._keep(self._frame, ahead[: self._left])
                ahead, self._left = ahead[self._left :], self._left - min(self._left, len(ahead))
            elif ahead[0] not in _OUTPUTS:
                self._keep(_OUTPUT, ahead)
                ahead = b""
            elif len(ahead) < _HEADER_BYTES:
                break
            else:
                self._frame = _ERRORS if ahead[0] == _ERRORS else _OUTPUT
                self._left = struct.unpack(">I", ahead[4:_HEADER_BYTES])[0]
                ahead = ahead[_HEADER_BYTES:]
        self._ahead = ahead

    def _keep(self, frame: int, text: bytes) -> None:
        self._kept[frame] = (self._kept[frame] + text)[-TAIL_BYTES:]

    @property
    def output(self) -> str:
        """What came last on the standard output, at most `TAIL_BYTES` of it."""
        return self._kept[_OUTPUT].decode("utf-8", "replace")

    @property
    def errors(self) -> str:
        """What came last on the standard error, at most `TAIL_BYTES` of it."""
        return self._kept[_ERRORS].decode("utf-8", "replace")
