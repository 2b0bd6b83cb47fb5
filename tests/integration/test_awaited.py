"""How often a server that never answers is asked: seldom where a person waits for what is read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from subprocess import DEVNULL
from threading import Thread

import pytest

from tests.integration.command import QUICK, Command

ENOUGH = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}


class Silent(ThreadingTCPServer):
    """Takes every connection, counts it and closes it."""

    daemon_threads = True
    connections = 0

    class RequestHandlerClass(BaseRequestHandler):
        def handle(self) -> None:
            self.server.connections += 1  # type: ignore[attr-defined]


@pytest.fixture
def silent() -> Iterator[Silent]:
    with Silent(("127.0.0.1", 0), Silent.RequestHandlerClass) as server:
        Thread(target=server.serve_forever).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("verb", [("list",), ("show", "abc"), ("restore", "image", "web:1")])
def test_who_waits_at_a_terminal_hears_soon_that_nothing_answers(
    tmp_path: Path, silent: Silent, verb: tuple[str, ...]
) -> None:
    ours, theirs = os.openpty()

    code = asked(tmp_path, silent, *verb, errors=theirs)

    os.close(theirs)
    os.close(ours)
    assert (4, 2) == (code, silent.connections)


def test_without_a_terminal_a_server_has_time_to_come_back(tmp_path: Path, silent: Silent) -> None:
    code = asked(tmp_path, silent, "list", errors=DEVNULL)

    assert (4, 8) == (code, silent.connections)


def asked(directory: Path, silent: Silent, *arguments: str, errors: int) -> int:
    """The exit code of a command whose store is at `silent`."""
    backupd = Command(directory, ENOUGH, module=QUICK)
    endpoint = f"http://127.0.0.1:{silent.server_address[1]}"
    process = backupd.start(
        *arguments, "--store", "s3://bucket", "--endpoint", endpoint, errors=errors
    )
    process.communicate(timeout=180)
    return process.returncode
