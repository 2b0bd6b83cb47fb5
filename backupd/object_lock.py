"""Object lock, decided from keys and the policy alone: no request for each backup.

A backup is locked until its moment plus the policy's days: its manifest to the second, its archive
and record at least as long, since they are written (or locked anew, when a later backup reuses
them) after that moment. So an archive is locked as long as its youngest manifest. All else is
never locked: `host.json` and `status.json` are overwritten, states are written anew and removed,
and probes are removed at once. Pure: the clock is a parameter.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from backupd.layout import BackupKey, parse_archive_key, parse_backup_key

NEARLY_OVER = timedelta(hours=1)
"""A manifest that moves to another name with so little left of its lock gets none: a server whose
clock is ahead would refuse it."""


def retained_until(key: str, locked_for: timedelta, now: datetime) -> datetime | None:
    """Until when the object that is written to `key` now must stay; None where nothing is locked.

    Truncated to the second, as S3's own dates are.
    """
    if not locked_for:
        return None
    if parse_archive_key(key) is not None:
        since = now
    else:
        found = parse_backup_key(key)
        if not isinstance(found, BackupKey):
            return None
        since = found.taken_at
    until = (since + locked_for).replace(microsecond=0)
    return until if until > now + NEARLY_OVER else None


def locked_until(taken_at: datetime, locked_for: timedelta, now: datetime) -> datetime | None:
    """Until when a backup cannot be removed; None once it can, or where nothing is locked."""
    until = taken_at + locked_for
    return until if locked_for and until > now else None
