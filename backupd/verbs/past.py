"""What the store holds, by one listing for a whole run."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from backupd.layout import BackupKey


class Past:
    """The backups of a listing, and those that the run commits; safe to use from any thread."""

    def __init__(self, backups: Iterable[BackupKey]) -> None:
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._newest: dict[str, datetime] = {}
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
        newest = self._newest.get(backup.folder)
        self._newest[backup.folder] = max(newest or backup.taken_at, backup.taken_at)
        self._by_mark[backup.archive_id.partition("-")[0]].append(backup)
        if "damaged" in backup.states:
            self._spoiled.add(backup.archive_id)

    def newest_of(self, folder: str) -> datetime | None:
        """When the source of this folder was last backed up."""
        with self._lock:
            return self._newest.get(folder)

    def bearing(self, mark: str) -> list[BackupKey]:
        """One backup for each archive with this fingerprint that failed no check, newest first."""
        with self._lock:
            by_archive = {backup.archive_id: backup for backup in self._by_mark.get(mark, ())}
            return [b for b in reversed(by_archive.values()) if b.archive_id not in self._spoiled]
