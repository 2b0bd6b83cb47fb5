"""Look, and say how containers come back: nothing is made here but a trial that goes at once.

All of a restore is planned before anything of it is made, so that what cannot be given back is
known while the engine is still untouched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from backupd.container_body import Inspect, Ran, endpoints_of, lenders_of, passed_over, trial_of
from backupd.container_plan import Plan, Seen, host_paths, plan, volumes_of
from backupd.container_rights import device_of
from backupd.engine import Engine
from backupd.engine_create import info, inspect_network, networks
from backupd.errors import (
    EngineError,
    EngineUnreachable,
    NotFound,
    NotRestorable,
    UsageError,
)
from backupd.layout import BackupKey
from backupd.site import Site
from backupd.sources.container_image import Record
from backupd.stop_order import Stopping, dependencies, groups
from backupd.verbs.records import (
    container_record,
    described_volume,
    ran_of,
    summary_of,
    understood,
)
from backupd.verbs.recreate_from import (
    ImageSource,
    Stored,
    exported_image,
    original_image,
    volume_backup,
)
from backupd.verbs.sealing import record_of, require_key
from backupd.volume_access import HostMount, find_volume, helper, name_of, trial


@dataclass(frozen=True, slots=True)
class Wish:
    """How a person wants containers back."""

    name: str | None = None
    """Another name than the one it had; for one container alone."""
    from_image: bool = False
    """Of the image that it was made of, instead of its own export."""
    best_effort: bool = False
    """Whether to leave out what cannot be given back."""
    start: bool = True


@dataclass(frozen=True, slots=True)
class Part:
    """One container of a restore."""

    stored: Stored
    ran: Ran
    image: ImageSource
    plan: Plan
    refusal: str = ""
    """Why the engine makes no such container at all, in its words: nothing can be left out."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A restore that is known in full and not begun."""

    parts: tuple[Part, ...]
    """In the order in which they are made and started."""
    volumes: Mapping[str, Stored] = field(default_factory=dict)
    taken: tuple[str, ...] = ()
    """Names of the containers that stand in the way."""
    devices: Mapping[str, str] = field(default_factory=dict)
    """Volume that is restored → the path or address at which its options say that its files lie."""

    @property
    def refusals(self) -> list[str]:
        """What the engine refuses outright, with whose it is; nothing helps against that."""
        return [f"{part.plan.name}: {part.refusal}" for part in self.parts if part.refusal]

    @property
    def lacks(self) -> list[str]:
        """What cannot be given back, with whose it is; refusals are among it."""
        lacks = [f"{part.plan.name}: {lack}" for part in self.parts for lack in part.plan.lacks]
        return [*lacks, *self.refusals]

    @property
    def notes(self) -> list[str]:
        """What is used as it is, and where a volume's files are of another moment."""
        said = dict.fromkeys(note for part in self.parts for note in part.plan.notes)
        moments = {part.stored.manifest.moment for part in self.parts} - {""}
        restored = {name for part in self.parts for name in part.plan.volumes}
        odd = [
            f"volume {name} is of another moment than its container: {_of_backup(stored)}"
            for name, stored in self.volumes.items()
            if name in restored and stored.manifest.moment not in moments
        ]
        return [*said, *odd]

    def told(self, *, start: bool) -> list[str]:
        """The plan, a line for each thing."""
        return [
            *(line for part in self.parts for line in self._told(part, start=start)),
            *(f"note: {note}" for note in self.notes),
            *(f"cannot be given back: {lack}" for lack in self.lacks),
        ]

    def require(self, *, best_effort: bool) -> None:
        """Raise UsageError or NotRestorable unless it may be begun."""
        if self.taken:
            names = ", ".join(self.taken)
            raise UsageError(
                f"cannot make container {names}: there is one of that name; remove it first, or "
                "give a single one another name with --name"
            )
        if self.refusals:
            refused = self.refusals if best_effort else self.lacks
            raise NotRestorable(
                "cannot make what the engine refuses, so nothing was made; --best-effort cannot go "
                "without it:\n" + "\n".join(f"  {lack}" for lack in refused)
            )
        if self.lacks and not best_effort:
            raise NotRestorable(
                "cannot give everything back, so nothing was made; make it possible, or go "
                "without it with --best-effort:\n" + "\n".join(f"  {lack}" for lack in self.lacks)
            )

    def _told(self, part: Part, *, start: bool) -> Iterator[str]:
        """What one container takes; no environment and no options, for these may be secret."""
        act = "made and started" if start else "made"
        yield f"container {part.plan.name}: {act}, from {_of_backup(part.stored)}"
        yield f"  image {part.image.reference}: {part.image.how}"
        for name in part.plan.networks:
            yield f"  network {name}: made"
        for name in part.plan.volumes:
            said = f"  volume {name}: restored from {_of_backup(self.volumes[name])}"
            device = self.devices.get(name)
            yield said + (f"; its files lie at {device}" if device else "")
        for name, described in part.plan.empty_volumes.items():
            device = device_of(described)
            yield f"  volume {name}: made" + (
                f"; its files lie at {device}" if device else ", empty"
            )
        for path, place in part.plan.paths:
            yield f"  path {path} of the host: mounted at {place}"
        for right in part.plan.rights:
            yield f"  {right}"


