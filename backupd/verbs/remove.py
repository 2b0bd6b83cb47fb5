"""Remove backups, then the archives that nobody names any more.

The order is the safety: under the host's archive lock, manifests first; then the store is listed
again, and only archives that no manifest of this host names in that fresh listing go. A crash in
between leaves an orphan archive, which `sweep` finds later, and never a manifest without archive.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from backupd.catalog import Catalog, StoredArchive
from backupd.layout import BackupKey, archives_folder
from backupd.site import Site
from backupd.stores import Refusal

GRACE = timedelta(days=1)
"""How old an archive that no manifest names must be before it counts as forgotten: longer than any
upload, since some servers date an object by the start of its upload."""


@dataclass(slots=True)
class Removal:
    """What a removal did, as a fresh listing showed it."""

    backups: list[BackupKey] = field(default_factory=list)
    archives: list[StoredArchive] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """Why some that were to go are still there, as sentences."""
    uploads: int = 0
    """Unfinished uploads that were dropped."""

    @property
    def freed_bytes(self) -> int:
        """Stored bytes of the archives that went."""
        return sum(archive.size_bytes for archive in self.archives)

    @property
    def complaints(self) -> list[str]:
        """A sentence for everything that was to go and is still there."""
        refused = [f"the store refused to delete {r.key}: {r.cause}" for r in self.refused]
        return refused + self.skipped


def remove(site: Site, catalog: Catalog, backups: Sequence[BackupKey], verb: str) -> Removal:
    """Remove these backups, and those of their archives that no backup of the host names then.

    From another host than `site.host` only manifests go: that machine's own locks are out of
    reach, so its archives are left for it to sweep. Raises StoreError when the store fails; what a
    store refuses is told in the result, and the rest goes on.
    """
    done = Removal()
    if not backups:
        return done
    with site.state.lock_archives(catalog.host, verb):
        going = _not_being_read(site, backups, done)
        done.refused += catalog.store.delete(_manifest_keys(going))
        left = catalog.backups()
        still_there = {backup.key for backup in left}
        done.backups = [backup for backup in going if backup.key not in still_there]
        _tell_of_survivors(done, going, still_there)
        if catalog.host == site.host:
            archives = {backup.archive_id for backup in done.backups}
            _remove_archives(site, catalog, archives - {b.archive_id for b in left}, done)
    return done


def merged(one: Removal, other: Removal) -> Removal:
    """Both removals as one."""
    return Removal(
        one.backups + other.backups,
        one.archives + other.archives,
        one.refused + other.refused,
        one.skipped + other.skipped,
        one.uploads + other.uploads,
    )


def sweep(site: Site, catalog: Catalog, now: datetime) -> Removal:
    """Remove archives, records and uploads of this host that nothing names and nobody works on.

    Only those older than the grace, and none of a source whose lock is held.
    """
    done = Removal()
    with site.state.lock_archives(catalog.host, "prune"):
        named = {backup.archive_id for backup in catalog.backups()}
        orphans = {
            stored.archive_id
            for stored in catalog.stored()
            if stored.archive_id not in named
            and stored.made_at < now - GRACE
            and not site.state.is_source_busy(stored.key)
        }
        _remove_archives(site, catalog, orphans, done)
        done.uploads = catalog.store.abort_uploads(
            archives_folder(catalog.host),
            started_before=now - GRACE,
            spare=site.state.is_source_busy,
        )
    return done


def _manifest_keys(backups: Iterable[BackupKey]) -> list[str]:
    """Manifests first, then their states: a state without its manifest says nothing to anybody."""
    backups = list(backups)
    states = [backup.state_key(state) for backup in backups for state in backup.states]
    return [backup.key for backup in backups] + states


def _not_being_read(site: Site, backups: Sequence[BackupKey], done: Removal) -> list[BackupKey]:
    """Without the backups that a restore on this machine is reading."""
    free = []
    for backup in backups:
        if site.state.is_being_read(backup.archive_id):
            done.skipped.append(f"backup {backup.id} is being restored: it stays for now")
        else:
            free.append(backup)
    return free


def _tell_of_survivors(done: Removal, going: Sequence[BackupKey], still_there: set[str]) -> None:
    """Deletes that the store accepted and did not do: object lock, or a listing that lags."""
    refused = {refusal.key for refusal in done.refused}
    done.skipped += [
        f"backup {backup.id} was deleted without an error and is still listed: is there an object "
        "lock or a retention rule on the bucket?"
        for backup in going
        if backup.key in still_there and backup.key not in refused
    ]


def _remove_archives(site: Site, catalog: Catalog, archive_ids: set[str], done: Removal) -> None:
    """Delete archives and records by id, and count those that a fresh listing no longer shows."""
    going = [
        stored
        for stored in (catalog.stored() if archive_ids else ())
        if stored.archive_id in archive_ids and not site.state.is_being_read(stored.archive_id)
    ]
    if not going:
        return
    refused = catalog.store.delete([stored.key for stored in going])
    left = {stored.key for stored in catalog.stored()}
    done.refused += refused
    done.archives += [stored for stored in going if stored.key not in left]
    told = {refusal.key for refusal in refused}
    done.skipped += [
        f"{stored.key} was deleted without an error and is still listed"
        for stored in going
        if stored.key in left and stored.key not in told
    ]
