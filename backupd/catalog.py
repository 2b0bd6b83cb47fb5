"""The backups in a store, as its keys tell: commit, find, list.

Invariants: a backup exists if and only if its manifest does, so the manifest is written last and
never changed; nothing here deletes an archive that a listed manifest names. A listing costs a
request for each thousand keys and none for each backup.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from backupd.errors import DamagedBackup, NotFound, NotOurs, ObjectMissing, StoreError
from backupd.foreign_json import read_json
from backupd.layout import (
    BackupKey,
    Kind,
    StateKey,
    archives_folder,
    backups_folder,
    host_key,
    name_of,
    parse_archive_key,
    parse_backup_key,
    segment,
    source_folder,
)
from backupd.manifest import LIMIT_BYTES, Manifest, parse
from backupd.stores import Entry, Refusal, Store

RECORD_LIMIT_BYTES = 64 << 20
CONTENT_DIGITS = 10
"""So many digits of a fingerprint tell the content, also of an encrypted archive."""


@dataclass(frozen=True, slots=True)
class StoredArchive:
    """One archive, or the record beside one, as the listing shows it."""

    archive_id: str
    is_record: bool
    key: str
    size_bytes: int
    made_at: datetime


@dataclass(frozen=True, slots=True)
class Contents:
    """What a listing of manifests showed."""

    backups: list[BackupKey]
    """Oldest first, states included."""
    strays: list[Entry]
    """States whose manifest is not there."""


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What `host.json` tells: who writes below the prefix, and whose archives belong to whom."""

    machine_id: str
    adopted: tuple[str, ...] = ()
    """Hosts whose archives this one's manifests name."""
    adopted_by: str | None = None
    """The host whose manifests name this one's archives; then nobody writes here any more."""


def fingerprint(content: str | None, compression: str, recipients: Collection[str] = ()) -> str:
    """Sixteen hex digits: equal for archives that would hold the same, random for the unknown.

    With recipients, six of them are theirs: an archive for others is another one.
    """
    if content is None:
        return secrets.token_hex(8)
    mark = hashlib.sha256(f"{content}\n{compression}".encode()).hexdigest()[:16]
    if not recipients:
        return mark
    whose = hashlib.sha256("\n".join(sorted(recipients)).encode()).hexdigest()
    return mark[:CONTENT_DIGITS] + whose[: 16 - CONTENT_DIGITS]


def new_archive_id(mark: str) -> str:
    """A fresh, unique archive id that carries the fingerprint `mark`."""
    return f"{mark}-{secrets.token_hex(6)}"


