"""What the service manager is told: datagrams to $NOTIFY_SOCKET, as sd_notify(3) describes them.

Without that variable everything here does nothing. Telling never fails: a manager that does not
listen must not stop a backup.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

STATUS_LIMIT = 500


@dataclass(frozen=True, slots=True)
class ServiceManager:
    """The manager that started this process, if any."""

    address: str = ""
    """Of its socket; one that begins with `@` is in the abstract namespace."""
    watchdog_seconds: float | None = None
    """Within which it wants a sign of life."""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        """The manager that the environment names; $WATCHDOG_PID says for whom its watchdog is."""
        micros = environ.get("WATCHDOG_USEC", "")
        is_ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watched = micros.isdecimal() and int(micros) > 0 and is_ours
        return cls(environ.get("NOTIFY_SOCKET", ""), int(micros) / 1e6 if watched else None)

    def ready(self) -> None:
        """The policy is read, and schedules are followed."""
        self._send("READY=1")

    def reloading(self) -> None:
        """A reload begins; `ready` ends it. `Type=notify-reload` wants the monotonic time."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """No new run begins any more."""
        self._send("STOPPING=1")

    def needs_longer(self, seconds: float) -> None:
        """Stopping takes so long from now at least, whatever the unit's TimeoutStopSec= says."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={' '.join(text.split())[:STATUS_LIMIT]}")

    def alive(self) -> None:
        """The loop goes round."""
        if self.watchdog_seconds is not None:
            self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self.address:
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            # A manager that hangs must not hang the loop that it watches.
            sender.settimeout(1)
            sender.sendto("\n".join(lines).encode(errors="replace"), address)
