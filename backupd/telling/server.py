"""A small web server with two pages: /metrics for Prometheus, /healthz for who watches.

It answers a few at a time, gives a slow or silent client ten seconds, and takes no input. No
secret is on its pages, but they name the jobs: so it listens on loopback unless told otherwise.
"""

from __future__ import annotations

import http.server
import logging
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backupd.errors import UsageError
from backupd.telling.metrics import Numbers, exposition
from backupd.telling.view import Outlook
from backupd.verbs.proofs import SourceProof

LOGGER = logging.getLogger("backupd.telling")
CLIENT_TIMEOUT_SECONDS = 10
MOST_CLIENTS = 16
_PLAIN = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Pages:
    """What the server shows."""

    numbers: Numbers
    outlooks: Callable[[], Mapping[str, Outlook]]
    """Of every job of the policy."""
    ailment: Callable[[], str]
    """Why not all is well, in a sentence; empty if it is."""
    proofs: Callable[[], Sequence[SourceProof]] = tuple

    def answer(self, path: str, accept: str) -> tuple[int, str, bytes]:
        """Status, content type and body for a request."""
        match path.partition("?")[0]:
            case "/metrics":
                body, content_type = exposition(self.numbers, self.outlooks, accept, self.proofs)
                return 200, content_type, body
            case "/healthz":
                ailment = self.ailment()
                return (503 if ailment else 200), _PLAIN, f"{ailment or 'all is fresh'}\n".encode()
            case "/":
                return 200, _PLAIN, b"backupd: /metrics and /healthz\n"
        return 404, _PLAIN, b"there is only /metrics and /healthz\n"


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Listens and serves from its birth until `close`. Raises UsageError if it cannot listen."""

    # http.server's own server would ask the name service for its address before it listens.
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], pages: Pages) -> None:
        self.pages = pages
        self.address = address
        self.is_open = True
        self._clients = threading.BoundedSemaphore(MOST_CLIENTS)
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        try:
            super().__init__(address, _Request)
        except OSError as error:
            shown = f"[{address[0]}]" if ":" in address[0] else address[0]
            cause = (error.strerror or str(error)).lower()
            raise UsageError(
                f"cannot listen on {shown}:{address[1]} for metrics: {cause}; free it, or choose "
                "another under metrics.listen"
            ) from error
        thread = threading.Thread(target=self.serve_forever, name="metrics", daemon=True)
        thread.start()

    def close(self) -> None:
        """Stop listening."""
        if self.is_open:
            self.is_open = False
            self.shutdown()
            self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve in a thread, or turn away whom there is no place for."""
        if not self._clients.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one client."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._clients.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: clients come and go as they like."""


class _Request(http.server.BaseHTTPRequestHandler):
    server: Server
    timeout = CLIENT_TIMEOUT_SECONDS
    server_version = "backupd"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer with a page."""
        self._answer()

    def do_HEAD(self) -> None:
        """Answer without the page."""
        self._answer()

    def _answer(self) -> None:
        try:
            code, content_type, body = self.server.pages.answer(
                self.path, self.headers.get("Accept", "")
            )
        except Exception:
            # The boundary of a request: a fault here is told once, and never ends the server.
            LOGGER.exception("cannot show %s", "/healthz" if "health" in self.path else "/metrics")
            code, content_type, body = 500, _PLAIN, b"something failed; the log says what\n"
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a scrape every few seconds would fill the journal."""
