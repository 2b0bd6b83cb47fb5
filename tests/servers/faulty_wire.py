"""How a request goes on to the server behind a proxy: its head, and its body as it was sent."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

_PIECE_BYTES = 64 << 10

Strike = tuple[int, Callable[[], None]]
"""At which sent byte what happens."""


class Over(Exception):
    """The connection is to be closed now."""


@dataclass(frozen=True, slots=True)
class Held:
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


def read_head(received: io.BufferedReader) -> list[str]:
    """The lines of a request's head. Raises Over when the other side hangs up."""
    lines: list[str] = []
    while line := received.readline():
        if line == b"\r\n":
            return lines
        lines.append(line.decode("latin-1").rstrip("\r\n"))
    raise Over


def head_of(head: list[str], client: socket.socket) -> bytes:
    """The head to send: one request to a connection, so that nothing but this answer can follow.

    A client that waits to be told that it may go on is told so here.
    """
    kept = [line for line in head if not line.lower().startswith(("connection:", "expect:"))]
    if any(line.lower().startswith("expect:") for line in head):
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    return "\r\n".join([*kept, "Connection: close", "", ""]).encode("latin-1")


def chunk(data: bytes) -> bytes:
    """One chunk of HTTP."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def send_body(
    head: list[str], received: io.BufferedReader, server: socket.socket, strike: Strike | None
) -> None:
    """The request's body, to the server; cut there where the client, or the fault, cuts it."""
    headers = {name.lower(): value.strip() for name, _, value in (h.partition(":") for h in head)}
    try:
        if "chunked" in headers.get("transfer-encoding", ""):
            _send_chunks(received, server, strike)
        else:
            _send_bytes(int(headers.get("content-length", 0)), received, server, strike)
    except (OSError, ValueError, Over):
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


def _send_bytes(
    size: int, received: io.BufferedReader, server: socket.socket, strike: Strike | None
) -> None:
    sent_bytes = 0
    while sent_bytes < size:
        if strike is not None and sent_bytes >= strike[0]:
            strike[1]()
            strike = None
        data = received.read1(min(_PIECE_BYTES, size - sent_bytes))
        if not data:
            raise Over
        server.sendall(data)
        sent_bytes += len(data)


def _send_chunks(received: io.BufferedReader, server: socket.socket, strike: Strike | None) -> None:
    sent_bytes = 0
    while True:
        size = int(received.readline(), 16)  # ValueError: the client hung up
        data = received.read(size + 2)
        if len(data) < size + 2:
            raise Over
        server.sendall(f"{size:x}\r\n".encode() + data)
        sent_bytes += size
        if strike is not None and sent_bytes >= strike[0]:
            strike[1]()
            strike = None
        if size == 0:
            return
