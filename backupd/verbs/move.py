"""Move manifests to another job's or host's name; archives stay where they are.

Copy first, then remove: a crash in between leaves a backup listed twice, under the old name and the
new one, both restorable, and the same command run again ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from backupd.catalog import Catalog
from backupd.errors import NotFound, StoreError, UsageError
from backupd.layout import BackupKey
from backupd.manifest import Manifest
from backupd.site import Site


def rename_job(site: Site, old: str, new: str) -> int:
    """Give every backup of job `old` to job `new`; how many moved.

    Raises NotFound when there are none, StoreError when the store fails or refuses.
    """
    catalog = site.catalog
    catalog.require_ours(site.state.machine_id())
    with site.state.lock_archives(site.host, "rename-job"):
        backups = catalog.backups(old)
        if not backups:
            raise NotFound(f"cannot rename job {old!r}: it has no backups in {site.store.url}")
        _move(catalog, backups, lambda manifest: manifest.model_copy(update={"job": new}))
    return len(backups)


def adopt(site: Site, old_host: str | None) -> int:
    """Make this machine the owner of its host's prefix, and of `old_host`'s backups if given.

    How many backups moved. The machine that owned a prefix before is refused there from now on.
    """
    catalog = site.catalog
    facts = catalog.facts()
    adopted = list(facts.adopted) if facts else []
    if old_host is None:
        catalog.take_over(site.state.machine_id(), site.now(), adopted)
        return 0
    if old_host == site.host:
        raise UsageError(f"cannot adopt {old_host!r} from itself; leave out --from")
    former = Catalog(site.store, old_host)
    with site.state.lock_archives(site.host, "adopt"):
        backups = former.backups()
        former_facts = former.facts()
        if not backups and former_facts is None:
            raise NotFound(f"cannot adopt {old_host!r}: no such host in {site.store.url}")
        inherited = former_facts.adopted if former_facts else ()
        # Before any manifest moves: from here on the old machine is refused, and a sweep of this
        # one looks at the old one's archives too, which the moved manifests name.
        names = list(dict.fromkeys([*adopted, old_host, *inherited]))
        catalog.take_over(site.state.machine_id(), site.now(), names)
        former.take_over(site.state.machine_id(), site.now())
        _move(former, backups, lambda manifest: manifest.model_copy(update={"host": site.host}))
    return len(backups)


def _move(
    catalog: Catalog, backups: Sequence[BackupKey], renamed: Callable[[Manifest], Manifest]
) -> None:
    gone: list[str] = []
    for backup in backups:
        moved = renamed(catalog.manifest(backup))
        target = replace(moved.key, states=backup.states)
        for state in sorted(backup.states):
            # States first: a pinned backup must not be seen without its pin for a moment.
            note = catalog.store.get_bytes(backup.state_key(state), limit_bytes=1 << 20)
            catalog.store.put_bytes(target.state_key(state), note)
        catalog.store.put_bytes(target.key, moved.to_json())
        gone += [backup.key, *(backup.state_key(state) for state in sorted(backup.states))]
    refused = catalog.store.delete(gone)
    if refused:
        raise StoreError(
            f"cannot remove {len(refused)} manifests under the old name ({refused[0].cause}); the "
            "backups are listed under both names; run the command again with keys that may delete"
        )
