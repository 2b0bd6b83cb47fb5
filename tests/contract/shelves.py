"""A host's part of a store, filled as a test likes: no engine, no waiting, any moment.

Manifests and archives go straight into the store through the program's own models, so that what
prune sees is what a backup would have left.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from backupd.catalog import Catalog, new_archive_id
from backupd.engine import Engine, Version
from backupd.engine_answers import Shape
from backupd.layout import PINNED, Kind, archive_key, backup_key, record_key
from backupd.manifest import Archive, EngineFacts, Image, Manifest, Record
from backupd.policy import DockerSpec, Job, Policy
from backupd.site import Site
from backupd.state import StateDir
from backupd.stores import Store
from backupd.verbs.prune import GroupPlan, Source
from backupd.verbs.prune_jobs import Listing, Order, carry_out, plan_jobs, unnamed_jobs
from backupd.verbs.remove import Removal
from tests.contract.streams import reader_of

NOW = datetime.now(UTC).replace(microsecond=0)
"""What the clock of a shelf shows at first: about that of the stores, whose clocks are real."""
DAY = timedelta(days=1)
JOB, NAME, HOST = "nightly", "app:1", "web01"
KEEP_ONE = {"keep_last": 1}
_numbers = count(1)


class QuietEngine(Engine):
    """An engine that nothing is asked of but what it is."""

    def __init__(self) -> None:
        super().__init__(DockerSpec(), host="unix:///nowhere/docker.sock")

    def version(self) -> Version:
        return Version("engine", "26.0", "1.45", "overlay2", "linux", "amd64", "/nowhere")

    def ask(self, what: str, path: str, shape: Shape, **params: str) -> Any:
        return []  # a listing: there is nothing


@dataclass
class Shelf:
    """One machine's view of a store; `now` is its clock."""

    store: Store
    directory: Path
    """For the machine's state."""
    host: str = HOST
    now: datetime = NOW
    machine: str = ""
    """Set where another machine is meant: machines with different texts have different ids."""
    made: list[Manifest] = field(default_factory=list)

    @property
    def site(self) -> Site:
        """What verbs work with."""
        state = _Machine(self.directory / (self.machine or "state"), self.machine)
        return Site(self.host, QuietEngine(), self.store, state, lambda: self.now)

    @property
    def catalog(self) -> Catalog:
        """The host's part of the store."""
        return Catalog(self.store, self.host)

    @property
    def state(self) -> StateDir:
        """The machine's state."""
        return self.site.state

    def through(self, store: Store) -> Shelf:
        """The same shelf, seen through another store."""
        return replace(self, store=store)

    def add(
        self,
        age: timedelta = timedelta(),
        *,
        name: str = NAME,
        job: str = JOB,
        kind: Kind = Kind.IMAGE,
        archive: Archive | None = None,
        selected_by: str = "pattern",
        states: Collection[str] = (),
    ) -> Manifest:
        """A backup taken `age` ago, with an archive of its own unless one is given."""
        taken_at = self.now - age
        own = archive or self.add_archive(name=name, kind=kind, made_at=taken_at)
        key = backup_key(
            self.host, job, kind, name, taken_at=taken_at, archive_id=own.id, size_bytes=4
        )
        record = self._add_record(own, name) if kind is Kind.CONTAINER else None
        manifest = Manifest.model_validate(
            {
                "id": key.id,
                "host": self.host,
                "job": job,
                "kind": kind,
                "name": name,
                "taken_at": key.taken_at,
                "archive": own,
                "record": record,
                "reused": archive is not None,
                "made_by": "a test",
                "images": self._images(kind),
                "selected_by": selected_by,
                "engine": EngineFacts.model_validate(_ENGINE),
            }
        )
        for state in states:
            self.store.put_bytes(key.state_key(state), b"")
        self.catalog.commit(manifest)
        self.made.append(manifest)
        return manifest

    def add_daily(self, days: int, **options: Any) -> list[Manifest]:
        """A backup for each of the last days, newest first."""
        return [self.add(DAY * day, **options) for day in range(days)]

    def add_archive(
        self, *, name: str = NAME, kind: Kind = Kind.IMAGE, made_at: datetime = NOW
    ) -> Archive:
        """An archive that no manifest names yet."""
        archive_id = new_archive_id(f"{next(_numbers):016x}")
        content = f"archive {archive_id}".encode()
        key = archive_key(self.host, kind, name, archive_id, ".zst")
        self.store.put(key, reader_of(content), estimate_bytes=len(content))
        digest = hashlib.sha256(content).hexdigest()
        return Archive(
            id=archive_id,
            key=key,
            compression="zstd",
            level=3,
            size_bytes=4,
            sha256=digest,
            stored_bytes=len(content),
            stored_sha256=digest,
            made_at=made_at,
        )

    def pin(self, manifest: Manifest) -> None:
        """Pin a backup, as `backupd pin` does."""
        self.store.put_bytes(manifest.key.state_key(PINNED), b"")

    def ids(self) -> list[str]:
        """The ids of the backups that are listed, newest first."""
        return [backup.id for backup in reversed(self.catalog.backups())]

    def archive_ids(self) -> set[str]:
        """The ids of the archives that are there."""
        return set(self.catalog.archives())

    def broken(self) -> list[str]:
        """The listed backups, adopted ones too, that could not be restored whole."""
        catalog, found = self.catalog, []
        for backup in catalog.contents(*catalog.family()).backups:
            manifest = Catalog(self.store, backup.host).manifest(backup)
            if not self._is_whole(manifest):
                found.append(backup.key)
        return found

    def objects(self) -> list[str]:
        """Every key below the host's prefix, but who writes there."""
        found = [entry.key for entry in self.store.list(f"{self.host}/")]
        return sorted(key for key in found if not key.endswith("/host.json"))

    def _is_whole(self, manifest: Manifest) -> bool:
        record = manifest.record
        return self.store.size(manifest.archive.key) == manifest.archive.stored_bytes and (
            record is None or self.store.size(record.key) == record.size_bytes
        )

    def _add_record(self, archive: Archive, name: str) -> Record:
        key = record_key(self.host, Kind.CONTAINER, name, archive.id)
        self.store.put_bytes(key, b"{}")
        return Record(key=key, size_bytes=2, sha256=hashlib.sha256(b"{}").hexdigest())

    def _images(self, kind: Kind) -> tuple[Image, ...]:
        if kind is not Kind.IMAGE:
            return ()
        return (Image(id=f"sha256:{'0' * 64}", reference=NAME, saved_as=(NAME,), diff_ids=()),)


