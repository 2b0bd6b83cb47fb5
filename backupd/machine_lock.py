"""A lock that holds on the whole machine, whichever state directory its processes work with.

It is a name for a socket that is no file (unix(7), "abstract"): every user may take it, none can
leave it behind, and it goes with its process however that ends. Such names belong to a network
namespace, so a backupd in a container with a network of its own is not seen.
"""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from backupd.errors import AlreadyRunning

_CREDENTIALS = struct.Struct("3i")
"""Process, user and group of SO_PEERCRED."""


@contextmanager
def held(thing: str, verb: str, what: str) -> Iterator[None]:
    """Hold the lock of `thing`. Raises AlreadyRunning, naming the holder, if another one does.

    Where the system has no such names or refuses them it holds nothing.
    """
    address = b"\0backupd/" + hashlib.sha256(thing.encode()).hexdigest().encode()
    with socket.socket(socket.AF_UNIX) as own:
        try:
            own.bind(address)
            own.listen()  # so that who comes second can ask whose it is
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise AlreadyRunning(
                    f"cannot {verb} {what}: {_holder(address)} works on them with another state "
                    "directory; wait for it to end, and let one backupd serve this host"
                ) from error
        yield


def _holder(address: bytes) -> str:
    try:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(1)
            asking.connect(address)
            told = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except OSError:
        return "another process"
    pid, user, _ = _CREDENTIALS.unpack(told)
    return f"process {pid} of user {user}" if pid != os.getpid() else "this process"
