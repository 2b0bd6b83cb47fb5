"""A real engine that misbehaves: a proxy in front of it that passes everything through but faults.

It speaks HTTP on a socket of its own, as dockerd does. A fault waits for a request that fits, and
acts before the engine is asked, at a chosen byte of what is sent to it, or at a chosen byte of its
answer; so a test decides to the byte when a file shrinks, an engine dies or a stream ends.
"""

from __future__ import annotations

import http.client
import io
import json
import re
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from types import TracebackType
from typing import Self

SAVE = r"GET /v[\d.]+/images/get\?.*"
EXPORT = r"GET /v[\d.]+/containers/[^/]+/export"
LOAD = r"POST /v[\d.]+/images/load\?.*"
IMPORT = r"POST /v[\d.]+/images/create\?.*"
INSPECT_IMAGE = r"GET /v[\d.]+/images/.+/json"
ARCHIVE = r"GET /v[\d.]+/containers/[^/]+/archive\?.*"
PAUSE = r"POST /v[\d.]+/containers/[^/]+/pause"
UNPAUSE = r"POST /v[\d.]+/containers/[^/]+/unpause"
STOP = r"POST /v[\d.]+/containers/[^/]+/stop"
START = r"POST /v[\d.]+/containers/[^/]+/start"

AT_END = 1 << 62
"""As `at_byte`: behind the last byte."""

_PIECE_BYTES = 64 << 10
_GRACE_SECONDS = 1.0


class Then(Enum):
    """How it goes on after a fault."""

    GO_ON = auto()
    """As if nothing had happened."""
    END = auto()
    """The answer ends here, as cleanly as one that is whole."""
    BREAK = auto()
    """The connection is closed, with no end of the answer."""
    STALL = auto()
    """Nothing more comes, and the connection stays."""


@dataclass(slots=True)
class Fault:
    """One misfortune for the next `times` requests that match `request` (`METHOD /path?query`)."""

    request: str
    then: Then = Then.GO_ON
    at_byte: int | None = None
    """Of the answer's body; None is before the engine is asked."""
    at_sent_byte: int | None = None
    """Of the request's body, instead of `at_byte`; only `act` and BREAK make sense there."""
    act: Callable[[], object] = lambda: None
    """Done in the very moment."""
    extra: bytes = b""
    """Bytes that are put into the answer's body at that place."""
    answer: tuple[int, bytes] | None = None
    """Status and body to answer with, instead of asking the engine."""
    times: int = 1


def error_json(message: str) -> bytes:
    """What an engine appends to a body whose HTTP 200 is out already."""
    error = {"errorDetail": {"message": message}, "error": message}
    return json.dumps(error).encode() + b"\r\n"


def refusal(message: str) -> bytes:
    """The body of an engine's HTTP error."""
    return json.dumps({"message": message}).encode() + b"\n"


class _Over(Exception):
    """The connection is to be closed now."""


