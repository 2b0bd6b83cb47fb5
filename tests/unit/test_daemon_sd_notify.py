"""What a service manager is told, on a real socket as systemd makes it."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from backupd.daemon.sd_notify import STATUS_LIMIT, ServiceManager


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as opened:
        opened.settimeout(5)
        yield opened


def told(listener: socket.socket) -> list[str]:
    """The lines of the one datagram that waits."""
    return listener.recv(65536).decode().split("\n")


def test_each_state_is_one_datagram(listener: socket.socket, tmp_path: Path) -> None:
    listener.bind(str(tmp_path / "notify"))
    manager = ServiceManager(str(tmp_path / "notify"), 30.0)

    manager.ready()
    manager.status("running nightly;\n next: weekly")
    manager.alive()
    manager.stopping()

    assert [
        ["READY=1"],
        ["STATUS=running nightly; next: weekly"],
        ["WATCHDOG=1"],
        ["STOPPING=1"],
    ] == [told(listener) for _ in range(4)]


def test_a_reload_tells_the_monotonic_time(listener: socket.socket, tmp_path: Path) -> None:
    listener.bind(str(tmp_path / "notify"))

    ServiceManager(str(tmp_path / "notify")).reloading()

    first, second = told(listener)
    name, _, micros = second.partition("=")
    assert ("RELOADING=1", "MONOTONIC_USEC", True) == (first, name, micros.isdecimal())


def test_a_socket_in_the_abstract_namespace_is_reached(listener: socket.socket) -> None:
    name = f"backupd-test-{secrets.token_hex(8)}"
    listener.bind(f"\0{name}")

    ServiceManager(f"@{name}").ready()

    assert ["READY=1"] == told(listener)


def test_a_long_status_is_cut(listener: socket.socket, tmp_path: Path) -> None:
    listener.bind(str(tmp_path / "notify"))

    ServiceManager(str(tmp_path / "notify")).status("ü" * 5000)

    assert ["STATUS=" + "ü" * STATUS_LIMIT] == told(listener)


def test_without_a_watchdog_no_sign_of_life_is_sent(
    listener: socket.socket, tmp_path: Path
) -> None:
    listener.bind(str(tmp_path / "notify"))
    manager = ServiceManager(str(tmp_path / "notify"))

    manager.alive()
    manager.ready()

    assert ["READY=1"] == told(listener)


@pytest.mark.parametrize("address", ["", "/nowhere/notify", "@backupd-test-nobody", "x" * 300])
def test_a_manager_that_does_not_listen_stops_nothing(address: str) -> None:
    manager = ServiceManager(address, 1.0)

    # None of these raises.
    manager.ready()
    manager.alive()
    manager.reloading()
    manager.status("fine")
    manager.stopping()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ("", None)),
        ({"NOTIFY_SOCKET": "/run/n"}, ("/run/n", None)),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "120000000"}, ("/run/n", 120.0)),
        ({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid())}, ("", 1.0)),
        ({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}, ("", None)),
        ({"WATCHDOG_USEC": "0"}, ("", None)),
        ({"WATCHDOG_USEC": "soon"}, ("", None)),
        ({"WATCHDOG_USEC": "-5"}, ("", None)),
    ],
)
def test_the_environment_names_the_manager(
    environ: dict[str, str], expected: tuple[str, float | None]
) -> None:
    manager = ServiceManager.of(environ)

    assert expected == (manager.address, manager.watchdog_seconds)