def _of_backup(stored: Stored) -> str:
    manifest = stored.manifest
    return f"backup {manifest.id} of {manifest.taken_at:%F %T} UTC"


def prepare(site: Site, chosen: Sequence[Stored], wish: Wish) -> Prepared:
    """The plan of bringing these containers back together.

    Raises NotFound for a backup without a record, NoKey for one that no identity opens,
    DamagedBackup, StoreError, EngineError.
    """
    engine = site.engine
    records = [_record(site, stored) for stored in chosen]
    rans = [ran_of(stored.manifest, record) for stored, record in zip(chosen, records, strict=True)]
    catalogs = {stored.catalog.host: stored.catalog for stored in chosen}
    backups = {host: catalog.backups() for host, catalog in catalogs.items()}
    names = [wish.name or ran.name for ran in rans]
    here = {name_of(each): str(each["Id"]) for each in engine.containers()}
    there = {name for ran in rans for name in volumes_of(ran) if find_volume(engine, name)}
    together = dict(zip(names, (str(ran.container["Id"]) for ran in rans), strict=True))
    seen = _seen(site, rans, there, here | together)
    volumes = _backups(chosen, rans, seen, backups)
    for one in volumes.values():
        require_key(one.catalog, one.manifest, site.identities)
    parts = []
    for stored, record, ran, name in zip(chosen, records, rans, names, strict=True):
        with understood(stored.manifest):
            image = (
                original_image(engine, stored, backups[stored.catalog.host], record)
                if wish.from_image
                else exported_image(engine, stored)
            )
            if image.stored is not None:
                require_key(image.stored.catalog, image.stored.manifest, site.identities)
            planned = plan(
                ran,
                seen,
                name=name,
                image=image.reference,
                backed_up=volumes,
                empty=[volume for volume, one in volumes.items() if one.may_be_empty],
            )
            if image.lack:
                planned = planned.lacking([image.lack])
            unknown, refusal = _tried(site, planned)
        parts.append(Part(stored, ran, image, planned.lacking(unknown), refusal))
    taken = tuple(name for name in names if name in here)
    devices = _devices(site, volumes, {name for part in parts for name in part.plan.volumes})
    return Prepared(tuple(_in_order(parts)), volumes, taken, devices)


def _devices(site: Site, volumes: Mapping[str, Stored], restored: Iterable[str]) -> dict[str, str]:
    """Where the files of restored volumes lie by the options that they are made with."""
    found = {}
    for name in restored:
        stored = volumes[name]
        data = record_of(stored.catalog, stored.manifest, site.identities)
        found[name] = device_of(described_volume(stored.manifest, data))
    return {name: device for name, device in found.items() if device}


