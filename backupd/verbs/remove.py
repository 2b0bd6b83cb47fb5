"""Remove backups, then the archives that nobody names any more.

The order is the safety: under the host's archive lock, manifests first; then the store is listed
again, and only archives go that no manifest names in that fresh listing, nor one that was written
too lately to be listed everywhere. A crash in between leaves
an orphan archive, which a later prune sweeps, and never a manifest without archive.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from backupd.catalog import Catalog, Contents, StoredArchive
from backupd.errors import StoreError
from backupd.layout import PINNED, BackupKey, archives_folder, parse_archive_key
from backupd.named_lately import forget, named_lately
from backupd.policy import ORPHAN_GRACE
from backupd.site import Site
from backupd.stores import Refusal

SHOWN = 20
"""After so many refusals a person knows."""

STILL_THERE = (
    "deleted without an error and still listed; is there an object lock or a retention rule on the "
    "bucket?"
)


@dataclass(slots=True)
class Removal:
    """What a removal did, as a fresh listing showed it."""

    backups: list[BackupKey] = field(default_factory=list)
    archives: list[StoredArchive] = field(default_factory=list)
    """Archives and records."""
    refused: list[Refusal] = field(default_factory=list)
    """What the store did not remove, and why."""
    skipped: list[str] = field(default_factory=list)
    """Why some that were to go were left for another time, as sentences."""
    uploads: int = 0
    """Unfinished uploads that were dropped."""

    @property
    def archive_count(self) -> int:
        """How many archives went, records not counted."""
        return sum(not stored.is_record for stored in self.archives)

    @property
    def freed_bytes(self) -> int:
        """Stored bytes of the archives and records that went."""
        return sum(archive.size_bytes for archive in self.archives)

    @property
    def complaints(self) -> list[str]:
        """A sentence for everything that was to go and is still there, up to a sensible number."""
        refused = [f"the store did not remove {r.key}: {r.cause}" for r in self.refused[:SHOWN]]
        more = len(self.refused) - SHOWN
        return refused + ([f"nor {more} other objects"] if more > 0 else []) + self.skipped


def forgotten_before(site: Site) -> datetime:
    """What nobody names and is older than this, no backup can still be working on."""
    return site.now() - ORPHAN_GRACE


def remove(
    site: Site,
    catalog: Catalog,
    backups: Sequence[BackupKey],
    verb: str,
    *,
    orphans_before: datetime | None = None,
) -> Removal:
    """Remove these backups, and those of their archives that no backup of the host names then.

    With `orphans_before`, archives, records and states older than that which belong to no backup go
    too, unless the lock of their source is held. From another host than `site.host` only manifests
    go: that machine's own locks are out of reach, so its archives are left for it to sweep. Raises
    StoreError when the store fails; what a store refuses is told in the result, and the rest goes
    on.
    """
    done = Removal()
    with site.state.lock_archives(site.store.url, catalog.host, verb, site.cancel):
        # Below the prefixes of adopted hosts too: what has not moved yet names archives as well.
        hosts = catalog.family()
        stored = catalog.stored(*hosts) if catalog.host == site.host else []
        before = catalog.contents(*hosts)
        # Who is at work is asked before the last look at the manifests: one that ends its work
        # meanwhile has committed what it worked on.
        # Nobody names them, and they may be locked all the same, from when they were written.
        unlocked = orphans_before and orphans_before - catalog.store.locked_for
        forgotten = _forgotten(site, stored, before, unlocked)
        going = _still_to_go(site, before, backups, done)
        refused = catalog.store.delete(backup.key for backup in going)
        left = catalog.contents(*hosts)
        still_there = {backup.key for backup in left.backups}
        _tell(done, refused, [backup.key for backup in going if backup.key in still_there])
        done.backups = [backup for backup in going if backup.key not in still_there]
        _remove_states(catalog, done, left, orphans_before)
        unnamed = {backup.archive_id for backup in done.backups} | forgotten
        unnamed -= {backup.archive_id for backup in left.backups}
        unnamed -= site.state.archives_being_read()
        forget(site.state, catalog.host, {backup.key for backup in done.backups}, site.now())
        unnamed -= named_lately(site.state, catalog.host, site.now())
        _remove_archives(catalog, done, [one for one in stored if one.archive_id in unnamed])
    return done


def drop_uploads(site: Site, catalog: Catalog, started_before: datetime) -> Removal:
    """Drop unfinished uploads of archives that nobody on this machine works on."""

    def spare(key: str) -> bool:
        return parse_archive_key(key) is None or site.state.is_source_busy(key)

    done = Removal()
    for host in catalog.family():
        folder = archives_folder(host)
        try:
            done.uploads += catalog.store.abort_uploads(
                folder, started_before=started_before, spare=spare
            )
        except StoreError as error:
            # Some servers and keys cannot even list them; what else was done is still to be told.
            done.refused.append(Refusal(folder, str(error)))
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


def _forgotten(
    site: Site, stored: Iterable[StoredArchive], contents: Contents, before: datetime | None
) -> set[str]:
    """The ids of archives older than that which nothing names and nobody works on."""
    if before is None:
        return set()
    named = {backup.archive_id for backup in contents.backups}
    return {
        one.archive_id
        for one in stored
        if one.archive_id not in named
        and one.made_at < before
        and not site.state.is_source_busy(one.key)
    }


def _still_to_go(
    site: Site, contents: Contents, backups: Sequence[BackupKey], done: Removal
) -> list[BackupKey]:
    """Those that are still there, and that nobody pinned or began to restore meanwhile."""
    if not backups:
        return []
    there = {backup.key: backup for backup in contents.backups}
    being_read = site.state.archives_being_read()
    going = []
    for backup in (there[backup.key] for backup in backups if backup.key in there):
        if PINNED in backup.states:
            done.skipped.append(f"backup {backup.id} was pinned meanwhile: it stays")
        elif backup.archive_id in being_read:
            done.skipped.append(f"backup {backup.id} is being restored: it stays for now")
        else:
            going.append(backup)
    return going


def _remove_states(
    catalog: Catalog, done: Removal, left: Contents, orphans_before: datetime | None
) -> None:
    """States after their manifests: a backup that could not go must not lose what marks it."""
    keys = [backup.state_key(state) for backup in done.backups for state in backup.states]
    if orphans_before is not None:
        keys += [stray.key for stray in left.strays if stray.modified_at < orphans_before]
    done.refused += catalog.store.delete(dict.fromkeys(keys))


def _remove_archives(catalog: Catalog, done: Removal, going: Sequence[StoredArchive]) -> None:
    """Remove archives and their records, and count those that a fresh listing no longer shows."""
    if not going:
        return
    refused = catalog.store.delete(stored.key for stored in going)
    still_there = {stored.key for stored in catalog.stored()}
    _tell(done, refused, [stored.key for stored in going if stored.key in still_there])
    done.archives = [stored for stored in going if stored.key not in still_there]


def _tell(done: Removal, refused: Collection[Refusal], left: Iterable[str]) -> None:
    """Note what was refused, and deletions that the store accepted and did not do."""
    told = {refusal.key for refusal in refused}
    done.refused += refused
    done.refused += [Refusal(key, STILL_THERE) for key in left if key not in told]
