"""A web server that keeps what it is sent, for tests of notifications and pings.

It answers by its `answers`: a status, or HANG for a client that is held until the server closes.
"""

from __future__ import annotations

import http.server
import json
import queue
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

HANG = 0
WAIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Received:
    """One request."""

    method: str
    path: str
    body: str

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Receiver:
    """Listens on loopback while its context lasts."""

    def __init__(self, *answers: int) -> None:
        """`answers` for the first requests in turn; the last one (or 200) for all others."""
        self.answers = list(answers) or [200]
        self.requests: queue.Queue[Received] = queue.Queue()
        self.released = threading.Event()
        self.hung: list[Received] = []
        """Requests whose client was let go."""
        self._lock = threading.Lock()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                receiver._take(self)

            def do_POST(self) -> None:
                receiver._take(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def address(self) -> str:
        """Host and port, to be put behind a scheme."""
        return f"127.0.0.1:{self.port}"

    def next(self) -> Received:
        """The next request; fails after a long while without one."""
        return self.requests.get(timeout=WAIT_SECONDS)

    def _take(self, request: http.server.BaseHTTPRequestHandler) -> None:
        length = int(request.headers.get("Content-Length", 0))
        body = request.rfile.read(length).decode()
        with self._lock:
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        received = Received(request.command, request.path, body)
        self.requests.put(received)
        if answer == HANG:
            self.released.wait(WAIT_SECONDS)
            self.hung.append(received)
            return
        request.send_response(answer)
        request.send_header("Content-Length", "0")
        request.end_headers()