class Catalog:
    """One host's part of a store."""

    def __init__(self, store: Store, host: str) -> None:
        self.store = store
        self.host = host

    def backups(self, job: str | None = None) -> list[BackupKey]:
        """Every backup of the host (or of one job), oldest first, states included."""
        return listed(self.store, backups_folder(self.host, job))

    def of_source(self, job: str, kind: Kind, name: str) -> list[BackupKey]:
        """The backups of one source in one job, oldest first."""
        return listed(self.store, source_folder(self.host, job, kind, name))

    def contents(self, *hosts: str) -> Contents:
        """The backups of this host, or of several, with the states that belong to none of them."""
        every = [_read(self.store, backups_folder(host)) for host in hosts or (self.host,)]
        return Contents(
            [backup for one in every for backup in one.backups],
            [stray for one in every for stray in one.strays],
        )

    def stored(self, *hosts: str) -> list[StoredArchive]:
        """Every archive and record of these hosts, or of this one and those that it adopted."""
        found = []
        for host in hosts or self.family():
            for entry in self.store.list(archives_folder(host)):
                parsed = parse_archive_key(entry.key)
                if parsed is not None:
                    archive_id, rest = parsed
                    is_record = not rest.startswith("tar")
                    found.append(
                        StoredArchive(
                            archive_id, is_record, entry.key, entry.size_bytes, entry.modified_at
                        )
                    )
        return found

    def archives(self) -> dict[str, StoredArchive]:
        """Archive id → the archive that the listing shows."""
        return {stored.archive_id: stored for stored in self.stored() if not stored.is_record}

    def family(self) -> list[str]:
        """This host and those that it adopted: its archives are below all of their prefixes.

        So may be, where an adoption was broken off, manifests that name them.
        """
        facts = self.facts()
        return [self.host, *(facts.adopted if facts else ())]

    def manifest(self, backup: BackupKey) -> Manifest:
        """The manifest of a listed backup. Raises NotFound when it is gone, DamagedBackup."""
        try:
            data = self.store.get_bytes(backup.key, limit_bytes=LIMIT_BYTES)
        except ObjectMissing as error:
            raise NotFound(
                f"cannot read backup {backup.id}: it is no longer in {self.store.url}"
            ) from error
        return parse(data, backup)

    def record(self, manifest: Manifest) -> bytes | None:
        """The record of inspect as it is stored, whole and unchanged; None where there is none.

        Raises DamagedBackup.
        """
        record = manifest.record
        if record is None:
            return None
        where = f"its record of inspect {record.key} is"
        try:
            data = self.store.get_bytes(record.key, limit_bytes=RECORD_LIMIT_BYTES)
        except ObjectMissing as error:
            raise DamagedBackup(f"backup {manifest.id} is damaged: {where} missing") from error
        if hashlib.sha256(data).hexdigest() != record.sha256:
            raise DamagedBackup(
                f"backup {manifest.id} is damaged: {where} not the one that was stored"
            )
        return data

    def commit(self, manifest: Manifest, *, states: Collection[str] = ()) -> BackupKey:
        """Make the backup exist, in these states: the last act of every backup.

        Its archive must have been seen.
        """
        for state in states:
            # First: the backup is never seen without, and alone it is a stray that prune sweeps.
            self.store.put_bytes(manifest.key.state_key(state), b"")
        self.store.put_bytes(manifest.key.key, manifest.to_json())
        return manifest.key

    def archive_is_whole(self, manifest: Manifest) -> bool:
        """Whether the manifest's archive is in the store now, with the size it should have."""
        return self.store.size(manifest.archive.key) == manifest.archive.stored_bytes

    def extend_locks(self, manifest: Manifest) -> Refusal | None:
        """Lock what the manifest names as long as the manifest will be; why that is refused."""
        keys = [manifest.archive.key, *([manifest.record.key] if manifest.record else [])]
        refusals = (self.store.extend_lock(key) for key in keys)
        return next((refusal for refusal in refusals if refusal is not None), None)

    def withdraw(self, backup: BackupKey) -> None:
        """Take back a manifest that must not stand. Raises StoreError when it cannot."""
        for refusal in self.store.delete([backup.key]):
            raise StoreError(f"cannot withdraw backup {backup.id}: {refusal.cause}")

    def claim(self, machine_id: str, since: datetime) -> None:
        """Make this machine the one that writes below the host's prefix, if nobody is yet.

        Raises StoreError when another machine already is: two machines of one name would prune
        each other's backups.
        """
        if self.require_ours(machine_id) is None:
            self.write_facts(HostFacts(machine_id), since)

    def require_ours(self, machine_id: str) -> HostFacts | None:
        """Who owns the host's prefix: this machine, or nobody yet. Raises StoreError."""
        facts = self.facts()
        if facts is None:
            return None
        where = f"cannot write below {self.store.url}/{segment(self.host)}/"
        if facts.adopted_by is not None:
            raise StoreError(
                f"{where}: host {facts.adopted_by!r} adopted the backups of {self.host!r}; back up "
                "under that name (host: in the policy), or take them back with "
                f"`backupd adopt --from {facts.adopted_by}`"
            )
        if facts.machine_id != machine_id:
            raise StoreError(
                f"{where}: another machine named {self.host!r} backs up there; give this one a "
                "name of its own (host: in the policy), or run `backupd adopt` if it replaces that "
                "machine"
            )
        return facts

    def write_facts(self, facts: HostFacts, since: datetime) -> None:
        """Say who owns the host's prefix from now on."""
        text = json.dumps({"host": self.host, "since": since.isoformat(), **asdict(facts)})
        self.store.put_bytes(host_key(self.host), text.encode() + b"\n")

    def facts(self) -> HostFacts | None:
        """What `host.json` says; None where there is none yet. Raises StoreError."""
        try:
            data = self.store.get_bytes(host_key(self.host), limit_bytes=LIMIT_BYTES)
            facts = read_json(data)
            adopted = tuple(map(str, facts.get("adopted", ())))
            if not all(adopted):
                raise ValueError("a host without a name")
            return HostFacts(
                str(facts["machine_id"]),
                adopted,
                None if facts.get("adopted_by") is None else str(facts["adopted_by"]),
            )
        except ObjectMissing:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise NotOurs(
                f"cannot read {host_key(self.host)} in {self.store.url}: it is not one of ours; "
                "run `backupd adopt` to write it anew"
            ) from error


def listed(store: Store, prefix: str) -> list[BackupKey]:
    """The backups below a prefix, oldest first, each with its states; foreign keys are passed."""
    return _read(store, prefix).backups


def _read(store: Store, prefix: str) -> Contents:
    backups: list[BackupKey] = []
    states: dict[str, dict[str, Entry]] = defaultdict(dict)
    for entry in store.list(prefix):
        parsed = parse_backup_key(entry.key)
        if isinstance(parsed, StateKey):
            states[parsed.stem][parsed.state] = entry
        elif parsed is not None:
            backups.append(parsed)
    if states:
        backups = [
            _marked(backup, states[backup.stem]) if backup.stem in states else backup
            for backup in backups
        ]
        for backup in backups:
            states.pop(backup.stem, None)
    strays = [entry for left in states.values() for entry in left.values()]
    return Contents(
        sorted(backups, key=lambda backup: (backup.taken_at, backup.archive_id)), strays
    )


def _marked(backup: BackupKey, states: Mapping[str, Entry]) -> BackupKey:
    marked_at = {state: entry.modified_at for state, entry in states.items()}
    return replace(backup, states=frozenset(states), marked_at=marked_at)


def hosts(store: Store) -> list[str]:
    """The hosts that write to this store."""
    return sorted(name_of(folder) for folder in store.folders(""))


def newest(backups: Sequence[BackupKey]) -> BackupKey | None:
    """The backup taken last."""
    return max(backups, key=lambda backup: backup.taken_at, default=None)