class FaultyEngine:
    """The proxy, from `with` to its end, in front of the engine at `upstream` (unix://…).

    dockerd keeps its connections; with `keeps_alive=False` each one ends with its first answer, as
    behind other proxies, and http.client then treats the socket in another way.
    """

    def __init__(self, upstream: str, *, keeps_alive: bool = True) -> None:
        self._upstream = upstream.removeprefix("unix://")
        self._keeps_alive = keeps_alive
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.requests: list[str] = []
        """`METHOD /path?query` of all that was asked, in order."""

    @property
    def host(self) -> str:
        """Where the proxy answers, as `docker: {host: …}`."""
        return f"unix://{self._directory}/docker.sock"

    def add(self, *faults: Fault) -> None:
        """Let these happen; the first one that fits a request does."""
        with self._lock:
            self._faults += faults

    def __enter__(self) -> Self:
        # Not below the test's own directory: a socket's path has room for 107 bytes only.
        self._directory = Path(tempfile.mkdtemp(prefix="backupd-faulty-"))
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.host.removeprefix("unix://"))
        self._listener.listen(16)
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            sockets = [self._listener, *self._sockets]
        for each in sockets:
            # Closing alone would leave a blocked accept or recv asleep.
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(10)
        self._listener.close()
        shutil.rmtree(self._directory)

    def _start(self, run: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with self._held(client), suppress(OSError, http.client.HTTPException, _Over):
            received = client.makefile("rb")
            while True:
                head = _head(received)
                method, target, _ = head[0].split(" ")
                fault = self._taken(f"{method} {target}")
                if fault is not None and fault.at_byte is None and fault.at_sent_byte is None:
                    self._before(client, fault)
                    fault = None
                self._pass_on(client, received, head, fault)
                if not self._keeps_alive:
                    return

    def _taken(self, request: str) -> Fault | None:
        with self._lock:
            self.requests.append(request)
            for fault in self._faults:
                if fault.times and re.fullmatch(fault.request, request):
                    fault.times -= 1
                    return fault
        return None

    def _before(self, client: socket.socket, fault: Fault) -> None:
        fault.act()
        if fault.answer is not None:
            status, body = fault.answer
            head = f"HTTP/1.1 {status} Fault\r\nContent-Type: application/json\r\n"
            head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            client.sendall(head.encode() + body)
            raise _Over
        _go_on(client, fault.then)

    def _pass_on(
        self,
        client: socket.socket,
        received: io.BufferedReader,
        head: list[str],
        fault: Fault | None,
    ) -> None:
        with socket.socket(socket.AF_UNIX) as engine, self._held(engine):
            engine.connect(self._upstream)
            # One request to a connection, so that nothing but this answer can follow.
            kept = [line for line in head if not line.lower().startswith("connection:")]
            engine.sendall("\r\n".join([*kept, "Connection: close", "", ""]).encode("latin-1"))
            upload = self._start(_send_body, head, received, engine, fault)
            answer = http.client.HTTPResponse(engine, method=head[0].split(" ")[0])
            try:
                answer.begin()
                self._answer(client, answer, fault)
                upload.join(_GRACE_SECONDS)
            finally:
                if upload.is_alive() or sys.exc_info()[0] is not None:
                    with suppress(OSError):
                        client.shutdown(socket.SHUT_RDWR)
                with suppress(OSError):
                    engine.shutdown(socket.SHUT_RDWR)
                upload.join()
                answer.close()

    def _answer(
        self, client: socket.socket, answer: http.client.HTTPResponse, fault: Fault | None
    ) -> None:
        chunked = answer.length is None
        lines = [f"HTTP/1.1 {answer.status} {answer.reason}"]
        for name, value in answer.getheaders():
            if name.lower() not in {"connection", "transfer-encoding"}:
                lines.append(f"{name}: {value}")
        lines += [] if self._keeps_alive else ["Connection: close"]
        lines += ["Transfer-Encoding: chunked"] if chunked else []
        client.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        _answer_body(client, answer, fault, chunked=chunked)

    def _held(self, held: socket.socket) -> _Held:
        return _Held(held, self._sockets, self._lock)


@dataclass(frozen=True, slots=True)
class _Held:
    """A socket that the end of the proxy can shut down, closed afterwards."""

    held: socket.socket
    among: set[socket.socket]
    lock: threading.Lock

    def __enter__(self) -> None:
        with self.lock:
            self.among.add(self.held)

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.among.discard(self.held)
        self.held.close()


def _head(received: io.BufferedReader) -> list[str]:
    """The lines of a request's head. Raises _Over when the other side hangs up."""
    lines: list[str] = []
    while line := received.readline():
        if line == b"\r\n":
            return lines
        lines.append(line.decode("latin-1").rstrip("\r\n"))
    raise _Over


def _send_body(
    head: list[str], received: io.BufferedReader, engine: socket.socket, fault: Fault | None
) -> None:
    """The request's body, to the engine; cut there where the client cuts it."""
    headers = {name.lower(): value.strip() for name, _, value in (h.partition(":") for h in head)}
    at = fault.at_sent_byte if fault is not None else None
    try:
        if "chunked" in headers.get("transfer-encoding", ""):
            _send_chunks(received, engine, at, fault)
        else:
            engine.sendall(received.read(int(headers.get("content-length", 0))))
    except (OSError, ValueError, _Over):
        with suppress(OSError):
            engine.shutdown(socket.SHUT_RDWR)


def _send_chunks(
    received: io.BufferedReader, engine: socket.socket, at: int | None, fault: Fault | None
) -> None:
    sent_bytes = 0
    while True:
        size = int(received.readline(), 16)  # ValueError: the client hung up
        data = received.read(size + 2)
        if len(data) < size + 2:
            raise _Over
        engine.sendall(f"{size:x}\r\n".encode() + data)
        sent_bytes += size
        if fault is not None and at is not None and sent_bytes >= at:
            at = None
            fault.act()
            if fault.then is Then.BREAK:
                raise _Over
        if size == 0:
            return


def _answer_body(
    client: socket.socket,
    answer: http.client.HTTPResponse,
    fault: Fault | None,
    *,
    chunked: bool,
) -> None:
    def send(data: bytes) -> None:
        if data:
            client.sendall(f"{len(data):x}\r\n".encode() + data + b"\r\n" if chunked else data)

    at = fault.at_byte if fault is not None else None
    passed_bytes = 0
    while data := answer.read1(_PIECE_BYTES):
        if fault is not None and at is not None and passed_bytes + len(data) >= at:
            send(data[: at - passed_bytes])
            _strike(client, fault, send)
            data, passed_bytes, at = data[at - passed_bytes :], at, None
        send(data)
        passed_bytes += len(data)
    if fault is not None and at == AT_END:
        _strike(client, fault, send)
    if chunked:
        client.sendall(b"0\r\n\r\n")


def _strike(client: socket.socket, fault: Fault, send: Callable[[bytes], None]) -> None:
    """Let the fault happen in the middle of an answer. Raises _Over when that ends it."""
    fault.act()
    send(fault.extra)
    if fault.then is Then.END:
        client.sendall(b"0\r\n\r\n")
        raise _Over
    _go_on(client, fault.then)


def _go_on(client: socket.socket, then: Then) -> None:
    if then is Then.STALL:
        client.recv(1)  # until the client, or the proxy's end, closes the connection
    if then is not Then.GO_ON:
        raise _Over
