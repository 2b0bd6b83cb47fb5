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
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from backupd.errors import AlreadyRunning, UsageError
from backupd.layout import Kind, segment
from backupd.machine_lock import held
from backupd.shortage import remedy
from backupd.stream import Cancel

LOGGER = logging.getLogger(__name__)

_SILENT_SECONDS = 10.0
"""How long one waits for another's work without a word."""
_PAUSE_SECONDS = 0.05
"""Between two looks at a lock that another holds."""
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
        with self.in_use():
            folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            self.hand_over(folder)
        return folder

    def write(self, name: str, data: bytes) -> None:
        """Replace a small file of the directory whole: a crash leaves the old one or the new.

        Raises UsageError.
        """
        partial = self.folder(".") / f"{name}.partial"
        with self.in_use():
            partial.write_bytes(data)
            self.hand_over(partial)
            partial.replace(self.path / name)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Turn what the system raises inside into a UsageError that says what to do."""
        try:
            yield
        except OSError as error:
            step = remedy(error) or (
                "run as the user who owns it, or set state_dir in the policy to a directory that "
                "this user can write to"
            )
            raise UsageError(
                f"cannot use the state directory {self.path}: {error.strerror}; {step}"
            ) from error

    def hand_over(self, path: Path | int) -> None:
        """Give what root made, by its path or its open file, to the state directory's owner."""
        if os.geteuid() == 0:
            owner = self.path.stat()
            os.chown(path, owner.st_uid, owner.st_gid)

    @contextmanager
    def lock_source(self, kind: Kind, name: str, verb: str) -> Iterator[None]:
        """Hold the lock of one source. Raises AlreadyRunning, naming the holder, if taken."""
        with self._locked(f"{kind}-{segment(name)}", verb, f"{kind} {name!r}", fcntl.LOCK_EX):
            yield

    @contextmanager
    def lock_archives(self, store_url: str, host: str, verb: str, cancel: Cancel) -> Iterator[None]:
        """Hold off, on this machine, whatever else commits to or deletes archives of `host`.

        Those who work with another state directory too. Waits for its turn. Raises Cancelled.
        """
        what = f"the archives of {host!r}"
        with (
            self._turn(f"archives-{segment(host)}", verb, what, cancel),
            _waited_for(lambda: held(f"{store_url}\n{host}", verb, what), cancel),
        ):
            yield

    @contextmanager
    def queue_for_save(self, engine_id: str, verb: str, cancel: Cancel) -> Iterator[None]:
        """Wait for this engine's turn to save: it stages every image whole on its own disk.

        Raises Cancelled.
        """
        with self._turn(f"save-{segment(engine_id or 'engine')}", verb, "a save", cancel):
            yield

    @contextmanager
    def _turn(self, name: str, verb: str, what: str, cancel: Cancel) -> Iterator[None]:
        with _waited_for(lambda: self._locked(name, verb, what, fcntl.LOCK_EX), cancel):
            yield

    def is_source_busy(self, key: str) -> bool:
        """Whether someone on this machine works on the source whose archive has this key."""
        kind, name = key.split("/")[2:4]
        path = self.folder("locks") / f"{kind}-{name}.lock"
        return path.exists() and not _is_free(path)

    @contextmanager
    def lock_absences(self, cancel: Cancel) -> Iterator[None]:
        """Wait for the turn to change what is known of absent sources. Raises Cancelled."""
        with self._turn("absences", "prune", "absent sources", cancel):
            yield

    @contextmanager
    def reading(self, archive_id: str) -> Iterator[None]:
        """Hold off, on this machine, the removal of an archive that is being restored.

        Without a usable state directory, as on the day when everything burned, it holds nothing.
        """
        name = f"reading-{archive_id}-{os.getpid()}-{secrets.token_hex(4)}"
        with ExitStack() as stack:
            with suppress(UsageError):
                what = f"archive {archive_id}"
                stack.enter_context(self._locked(name, "restore", what, fcntl.LOCK_EX))
                stack.callback((self.path / "locks" / f"{name}.lock").unlink, missing_ok=True)
            yield

    def archives_being_read(self) -> frozenset[str]:
        """The ids of archives that restores on this machine hold; forgets restores that died."""
        held = set()
        for path in self.folder("locks").glob("reading-*-*-*-*.lock"):
            if forgotten(path):
                continue
            held.add("-".join(path.name.split("-")[1:3]))
        return frozenset(held)

    @contextmanager
    def lock_proofs(self) -> Iterator[None]:
        """Wait for the turn to change what is known of proofs."""
        with self._locked("proofs", "keep", "what is proven", fcntl.LOCK_EX, wait=_WAIT):
            yield

    @contextmanager
    def lock_history(self) -> Iterator[None]:
        """Wait for the turn to replace the history's file."""
        with self._locked("history", "keep", "the history", fcntl.LOCK_EX, wait=_WAIT):
            yield

    @contextmanager
    def lock_daemon(self) -> Iterator[None]:
        """Be the one daemon of this state directory. Raises AlreadyRunning."""
        with self._locked("daemon", "run", f"a daemon on {self.path}", fcntl.LOCK_EX):
            yield

    def has_daemon(self) -> bool:
        """Whether a daemon works on this state directory now."""
        path = self.path / "locks/daemon.lock"
        return path.exists() and not _is_free(path)

    def lease(self) -> Lease:
        """A sign of life of this process, which goes with it however it ends."""
        token = f"{os.getpid()}-{secrets.token_hex(6)}"
        path = self.folder("locks") / f"alive-{token}.lock"
        handle = self._open_locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert handle is not None, "nobody else knows this name yet"  # noqa: S101 - for mypy
        return Lease(token, path, handle)

    def is_leased(self, token: str) -> bool:
        """Whether the process that took the lease still lives."""
        return bool(token) and not forgotten(self.path / "locks" / f"alive-{token}.lock")

    def forget_dead(self) -> None:
        """Remove the leases of processes that died."""
        for path in self.folder("locks").glob("alive-*.lock"):
            forgotten(path)

    def open_taken(self, path: Path, *, mode: int) -> int:
        """A file of the directory, open and locked: while it is, `forgotten` leaves it alone.

        One that is there is opened as it is. Raises UsageError.
        """
        handle = self._open_locked(path, fcntl.LOCK_EX | _WAIT, mode)
        assert handle is not None, "whoever waits gets it"  # noqa: S101 - for mypy
        return handle

    def machine_id(self) -> str:
        """A stable name for this machine that does not tell /etc/machine-id (machine-id(5))."""
        try:
            text = Path("/etc/machine-id").read_text().strip()
        except OSError:
            text = ""
        if not text:
            kept = self.folder(".") / "machine-id"
            if not kept.exists():
                # Whole or not at all: an empty one would make all such machines one and the same.
                self.write(kept.name, secrets.token_hex(16).encode())
            with self.in_use():
                text = kept.read_text().strip()
        return hmac.new(text.encode(), _APPLICATION, hashlib.sha256).hexdigest()[:32]

    @contextmanager
    def _locked(
        self, name: str, verb: str, what: str, mode: int, *, wait: int = fcntl.LOCK_NB
    ) -> Iterator[None]:
        path = self.folder("locks") / f"{name}.lock"
        handle = self._open_locked(path, mode | wait)
        if handle is None:
            raise AlreadyRunning(
                f"cannot {verb} {what}: {_holder(path)} works on it; wait for it to end"
            )
        try:
            since = datetime.now(UTC).isoformat(timespec="seconds")
            # It holds on a full disk too, where nobody can be told whose it is.
            with suppress(OSError):
                os.ftruncate(handle, 0)
                os.pwrite(handle, json.dumps([os.getpid(), verb, since]).encode(), 0)
            yield
        finally:
            os.close(handle)

    def _open_locked(self, path: Path, operation: int, mode: int = 0o660) -> int | None:
        """The lock's file, open and locked; None when another holds it. Raises UsageError."""
        while True:
            with self.in_use():
                handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
                self.hand_over(handle)
            if not _taken(handle, operation):
                os.close(handle)
                return None
            if os.fstat(handle).st_nlink:
                return handle
            os.close(handle)  # forgotten by another process before it was locked


@dataclass(frozen=True, slots=True)
class Lease:
    """A lock that nobody else wants: whoever finds it free knows that its process is dead."""

    token: str
    _path: Path
    _handle: int

    def close(self) -> None:
        """Give it up."""
        self._path.unlink(missing_ok=True)
        os.close(self._handle)


_WAIT = 0


@contextmanager
def _waited_for(lock: Callable[[], AbstractContextManager[None]], cancel: Cancel) -> Iterator[None]:
    """Hold a lock that is waited for, with a word in the log when that takes long."""
    told_at = time.monotonic() + _SILENT_SECONDS
    with ExitStack() as stack:
        # No blocking flock, which can take hours here: it would see no flag in a thread.
        while True:
            try:
                stack.enter_context(lock())
                break
            except AlreadyRunning as error:
                cancel.raise_if_set()
                if time.monotonic() > told_at:
                    told_at = float("inf")
                    LOGGER.warning("waiting: %s", error)
                time.sleep(_PAUSE_SECONDS)
        yield


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


def forgotten(path: Path) -> bool:
    """Remove a file that nobody has locked; whether it is gone."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Still locked here: who opened it meanwhile sees that it is gone, and makes another.
        path.unlink(missing_ok=True)
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
