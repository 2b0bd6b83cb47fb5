"""A wire between backupd and a real server, on which a test sees each piece before it goes on.

It knows just enough of HTTP to say to which request a piece belongs: clients here send a request's
head by itself, and no next request before the answer came. Whatever it carries it leaves as it is,
so signatures and host names stay right.
"""

from __future__ import annotations

import re
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_PIECE_BYTES = 64 << 10
_REQUEST = re.compile(rb"([A-Z]+ \S+) HTTP/1\.1\r\n")


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes on their way."""

    request: str
    """`METHOD /path?query` of the request that they belong to."""
    is_answer: bool
    data: bytes
    answered_bytes: int
    """Of the answer so far, these bytes and its head included."""

    @property
    def is_head(self) -> bool:
        """Whether a request begins here."""
        return not self.is_answer and _REQUEST.match(self.data) is not None


Watch = Callable[[Piece], bool]
"""Sees each piece before it goes on, and may wait; False closes the connection instead."""


class Relay:
    """The wire, from `with` to its end, to the server at `upstream` (http://… or unix://…)."""

    def __init__(self, upstream: str, watch: Watch) -> None:
        self._upstream = urlsplit(upstream)
        self._watch = watch
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._directory: Path | None = None
        self.address = ""
        """Where to reach the server by this wire."""

    def __enter__(self) -> Self:
        if self._upstream.scheme == "unix":
            # Not below the test's own directory: a socket's path has room for 107 bytes only.
            self._directory = Path(tempfile.mkdtemp(prefix="backupd-relay-"))
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
        with self._lock:
            sockets = [self._listener, *self._sockets]
        for each in sockets:
            # Closing alone would leave a blocked accept or recv asleep.
            _hang_up(each)
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
                self._start(self._carry, client)

    def _carry(self, client: socket.socket) -> None:
        with client, suppress(OSError), self._connected() as server:
            with self._lock:
                self._sockets |= {client, server}
            connection = _Connection(client, server, self._watch)
            back = self._start(connection.carry_answers)
            connection.carry_requests()
            back.join()
            with self._lock:
                self._sockets -= {client, server}

    def _connected(self) -> socket.socket:
        if self._upstream.scheme == "unix":
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._upstream.path)
            except OSError:
                server.close()  # nobody is there, as after a kill
                raise
            return server
        return socket.create_connection((self._upstream.hostname, self._upstream.port))


class _Connection:
    """One connection of a client, and ours to the server for it."""

    def __init__(self, client: socket.socket, server: socket.socket, watch: Watch) -> None:
        self._client = client
        self._server = server
        self._watch = watch
        self._request = ""
        self._answered_bytes = 0

    def carry_requests(self) -> None:
        """Until either side hangs up."""
        with suppress(OSError):
            while data := self._client.recv(_PIECE_BYTES):
                head = _REQUEST.match(data)
                if head is not None:
                    self._request, self._answered_bytes = head[1].decode(), 0
                if not self._watch(Piece(self._request, False, data, self._answered_bytes)):
                    break
                self._server.sendall(data)
        # The whole connection: nobody here half-closes one, and a client that died is to be felt.
        _hang_up(self._server)

    def carry_answers(self) -> None:
        """Until either side hangs up."""
        with suppress(OSError):
            while data := self._server.recv(_PIECE_BYTES):
                self._answered_bytes += len(data)
                if not self._watch(Piece(self._request, True, data, self._answered_bytes)):
                    break
                self._client.sendall(data)
        _hang_up(self._client)


def _hang_up(held: socket.socket) -> None:
    with suppress(OSError):
        held.shutdown(socket.SHUT_RDWR)
