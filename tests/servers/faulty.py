"""A real server that misbehaves: an HTTP proxy in front of it that passes everything through but
faults.

A fault waits for a request that fits, and acts before the server is asked, at a chosen byte of what
is sent to it, or at a chosen byte of its answer; so a test decides to the byte when a file shrinks,
a server dies or a stream ends. Heads stay as they are, so that signatures and host names fit.
"""

from __future__ import annotations

import http.client
import io
import re
import select
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.servers.fault import AT_END, Fault, Then
from tests.servers.faulty_wire import Held, Over, Strike, chunk, head_of, read_head, send_body

_PIECE_BYTES = 64 << 10
_GRACE_SECONDS = 1.0


class Faulty:
    """The proxy, from `with` to its end, in front of the server at `upstream` (unix://, http://).

    Servers keep their connections; with `keeps_alive=False` each one ends with its first answer, as
    behind other proxies, and http.client then treats the socket in another way.
    """

    def __init__(self, upstream: str, *, keeps_alive: bool = True) -> None:
        self._upstream = urlsplit(upstream)
        self._keeps_alive = keeps_alive
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._directory: Path | None = None
        self.address = ""
        """Where the proxy answers."""
        self.requests: list[str] = []
        """`METHOD /path?query` of all that was asked, in order."""
        self.struck = 0
        """How many faults happened."""

    def add(self, *faults: Fault) -> None:
        """Let these happen; the first one that fits a request does."""
        with self._lock:
            self._faults += faults

    def heal(self) -> None:
        """Let nothing more happen."""
        with self._lock:
            self._faults.clear()

    def asked(self, request: str) -> int:
        """How many requests matched so far."""
        return sum(re.fullmatch(request, made) is not None for made in tuple(self.requests))

    def hang_up(self) -> None:
        """Close every connection that is open now."""
        with self._lock:
            for each in self._sockets:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        if self._upstream.scheme == "unix":
            # Not below the test's own directory: a socket's path has room for 107 bytes only.
            self._directory = Path(tempfile.mkdtemp(prefix="backupd-faulty-"))
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(self._directory / "docker.sock"))
            self.address = f"unix://{self._directory}/docker.sock"
        else:
            self._listener = socket.socket(socket.AF_INET)
            self._listener.bind(("127.0.0.1", 0))
            self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._listener.listen(64)
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Closing alone would leave a blocked accept or recv asleep.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self.hang_up()
        for thread in list(self._threads):
            thread.join(10)
        self._listener.close()
        if self._directory is not None:
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
        with self._held(client), suppress(OSError, http.client.HTTPException, Over):
            received = client.makefile("rb")
            while True:
                head = read_head(received)
                method, target, _ = head[0].split(" ")
                fault = self._taken(f"{method} {target}", head)
                if fault is not None and _comes_first(fault):
                    self._before(client, fault)
                    fault = None
                self._pass_on(client, received, head, fault)
                if not self._keeps_alive:
                    return

    def _taken(self, request: str, head: list[str]) -> Fault | None:
        with self._lock:
            self.requests.append(request)
            for fault in self._faults:
                if not fault.fits(request, "\n".join(head)):
                    continue
                if fault.after:
                    fault.after -= 1
                    continue
                fault.times -= 1
                self.struck += 1
                return fault
        return None

    def _before(self, client: socket.socket, fault: Fault) -> None:
        fault.act()
        if fault.answer is not None:
            _answer_instead(client, fault)
        _go_on(client, fault.then)

    def _pass_on(
        self,
        client: socket.socket,
        received: io.BufferedReader,
        head: list[str],
        fault: Fault | None,
    ) -> None:
        with self._connected() as server, self._held(server):
            sent = head_of(self.changed(head), client)
            server.sendall(sent)
            upload = self._start(send_body, head, received, server, _sent_fault(client, fault))
            answer = http.client.HTTPResponse(server, method=head[0].split(" ")[0])
            try:
                answer.begin()
                self._answer(client, answer, fault)
                upload.join(_GRACE_SECONDS)
            finally:
                if upload.is_alive() or sys.exc_info()[0] is not None:
                    with suppress(OSError):
                        client.shutdown(socket.SHUT_RDWR)
                with suppress(OSError):
                    server.shutdown(socket.SHUT_RDWR)
                upload.join()
                answer.close()

    def changed(self, head: list[str]) -> list[str]:
        """The request's head as the server is to see it."""
        return head

    def _connected(self) -> socket.socket:
        if self._upstream.scheme != "unix":
            return socket.create_connection((self._upstream.hostname, self._upstream.port))
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(self._upstream.path)
        except OSError:
            server.close()  # nobody is there, as after a kill
            raise
        return server

    def _answer(
        self, client: socket.socket, answer: http.client.HTTPResponse, fault: Fault | None
    ) -> None:
        if fault is not None and fault.is_done:
            answer.read()
            self._before(client, fault)
        changed = fault.alter(answer.read()) if fault is not None and fault.alter else None
        is_chunked = answer.length is None and changed is None
        own = {name.lower(): value for name, value in answer.getheaders()}
        own |= fault.headers if fault is not None else {}
        for name in ("connection", "transfer-encoding"):
            own.pop(name, None)
        own |= {} if self._keeps_alive else {"connection": "close"}
        own |= {"transfer-encoding": "chunked"} if is_chunked else {}
        own |= {} if changed is None else {"content-length": str(len(changed))}
        lines = [f"HTTP/1.1 {answer.status} {answer.reason}"]
        lines += [f"{name}: {value}" for name, value in own.items()]
        client.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + (changed or b""))
        if changed is None:
            _answer_body(client, answer, fault, is_chunked=is_chunked)

    def _held(self, held: socket.socket) -> Held:
        return Held(held, self._sockets, self._lock)


