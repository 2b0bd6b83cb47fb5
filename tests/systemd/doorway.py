"""A port of this machine's loopback, made to answer in another network namespace as well.

The tests' own engine has a network of its own with nothing in it. A socket belongs for good to the
namespace in which it was made; so a thread enters that namespace, begins to listen and ends, and
what connects there is led to the same port here.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_CHUNK_BYTES = 1 << 16


@contextmanager
def doorway(network: Path, port: int) -> Iterator[None]:
    """Lead 127.0.0.1:`port` inside the namespace to the same address here, until the end."""
    listener = _listen_inside(network, port)
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    thread = threading.Thread(target=_serve, args=(loop, listener, port, stop))
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def _listen_inside(network: Path, port: int) -> socket.socket:
    made: list[socket.socket] = []
    failures: list[OSError] = []

    def enter_and_listen() -> None:
        try:
            _enter(network)
            _raise_loopback()
            made.append(socket.create_server(("127.0.0.1", port)))
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=enter_and_listen)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return made[0]


def _enter(network: Path) -> None:
    # Python has os.setns from 3.12 on.
    library = ctypes.CDLL(None, use_errno=True)
    handle = os.open(network, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if library.setns(handle, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(network))
    finally:
        os.close(handle)


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def _serve(
    loop: asyncio.AbstractEventLoop, listener: socket.socket, port: int, stop: asyncio.Event
) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(_lead(listener, port, stop))


async def _lead(listener: socket.socket, port: int, stop: asyncio.Event) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The server behind may be away, as a server of a test may be.
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        writer.close()

    server = await asyncio.start_server(answer, sock=listener)
    await stop.wait()
    server.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(_CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