_ENGINE = {"id": "engine", "version": "26.0", "api_version": "1.45", "storage_driver": "overlay2"}


@dataclass(frozen=True, slots=True)
class _Machine(StateDir):
    """A state directory that says which machine it is in."""

    name: str

    def machine_id(self) -> str:
        return hashlib.sha256(self.name.encode()).hexdigest()[:32]


def policy_of(
    retention: Mapping[str, Any] | None = None,
    *,
    images: Sequence[Any] = ("*",),
    containers: Sequence[Any] = ("*",),
    job: str = JOB,
    **sections: Any,
) -> Policy:
    """A policy with one job, which selects everything unless it is told otherwise."""
    section = {"images": list(images), "containers": list(containers), "retention": retention}
    return Policy.model_validate({**sections, "jobs": {job: section}})


@dataclass(frozen=True)
class Pruned:
    """What a prune planned and did."""

    plans: Sequence[GroupPlan]
    removal: Removal

    @property
    def removed(self) -> set[str]:
        """The ids of the backups that went."""
        return {backup.id for backup in self.removal.backups}

    @property
    def left_alone(self) -> list[tuple[str, str]]:
        """Job and name of each group that nobody decided about."""
        return sorted((plan.job, plan.name) for plan in self.plans if plan.left_alone)

    @property
    def objections(self) -> list[str]:
        """What spoke against the plans, by its cause."""
        return [plan.objection.cause for plan in self.plans if plan.objection]


def nobody(_: str, __: Job) -> Collection[Source] | None:
    """An engine that cannot be asked."""
    return None


def prune(
    shelf: Shelf,
    policy: Policy,
    *,
    yes: bool = False,
    of: Catalog | None = None,
    present: Any = nobody,
    **order: Any,
) -> Pruned:
    """What `backupd prune` does: list, plan, carry out."""
    site, catalog = shelf.site, of or shelf.catalog
    listing = Listing.of(catalog)
    jobs = order.pop("jobs", [*policy.jobs, *unnamed_jobs(policy, listing)])
    plans = plan_jobs(site, policy, catalog, listing, Order(jobs, shelf.now, **order), present)
    return Pruned(plans, carry_out(site, catalog, listing, plans, yes=yes))


def ids_of(manifests: Sequence[Manifest]) -> list[str]:
    """Their ids, in the same order."""
    return [manifest.id for manifest in manifests]
