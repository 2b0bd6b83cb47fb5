"""Move manifests to another job's or host's name; archives stay where they are.

Copy first, then remove: a crash in between leaves a backup listed twice, under the old name and the
new one, both restorable, and the same command run again ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from backupd.catalog import Catalog, HostFacts
from backupd.errors import DamagedBackup, NotFound, NotOurs, StoreError, UsageError
from backupd.layout import PROOFS, BackupKey, backups_folder
from backupd.manifest import Manifest
from backupd.named_lately import note
from backupd.site import Site
from backupd.verbs.remove import STILL_THERE


def rename_job(site: Site, old: str, new: str) -> int:
    """Give every backup of job `old` to job `new`; how many moved.

    Raises NotFound when there are none, StoreError when the store fails or refuses, DamagedBackup
    when some have an unreadable manifest and stay.
    """
    catalog = site.catalog
    catalog.require_ours(site.state.machine_id())
    with site.state.lock_archives(site.store.url, site.host, "rename-job", site.cancel):
        backups = catalog.backups(old)
        if not backups:
            raise NotFound(f"cannot rename job {old!r}: it has no backups in {site.store.url}")
        folders = backups_folder(site.host, old), backups_folder(site.host, new)
        _note(site, backups, *folders)
        _move(catalog, backups, lambda manifest: manifest.model_copy(update={"job": new}))
    return len(backups)


def adopt(site: Site, old_host: str | None) -> int:
    """Make this machine the owner of its host's prefix, and of `old_host`'s backups if given.

    How many backups moved. The machine that owned a prefix before is refused there from now on, and
    so is everybody below `old_host`'s: its archives are this host's. Raises UsageError where they
    belong to a third host, NotFound, StoreError, and DamagedBackup when some backups have an
    unreadable manifest and stay.
    """
    if old_host == site.host:
        raise UsageError(f"cannot adopt {old_host!r} from itself; leave out --from")
    catalog = site.catalog
    facts = _facts(catalog)
    mine = facts.adopted if facts else ()
    machine_id = site.state.machine_id()
    if old_host is None:
        _require_free(catalog, facts, None)
        catalog.write_facts(HostFacts(machine_id, mine), site.now())
        return 0
    former = Catalog(site.store, old_host)
    with (
        site.state.lock_archives(site.store.url, site.host, "adopt", site.cancel),
        site.state.lock_archives(site.store.url, old_host, "adopt", site.cancel),
    ):
        backups = former.backups()
        former_facts = _facts(former)
        if not backups and former_facts is None:
            raise NotFound(f"cannot adopt {old_host!r}: no such host in {site.store.url}")
        inherited = former_facts.adopted if former_facts else ()
        _require_free(former, former_facts, site.host)
        if site.host not in inherited:
            _require_free(catalog, facts, old_host)
        # Before any manifest moves, and in this order: from here on a prune of this host heeds the
        # old one's manifests and archives, and only then is the old machine refused.
        names = dict.fromkeys([*mine, old_host, *inherited])
        adopted = tuple(name for name in names if name != site.host)
        catalog.write_facts(HostFacts(machine_id, adopted), site.now())
        former.write_facts(HostFacts(machine_id, adopted_by=site.host), site.now())
        _note(site, backups, backups_folder(old_host), backups_folder(site.host))
        _move(former, backups, lambda manifest: manifest.model_copy(update={"host": site.host}))
    return len(backups)


def _facts(catalog: Catalog) -> HostFacts | None:
    """Who owns a prefix; what nobody can read is nobody's."""
    try:
        return catalog.facts()
    except NotOurs:
        return None


def _require_free(catalog: Catalog, facts: HostFacts | None, heir: str | None) -> None:
    """Raise UsageError when the prefix holds archives that a host other than `heir` needs."""
    if facts is not None and facts.adopted_by not in (None, heir):
        raise UsageError(
            f"cannot adopt {catalog.host!r}: host {facts.adopted_by!r} adopted its backups, and "
            "their archives are still there; give this machine another name (host: in the policy), "
            f"or adopt from {facts.adopted_by!r}"
        )


def _note(site: Site, backups: Sequence[BackupKey], old: str, new: str) -> None:
    """Let no prune take their archives before a listing shows them below the new folder.

    Raises UsageError.
    """
    keys = [new + backup.key.removeprefix(old) for backup in backups]
    note(site.state, site.host, keys, site.now())


def _move(
    catalog: Catalog, backups: Sequence[BackupKey], renamed: Callable[[Manifest], Manifest]
) -> None:
    """Copy every manifest that can be read, then remove the old ones."""
    moved, unreadable = [], []
    for backup in backups:
        try:
            manifest = renamed(catalog.manifest(backup))
        except DamagedBackup:
            unreadable.append(backup.id)
            continue
        target = manifest.key
        # Not how it was proven: when that was is the time of the sibling, which a copy makes new.
        for state in sorted(backup.states.difference(PROOFS)):
            # States first: a pinned backup must not be seen without its pin for a moment.
            note = catalog.store.get_bytes(backup.state_key(state), limit_bytes=1 << 20)
            catalog.store.put_bytes(target.state_key(state), note)
        catalog.store.put_bytes(target.key, manifest.to_json())
        moved.append(backup)
    _remove_old(catalog, moved)
    if unreadable:
        raise DamagedBackup(
            f"cannot move {len(unreadable)} of {len(backups)} backups, whose manifests cannot be "
            f"read ({', '.join(unreadable[:5])}): they stay under the old name, the others moved"
        )


def _remove_old(catalog: Catalog, moved: Sequence[BackupKey]) -> None:
    """Remove the manifests under the old name, then their states. Raises StoreError."""
    refused = catalog.store.delete(backup.key for backup in moved)
    still_there = {backup.key for backup in catalog.backups()}
    left = [backup.key for backup in moved if backup.key in still_there]
    if left:
        cause = refused[0].cause if refused else STILL_THERE
        raise StoreError(
            f"cannot remove {len(left)} manifests under the old name ({cause}); these backups are "
            "listed under both names; run the command again with keys that may delete"
        )
    catalog.store.delete(backup.state_key(state) for backup in moved for state in backup.states)
