"""The policy in force, and what becomes of it at a reload: swapped whole, or kept."""

from __future__ import annotations

import logging
import socket
from datetime import UTC, datetime
from pathlib import Path

from backupd.config import Loaded
from backupd.daemon.generation import Generation, Source
from backupd.daemon.statefile import PolicyInForce
from backupd.errors import PolicyError, Problem

LOGGER = logging.getLogger(__name__)


class InForce:
    """One generation after another. Used by the loop's thread; `generation` by any."""

    def __init__(self, source: Source) -> None:
        """Read the first policy. Raises PolicyError."""
        self._source = source
        loaded = source.read()
        self._warn(loaded)
        self.generation = self._generation(loaded)
        self._read_at, self._modified_at = datetime.now(UTC), self._modified()
        self.error = ""
        self._error_at: datetime | None = None

    def reload(self) -> bool:
        """Swap to what the file says now; False if it is wrong: then the old policy goes on."""
        try:
            loaded = self._source.read()
            self._require_same_place(loaded)
            generation = self._generation(loaded)
        except PolicyError as error:
            return self._keep(str(error))
        except Exception as error:  # a fault of ours must not end a daemon that works
            LOGGER.exception("cannot read the new policy, by a fault of backupd")
            return self._keep(f"{self._source.path}: internal error: {error!r}")
        self._warn(loaded)
        self.generation = generation
        self._read_at, self._modified_at = datetime.now(UTC), self._modified()
        self.error, self._error_at = "", None
        return True

    def _keep(self, error: str) -> bool:
        self.error, self._error_at = error, datetime.now(UTC)
        LOGGER.error("the old policy goes on: %s", "; ".join(error.splitlines()))
        return False

    @property
    def shown(self) -> PolicyInForce:
        """What `backupd status` tells of it."""
        return PolicyInForce(
            str(self._source.path), self._read_at, self._modified_at, self.error, self._error_at
        )

    def _generation(self, loaded: Loaded) -> Generation:
        host = loaded.policy.host or socket.gethostname()
        return Generation(loaded.policy, host, lambda _: self._source.open_site(loaded))

    def _require_same_place(self, loaded: Loaded) -> None:
        """Locks, journal and history are where the daemon began; they cannot move under it."""
        if loaded.policy.state_dir != self.generation.policy.state_dir:
            cause = "has changed, which needs a restart; `systemctl restart backupd` follows it"
            raise PolicyError([Problem(str(self._source.path), None, "state_dir", cause)])

    def _warn(self, loaded: Loaded) -> None:
        for warning in loaded.warnings:
            LOGGER.warning("%s", warning)

    def _modified(self) -> datetime | None:
        try:
            return datetime.fromtimestamp(Path(self._source.path).stat().st_mtime, UTC)
        except OSError:
            return None
