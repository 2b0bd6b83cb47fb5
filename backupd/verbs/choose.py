"""Choose among the backups in a store: by source, moment, id, job and host.

The newest backup of one source is looked for where it most likely is, by the moments in the keys: a
source with ten thousand backups would else cost a request for each thousand of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from backupd.catalog import Catalog, hosts, listed, newest
from backupd.errors import NotFound, UsageError
from backupd.layout import (
    BackupKey,
    Kind,
    backups_folder,
    parse_backup_key,
    segment,
    stamp,
)
from backupd.manifest import Manifest
from backupd.policy import reference as names
from backupd.stores import Store

ALL_HOSTS = "*"
_LOOKS_BACK = (timedelta(hours=25), timedelta(days=8), timedelta(days=63))
"""Where the newest backup is looked for first: what runs daily, weekly, monthly, and then all."""


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
    hosts_asked = _hosts_of(store, wish.host)
    for host in hosts_asked:
        found += [b for b in listed(store, backups_folder(host, wish.job)) if wish.fits(b)]
    if len(hosts_asked) > 1:  # those of one host are in order
        found.sort(key=lambda backup: (backup.taken_at, backup.archive_id))
    return found


def choose(store: Store, wish: Wish, now: datetime) -> tuple[Catalog, Manifest]:
    """The newest backup that fits, with its manifest and the part of the store it is in.

    A wrong `now` costs requests, nothing else. Raises NotFound, UsageError when the wish is
    ambiguous, DamagedBackup for a bad manifest.
    """
    in_time = _candidates(store, wish, now)
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
        raise NotFound(_nothing(store, wish, matching(store, wish)))
    catalog = Catalog(store, backup.host)
    return catalog, catalog.manifest(backup)


def _candidates(store: Store, wish: Wish, now: datetime) -> list[BackupKey]:
    """What fits and is in time: of one source only the newest of each host, without its states."""
    if wish.kind is None or wish.name is None or wish.id is not None:
        return [b for b in matching(store, wish) if wish.at is None or b.taken_at <= wish.at]
    found = []
    for host in _hosts_of(store, wish.host):
        base = backups_folder(host)
        jobs = store.folders(base) if wish.job is None else [segment(wish.job)]
        end = f"{wish.kind}/{segment(wish.name)}/"
        found += _newest_below(store, [f"{base}{job}/{end}" for job in jobs], wish.at, now)
    return found


def _newest_below(
    store: Store, folders: Sequence[str], at: datetime | None, now: datetime
) -> list[BackupKey]:
    """The newest backup in any of one source's folders that is not after `at`; or nothing."""
    for back in (*_LOOKS_BACK, None):
        since = "" if back is None else _stamp_before(at or now, back)
        seen = [_last_since(store, folder, since, at) for folder in folders]
        backup = newest([one for one in seen if one is not None])
        if backup is not None:
            return [backup]
    return []


def _stamp_before(moment: datetime, span: timedelta) -> str:
    try:
        return stamp(moment - span)
    except OverflowError:  # in the first days of the calendar
        return ""


def _last_since(store: Store, folder: str, since: str, at: datetime | None) -> BackupKey | None:
    """The last backup of a folder from the moment `since` on that is not after `at`.

    Siblings are listed in the order of their keys, and so of their moments.
    """
    last = None
    for entry in store.list(folder, start_after=folder + since if since else ""):
        parsed = parse_backup_key(entry.key)
        if not isinstance(parsed, BackupKey):
            continue
        if at is not None and parsed.taken_at > at:
            break
        last = parsed
    return last


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
