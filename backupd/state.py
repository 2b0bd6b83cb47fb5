"""The state directory: locks between processes of this host, and who this machine is.

Everything in it but the journal can be deleted at any time. It belongs to the service's user:
whatever root creates here is handed to the directory's owner, so that a command run with sudo
never locks the service out.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from backupd.errors import AlreadyRunning, UsageError
from backupd.layout import Kind, segment

_APPLICATION = b"backupd: the machine that writes below a host's prefix"


def default_state_dir(environ: Mapping[str, str]) -> Path:
    """systemd's $STATE_DIRECTORY, else /var/lib/backupd for root, else the user's own state."""
    if given := environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    if os.geteuid() == 0:
        return Path("/var/lib/backupd")
    state_home = environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    return Path(state_home) / "backupd"


@dataclass(frozen=True, slots=True)
class StateDir:
    """The directory at `path`, made when it is first needed."""

    path: Path

    def folder(self, name: str) -> Path:
        """A folder in it, made if missing. Raises UsageError when that is not possible."""
        folder = self.path / name
        try:
            folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            self.hand_over(folder)
        except OSError as error:
            raise UsageError(
                f"cannot use the state directory {self.path}: {error.strerror}; set state_dir in "
                "the policy to a directory that this user can write to"
            ) from error
        return folder

    def write(self, name: str, data: bytes) -> None:
        """Replace a small file of the directory whole: a crash leaves the old one or the new."""
        partial = self.folder(".") / f"{name}.partial"
        partial.write_bytes(data)
        self.hand_over(partial)
        partial.replace(self.path / name)

    def hand_over(self, path: Path) -> None:
        """Give what root made to the state directory's owner."""
        if os.geteuid() == 0:
            owner = self.path.stat()
            os.chown(path, owner.st_uid, owner.st_gid)

    @contextmanager
    def lock_source(self, kind: Kind, name: str, verb: str) -> Iterator[None]:
        """Hold the lock of one source. Raises AlreadyRunning, naming the holder, if taken."""
        with self._locked(f"{kind}-{segment(name)}", verb, f"{kind} {name!r}", fcntl.LOCK_EX):
            yield

    @contextmanager
    def lock_archives(self, host: str, verb: str) -> Iterator[None]:
        """Hold off, on this machine, whatever else commits to or deletes archives of `host`."""
        name, what = f"archives-{segment(host)}", f"the archives of {host!r}"
        with self._locked(name, verb, what, fcntl.LOCK_EX, wait=_WAIT):
            yield

    @contextmanager
    def queue_for_save(self, engine_id: str, verb: str) -> Iterator[None]:
        """Wait for this engine's turn to save: it stages every image whole on its own disk."""
        name = f"save-{segment(engine_id or 'engine')}"
        with self._locked(name, verb, "the engine's save", fcntl.LOCK_EX, wait=_WAIT):
            yield

    def is_source_busy(self, key: str) -> bool:
        """Whether someone on this machine works on the source whose archive has this key."""
        kind, name = key.split("/")[2:4]
        path = self.folder("locks") / f"{kind}-{name}.lock"
        return path.exists() and not _is_free(path)

    @contextmanager
    def reading(self, archive_id: str) -> Iterator[None]:
        """Hold off, on this machine, the removal of an archive that is being restored.

        Without a usable state directory, as on the day when everything burned, it holds nothing.
        """
        try:
            path = self.folder("locks") / f"reading-{archive_id}-{os.getpid()}.lock"
        except UsageError:
            yield
            return
        with self._locked(path.stem, "restore", f"archive {archive_id}", fcntl.LOCK_EX):
            try:
                yield
            finally:
                path.unlink(missing_ok=True)

    def is_being_read(self, archive_id: str) -> bool:
        """Whether a restore on this machine holds the archive; forgets those that died."""
        for path in self.folder("locks").glob(f"reading-{archive_id}-*.lock"):
            if not _is_free(path):
                return True
            path.unlink(missing_ok=True)
        return False

    def machine_id(self) -> str:
        """A stable name for this machine that does not tell /etc/machine-id (machine-id(5))."""
        try:
            text = Path("/etc/machine-id").read_text().strip()
        except OSError:
            text = ""
        if not text:
            kept = self.folder(".") / "machine-id"
            if not kept.exists():
                kept.write_text(secrets.token_hex(16))
                self.hand_over(kept)
            text = kept.read_text().strip()
        return hmac.new(text.encode(), _APPLICATION, hashlib.sha256).hexdigest()[:32]

    @contextmanager
    def _locked(
        self, name: str, verb: str, what: str, mode: int, *, wait: int = fcntl.LOCK_NB
    ) -> Iterator[None]:
        path = self.folder("locks") / f"{name}.lock"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
        try:
            self.hand_over(path)
            if not _taken(handle, mode | wait):
                raise AlreadyRunning(
                    f"cannot {verb} {what}: {_holder(path)} works on it; wait for it to end"
                )
            since = datetime.now(UTC).isoformat(timespec="seconds")
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps([os.getpid(), verb, since]).encode(), 0)
            yield
        finally:
            os.close(handle)


_WAIT = 0


def _taken(handle: int, operation: int) -> bool:
    """Take the lock; tried for a moment, since looking whether a lock is free takes it too."""
    for pause_seconds in (0.02, 0.05, 0.1, 0):
        try:
            fcntl.flock(handle, operation)
        except BlockingIOError:
            time.sleep(pause_seconds)
        else:
            return True
    return False


def _is_free(path: Path) -> bool:
    """Whether nobody holds the lock of this file now."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


def _holder(path: Path) -> str:
    try:
        pid, verb, since = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return "another process"
    return f"process {pid} (backupd {verb}, since {since})"