def _comes_first(fault: Fault) -> bool:
    """Whether it happens before the server is asked."""
    is_in_answer = fault.is_done or fault.alter is not None or fault.at_byte is not None
    is_in_head = bool(fault.headers) and fault.answer is None
    return not (is_in_answer or is_in_head or fault.at_sent_byte is not None)


def _sent_fault(client: socket.socket, fault: Fault | None) -> Strike | None:
    """At which sent byte what happens."""
    if fault is None or fault.at_sent_byte is None:
        return None

    def strike() -> None:
        fault.act()
        _go_on(client, fault.then)

    return fault.at_sent_byte, strike


def _answer_instead(client: socket.socket, fault: Fault) -> None:
    assert fault.answer is not None
    status, body = fault.answer
    kind = "application/xml" if body.startswith(b"<") else "application/json"
    given = {"Content-Type": kind, **fault.headers}
    given |= {"Content-Length": str(len(body)), "Connection": "close"}
    lines = [f"HTTP/1.1 {status} Fault", *(f"{name}: {value}" for name, value in given.items())]
    client.sendall("\r\n".join([*lines, "", ""]).encode() + body)
    # What is still coming is taken: a connection closed on unread bytes is reset, and that may
    # reach the client before the answer does.
    with suppress(OSError):
        client.shutdown(socket.SHUT_WR)
        client.settimeout(_GRACE_SECONDS)
        while client.recv(_PIECE_BYTES):
            pass
    raise Over


def _answer_body(
    client: socket.socket,
    answer: http.client.HTTPResponse,
    fault: Fault | None,
    *,
    is_chunked: bool,
) -> None:
    def send(data: bytes) -> None:
        if data:
            client.sendall(chunk(data) if is_chunked else data)

    at = fault.at_byte if fault is not None else None
    passed_bytes = 0
    while data := answer.read1(_PIECE_BYTES):
        if fault is not None and at is not None and passed_bytes + len(data) >= at:
            if fault.in_chunks:
                client.sendall(chunk(data)[: -2 - len(data) + at - passed_bytes])
                raise Over
            send(data[: at - passed_bytes])
            _strike(client, fault, send)
            data, passed_bytes, at = data[at - passed_bytes :], at, None
        send(data)
        passed_bytes += len(data)
    if fault is not None and at == AT_END:
        _strike(client, fault, send)
    if is_chunked:
        client.sendall(b"0\r\n\r\n")


def _strike(client: socket.socket, fault: Fault, send: Callable[[bytes], None]) -> None:
    """Let the fault happen in the middle of an answer. Raises Over when that ends it."""
    fault.act()
    send(fault.extra)
    if fault.then is Then.END:
        client.sendall(b"0\r\n\r\n")
        raise Over
    _go_on(client, fault.then)


def _go_on(client: socket.socket, then: Then) -> None:
    if then is Then.STALL:
        # Until the client, or the proxy's end, closes the connection; what comes stays unread.
        closed = select.poll()
        closed.register(client, select.POLLRDHUP)
        closed.poll()
    if then is not Then.GO_ON:
        raise Over
