"""What the store holds, by one listing for a whole run."""

from __future__ import annotations

import threading
from bisect import insort
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from backupd.anomaly import PREDECESSORS
from backupd.layout import DAMAGED, BackupKey


class Past:
    """The backups of a listing, and those that the run commits; safe to use from any thread."""

    def __init__(self, backups: Iterable[BackupKey]) -> None:
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._newest: dict[str, list[BackupKey]] = defaultdict(list)
        self._by_mark: dict[str, list[BackupKey]] = defaultdict(list)
        self._spoiled: set[str] = set()
        self.learn(backups)

    def learn(self, backups: Iterable[BackupKey]) -> None:
        """Count what is not counted yet: a later listing, or what was committed just now."""
        with self._lock:
            for backup in backups:
                if backup.key not in self._known:
                    self._count(backup)

    def _count(self, backup: BackupKey) -> None:
        self._known.add(backup.key)
        newest = self._newest[backup.folder]
        insort(newest, backup, key=lambda known: -known.taken_at.timestamp())
        del newest[PREDECESSORS:]
        self._by_mark[backup.archive_id.partition("-")[0]].append(backup)
        if DAMAGED in backup.states:
            self._spoiled.add(backup.archive_id)

    def newest_of(self, folder: str) -> datetime | None:
        """When the source of this folder was last backed up."""
        with self._lock:
            newest = self._newest.get(folder)
            return newest[0].taken_at if newest else None

    def size_of(self, folder: str) -> int:
        """How many plain bytes the newest backup of this folder's source has; 0 without one."""
        with self._lock:
            newest = self._newest.get(folder)
            return newest[0].size_bytes if newest else 0

    def sizes_of(self, folder: str) -> list[int]:
        """The plain bytes of the newest few backups of this folder's source, newest first."""
        with self._lock:
            return [backup.size_bytes for backup in self._newest.get(folder, ())]

    def bearing(self, mark: str) -> list[BackupKey]:
        """One backup for each archive with this fingerprint that failed no check, newest first."""
        with self._lock:
            by_archive = {backup.archive_id: backup for backup in self._by_mark.get(mark, ())}
            return [b for b in reversed(by_archive.values()) if b.archive_id not in self._spoiled]
