"""The history's SQLite file: opened for one act at a time, set aside when it is damaged.

WAL lets readers and one writer work side by side; a writer waits for another. Nothing here may fail
a backup: a write that does not succeed is told and forgotten.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from backupd.errors import BackupdError, UsageError
from backupd.state import StateDir

FILE_NAME = "history.sqlite"
SCHEMA_VERSION = 1
_BUSY_TIMEOUT_SECONDS = 10.0
_SCHEMA = """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, job TEXT NOT NULL, started_at TEXT NOT NULL, ended_at TEXT,
    state TEXT NOT NULL, source_count INTEGER NOT NULL, sources TEXT NOT NULL,
    note TEXT NOT NULL, lease TEXT NOT NULL
);
CREATE INDEX runs_by_job ON runs (job, state, id);
CREATE TABLE promises (
    job TEXT PRIMARY KEY, expression TEXT NOT NULL, zone TEXT NOT NULL,
    delay_seconds INTEGER NOT NULL, since TEXT NOT NULL
);
"""

T = TypeVar("T")
Say = Callable[[str], None]


class _DamagedError(Exception):
    """The file is no history of ours."""


class HistoryFile:
    """The file, which need not exist yet. Safe to use from several threads and processes."""

    def __init__(self, state: StateDir, say: Say) -> None:
        self._state = state
        self._say = say
        self._is_lost = False
        """Whether the last write failed."""

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._state.path / FILE_NAME

    def read(self, work: Callable[[sqlite3.Connection], T], nothing: T) -> T:
        """What `work` reads; `nothing` where there is no history. Raises UsageError."""
        number = _inode(self.path)
        try:
            if not self.path.exists():
                return nothing
            with _connected(self.path) as database:
                return work(database)
        except (_DamagedError, sqlite3.Error, OSError, ValueError) as error:
            if _is_damage(error):
                self._set_aside(error, number)
                return nothing
            raise UsageError(
                f"cannot read the history {self.path}: {error}; {_step(error)}"
            ) from error

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """What `work` returns, in one transaction; None when it could not be written."""
        for is_last in (False, True):
            number = _inode(self.path)
            try:
                self._make()
                with _connected(self.path) as database, database:
                    database.execute("BEGIN IMMEDIATE")
                    result = work(database)
                self._is_lost = False
                return result
            except (_DamagedError, sqlite3.Error, OSError, ValueError, BackupdError) as error:
                if is_last or not _is_damage(error):
                    self._complain(error)
                    return None
                self._set_aside(error, number)
        return None

    def check(self) -> None:
        """Set a damaged file aside now rather than in the middle of a run."""

        def check(database: sqlite3.Connection) -> None:
            [(answer,)] = database.execute("PRAGMA quick_check(1)").fetchall()
            if answer != "ok":
                raise _DamagedError(str(answer))

        self.write(check)

    def _complain(self, error: Exception) -> None:
        """Once, until something can be written again: a run writes several times."""
        if not self._is_lost:
            self._say(f"warning: the history {self.path} is not kept: {error}")
        self._is_lost = True

    def _make(self) -> None:
        """Make the file the directory owner's before SQLite puts others of its kind beside it."""
        if not self.path.exists():
            self._state.folder(".")
            self.path.touch(mode=0o640)
            self._state.hand_over(self.path)

    def _set_aside(self, error: Exception, number: int) -> None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        kept = f"{self.path}.damaged-{stamp}"
        try:
            with self._state.lock_history():
                if number != _inode(self.path):
                    return  # another process has done it already
                for suffix in ("-wal", "-shm", ""):
                    path = Path(f"{self.path}{suffix}")
                    if path.exists():
                        path.rename(f"{kept}{suffix}")
        except (OSError, BackupdError) as failure:
            self._say(f"warning: cannot set the damaged history {self.path} aside: {failure}")
            return
        self._say(
            f"warning: the history was damaged ({error}); it is set aside as {kept}, and a new one "
            "begins"
        )


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    database = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_SECONDS, isolation_level=None)
    try:
        [(version,)] = database.execute("PRAGMA user_version").fetchall()
        if version == 0:
            _create(database)
        elif version != SCHEMA_VERSION:
            raise _DamagedError(f"its version is {version}, not {SCHEMA_VERSION}")
        yield database
    finally:
        database.close()


def _create(database: sqlite3.Connection) -> None:
    """Make the tables, unless another process did so meanwhile."""
    database.execute("PRAGMA journal_mode = WAL")
    script = f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
    try:
        database.executescript(script)
    except sqlite3.OperationalError:
        [(version,)] = database.execute("PRAGMA user_version").fetchall()
        if version != SCHEMA_VERSION:
            raise


def _step(error: Exception) -> str:
    """What to do about a history that cannot be read."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return "free some space there"
    others = "run as root or as the service's user"
    if code == sqlite3.SQLITE_CANTOPEN:  # it makes two files of its own even to read
        return f"{others}, and let its file system be writable"
    return others


def _is_damage(error: Exception) -> bool:
    """Whether the file itself is bad, and not the disk, the rights or another's lock."""
    if isinstance(error, _DamagedError | ValueError):
        return True
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return False
    # The low byte is the primary code (sqlite.org/rescode.html). A file with our version number
    # and without our tables is no history either.
    return (code & 0xFF) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB} or (
        (code & 0xFF) == sqlite3.SQLITE_ERROR and "no such" in str(error)
    )
