"""Choose among the backups in a store: by source, moment, id, job and host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from backupd.catalog import Catalog, hosts, listed, newest
from backupd.errors import NotFound, UsageError
from backupd.layout import BackupKey, Kind, backups_folder, segment
from backupd.manifest import Manifest
from backupd.policy import reference as names
from backupd.stores import Store

ALL_HOSTS = "*"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asked for; what is None does not matter to them."""

    host: str | None = None
    """None: the store's only host; `*`: every host."""
    job: str | None = None
    kind: Kind | None = None
    name: str | None = None
    at: datetime | None = None
    """The newest backup that is not after this moment."""
    id: str | None = None

    def fits(self, backup: BackupKey) -> bool:
        """Whether the backup is one of those asked for, its moment aside."""
        return (
            (self.kind is None or backup.kind is self.kind)
            and (self.name is None or backup.folder.split("/")[4] == segment(self.name))
            and (self.id is None or backup.id.startswith(self.id))
        )


def spellings(name: str) -> set[str]:
    """The names that a person may mean: as typed, and as an image's reference in full."""
    try:
        return {name, names.normalise(name)}
    except ValueError:
        return {name}


def matching(store: Store, wish: Wish) -> list[BackupKey]:
    """Every backup that fits, oldest first. Raises NotFound when the host is not in the store."""
    found: list[BackupKey] = []
    for host in _hosts_of(store, wish.host):
        found += [b for b in listed(store, backups_folder(host, wish.job)) if wish.fits(b)]
    return sorted(found, key=lambda backup: (backup.taken_at, backup.archive_id))


def choose(store: Store, wish: Wish) -> tuple[Catalog, Manifest]:
    """The newest backup that fits, with its manifest and the part of the store it is in.

    Raises NotFound, UsageError when the wish is ambiguous, DamagedBackup for a bad manifest.
    """
    found = matching(store, wish)
    in_time = [b for b in found if wish.at is None or b.taken_at <= wish.at]
    if wish.id is not None and len({b.id for b in in_time}) > 1:
        raise UsageError(f"cannot tell which backup {wish.id!r} is: several begin so; write more")
    of_hosts = sorted({b.host for b in in_time})
    if len(of_hosts) > 1 and wish.id is None:
        raise UsageError(
            f"cannot tell whose {wish.name!r} is meant: {', '.join(of_hosts)} have one; "
            "choose with --host"
        )
    backup = newest(in_time)
    if backup is None:
        raise NotFound(_nothing(store, wish, found))
    catalog = Catalog(store, backup.host)
    return catalog, catalog.manifest(backup)


def only_host(store: Store, host: str | None) -> str:
    """`host`, or the only one of the store. Raises NotFound, UsageError where there are several."""
    found = [host] if host is not None else hosts(store)
    if len(found) > 1:
        raise UsageError(f"cannot tell whose is meant: choose one of {', '.join(found)} by --host")
    if not found:
        raise NotFound(f"cannot find any backup in {store.url}")
    return found[0]


def _hosts_of(store: Store, host: str | None) -> Sequence[str]:
    if host is not None and host != ALL_HOSTS:
        return [host]
    return hosts(store)


def _nothing(store: Store, wish: Wish, found: Sequence[BackupKey]) -> str:
    """Why there is nothing to choose, with what there is instead."""
    what = " ".join(str(part) for part in (wish.kind, wish.name) if part) or "backup"
    if wish.id is not None:
        what = f"backup {wish.id}"
    where = f"in {store.url}" + (f" from host {wish.host!r}" if wish.host else "")
    if found and wish.at is not None:
        oldest = found[0].taken_at
        return (
            f"cannot find {what} {where} at {wish.at:%F %T} UTC: its oldest backup is from "
            f"{oldest:%F %T} UTC"
        )
    others = [name for name in hosts(store) if name != wish.host]
    hint = f"; other hosts there: {', '.join(others)} (--host)" if wish.host and others else ""
    return f"cannot find {what} {where}; `backupd list` shows what there is{hint}"