def _record(site: Site, stored: Stored) -> Record:
    data = record_of(stored.catalog, stored.manifest, site.identities)
    if data is None:
        raise NotFound(
            f"cannot make container {stored.manifest.name} again: backup {stored.manifest.id} has "
            "no record of how it ran; without --run and --create its files come back as an image"
        )
    return container_record(stored.manifest, data)


def _backups(
    chosen: Sequence[Stored],
    rans: Sequence[Ran],
    seen: Seen,
    backups: Mapping[str, Sequence[BackupKey]],
) -> dict[str, Stored]:
    """Each volume or path that is missing → the backup of it, where there is one."""
    found: dict[str, Stored] = {}
    for stored, ran in zip(chosen, rans, strict=True):
        paths = [path for path in host_paths(ran) if path in seen.absent]
        missing = [name for name in volumes_of(ran) if name not in seen.volumes]
        for name in (*missing, *paths):
            backup = found.get(name) or volume_backup(stored, backups[stored.catalog.host], name)
            if backup is not None:
                found[name] = backup
    return found


def _seen(site: Site, rans: Sequence[Ran], there: set[str], here: Mapping[str, str]) -> Seen:
    engine = site.engine
    told = info(engine)
    plugins = told.get("Plugins") or {}
    paths = dict.fromkeys(path for ran in rans for path in host_paths(ran))
    return Seen(
        networks=_networks(engine, {name for ran in rans for name in endpoints_of(ran)}),
        volumes=there,
        containers=here,
        absent=[path for path in paths if not _has_path(site, path)],
        drivers={kind: found for kind, found in plugins.items() if found},
        runtimes=list(told.get("Runtimes") or ()),
        wants_endpoint_mac=engine.version().speaks("1.44"),
    )


def _networks(engine: Engine, wanted: set[str]) -> dict[str, Inspect]:
    """Every network by its name; the wanted ones with who is attached to them."""
    found: dict[str, Inspect] = {network["Name"]: network for network in networks(engine)}
    return found | {name: inspect_network(engine, name) for name in wanted & found.keys()}


def _has_path(site: Site, path: str) -> bool:
    """Whether a path is on the engine's host: one that is not there is refused as a mount."""
    try:
        with helper(site.engine, site.state, HostMount(path)):
            return True
    except EngineUnreachable:
        raise
    except EngineError as error:
        if "does not exist" in str(error):
            return False
        raise


def _tried(site: Site, planned: Plan) -> tuple[list[str], str]:
    """What the engine passes over when it makes such a container of an empty image; and why it
    refuses to make one at all, "" where it does not."""
    body = trial_of(planned.body)
    try:
        with trial(site.engine, site.state, body) as made:
            found = site.engine.inspect_state(made)
    except EngineUnreachable:
        raise
    except EngineError as error:
        return [], str(error)
    return [
        f"option {name}: this engine does not know it, or cannot do it"
        for name in passed_over(body, found)
    ], ""


def _in_order(parts: Sequence[Part]) -> Iterator[Part]:
    """What others depend on first."""
    summaries = [summary_of(part.ran) for part in parts]
    by_id = {part.ran.container["Id"]: part for part in parts}
    by_name = {part.ran.name: part for part in parts}
    needs = dependencies(summaries)
    members = []
    for part in parts:
        lenders = [by_id.get(one) or by_name.get(one) for one in lenders_of(part.ran.container)]
        needed = [by_id[one] for one in needs[part.ran.container["Id"]]] + [p for p in lenders if p]
        members.append(
            Stopping(
                part.ran.name, needs=frozenset(one.ran.name for one in needed) - {part.ran.name}
            )
        )
    for group in groups(members):
        yield from (by_name[name] for name in reversed(group))
