"""Plan a prune: which backups of each group stay and go, and what speaks against it.

Planning reads two listings and, for sources whose name does not tell whether the job still answers
for them, one manifest each; it changes nothing. `backupd.verbs.remove` carries a plan out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from backupd.catalog import Catalog
from backupd.errors import DamagedBackup, NotFound
from backupd.grouping import group_key
from backupd.layout import DAMAGED, PINNED, BackupKey, Kind, is_hashed, name_of, segment
from backupd.object_lock import locked_until
from backupd.policy import (
    ContainerGlob,
    ContainerLabel,
    ContainerLiteral,
    ImageBundle,
    ImageGlob,
    ImageInUse,
    ImageLabel,
    ImageLiteral,
    Job,
    VolumeGlob,
    VolumeLabel,
    VolumeLiteral,
)
from backupd.proof import shelter, suspects
from backupd.prune_guard import Objection, review
from backupd.retention import Rules, Verdict, decide, is_gone

Source = tuple[Kind, str]
"""A source by the name that a listing shows: see `as_listed`."""


UNNAMED = "the policy no longer names it; `backupd prune --job JOB --retention RULES` prunes it"


@dataclass(frozen=True, slots=True)
class Considered:
    """A backup as retention looks at it."""

    key: BackupKey
    good: bool
    """Neither failed a check nor lacks its archive."""
    held: str | None = None

    @property
    def id(self) -> str:
        """The backup's id."""
        return self.key.id

    @property
    def taken_at(self) -> datetime:
        """When it was taken."""
        return self.key.taken_at

    @property
    def pinned(self) -> bool:
        """Whether a person pinned it."""
        return PINNED in self.key.states


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """What is to become of one group of backups."""

    job: str
    kind: Kind
    name: str
    verdicts: Sequence[Verdict[Considered]]
    objection: Objection | None = None
    left_alone: str | None = None
    """Why nobody decides about this group by itself; then nothing of it goes."""

    @property
    def label(self) -> str:
        """The group as a person calls it."""
        return f"{self.kind} {self.name} of job {self.job}"

    def going(self, *, yes: bool = False) -> list[BackupKey]:
        """The backups to remove; none when something speaks against it."""
        if self.is_blocked(yes=yes):
            return []
        return [verdict.backup.key for verdict in self.verdicts if not verdict.keep]

    def is_blocked(self, *, yes: bool = False) -> bool:
        """Whether something speaks against it, so that all stay whatever their verdicts."""
        objection = self.objection
        return bool(self.left_alone or (objection and not (yes and objection.overridable)))


@dataclass(frozen=True, slots=True)
class Terms:
    """By what a job's backups are judged."""

    rules: Rules
    zone: ZoneInfo
    now: datetime
    prune_limit_percent: int
    is_covered: Callable[[BackupKey], bool] = lambda _: True
    """Whether the job still answers for the source of this backup."""
    gone_since: Callable[[Source], datetime | None] = lambda _: None
    """Since when the source is missing on the engine; None while it is there or nobody knows."""
    locked_for: timedelta = timedelta()
    """How long the store keeps what is written from being removed."""
    failed: Collection[Source] = ()
    """Sources whose backup just failed: nothing of theirs goes."""


def as_listed(kind: Kind, name: str) -> Source:
    """A source as keys tell it: a long name is cut and hashed there."""
    return kind, name_of(segment(name))


def plan(backups: Iterable[BackupKey], sound: Collection[str], terms: Terms) -> list[GroupPlan]:
    """A plan for each group among the backups of one job, which come oldest first.

    `sound` has the ids of the archives that are there and failed no check.
    """
    sources: dict[Source, list[BackupKey]] = defaultdict(list)
    for backup in backups:
        sources[backup.kind, backup.name].append(backup)
    plans = []
    groups: dict[tuple[str, ...], list[BackupKey]] = defaultdict(list)
    for (kind, name), members in sources.items():
        if terms.is_covered(members[-1]):
            groups[group_key(members[-1], terms.rules.group)] += members
        else:
            verdicts = _verdicts(members, sound, terms)
            plans.append(GroupPlan(members[0].job, kind, name, verdicts, left_alone=UNNAMED))
    return [*(_plan_group(key[3], all_, sound, terms) for key, all_ in groups.items()), *plans]


def _plan_group(
    name: str, members: Sequence[BackupKey], sound: Collection[str], terms: Terms
) -> GroupPlan:
    found = GroupPlan(members[0].job, members[0].kind, name, _verdicts(members, sound, terms))
    if any((backup.kind, backup.name) in terms.failed for backup in members):
        return replace(found, left_alone="its backup has just failed")
    objection = review(
        found.verdicts,
        now=terms.now,
        prune_limit_percent=terms.prune_limit_percent,
        source=found.label,
        suspects=suspects(_lasting(members, terms)),
    )
    return replace(found, objection=objection)


def _verdicts(
    members: Sequence[BackupKey], sound: Collection[str], terms: Terms
) -> list[Verdict[Considered]]:
    gone_since = _gone(members, terms)
    # What its source left behind once it is gone grows old like its minimum.
    has_gone = is_gone(terms.rules, terms.zone, gone_since, terms.now)
    good = [backup for backup in members if backup.archive_id in sound]
    # Where another backup spoils the archive, the proven one stays beside the newest that is sound.
    own = [backup for backup in members if DAMAGED not in backup.states]
    sheltered = {} if has_gone else {**shelter(own), **shelter(good)}
    considered = [
        Considered(backup, good=backup.archive_id in sound, held=sheltered.get(backup.key))
        for backup in members
    ]
    verdicts = decide(considered, terms.rules, terms.zone, gone_since=gone_since, now=terms.now)
    return [_waiting(verdict, terms) for verdict in verdicts]


def _waiting(verdict: Verdict[Considered], terms: Terms) -> Verdict[Considered]:
    """The verdict; of a backup that may go, and is still locked, that it waits for that."""
    until = locked_until(verdict.backup.taken_at, terms.locked_for, terms.now)
    if verdict.keep or until is None:
        return verdict
    reason = f"locked until {until.astimezone(terms.zone):%Y-%m-%d %H:%M}"
    reasons, rules = (*verdict.reasons, reason), (*verdict.rules, "locked")
    return replace(verdict, keep=True, reasons=reasons, rules=rules)


def _lasting(members: Sequence[BackupKey], terms: Terms) -> list[BackupKey]:
    """Without the sources that are gone for good, of which no usual backup will ever come."""

    def has_gone(source: Source) -> bool:
        return is_gone(terms.rules, terms.zone, terms.gone_since(source), terms.now)

    return [backup for backup in members if not has_gone((backup.kind, backup.name))]


def _gone(members: Sequence[BackupKey], terms: Terms) -> datetime | None:
    """Since when all sources of a group are missing; None while any is there."""
    moments = [terms.gone_since(source) for source in {(b.kind, b.name) for b in members}]
    known = [moment for moment in moments if moment is not None]
    return max(known) if known and len(known) == len(moments) else None


def covering(job: Job, catalog: Catalog) -> Callable[[BackupKey], bool]:
    """Whether a job of the policy still answers for a source, present or vanished.

    A literal answers for its own name, a pattern for all that it fits. A label cannot be read off
    a vanished source, nor a name off a key that holds only its hash, so then the newest manifest is
    asked. Raises StoreError when it cannot be.
    """

    def is_covered(backup: BackupKey) -> bool:
        hashed = is_hashed(backup.folder.split("/")[4])
        if not hashed and _names(job, backup.kind, backup.name):
            return True
        if not hashed and not _by_label(job, backup.kind, backup.name):
            return False
        try:
            manifest = catalog.manifest(backup)
        except (NotFound, DamagedBackup):
            return False
        if hashed and _names(job, backup.kind, manifest.name):
            return True
        by_label = _by_label(job, backup.kind, manifest.name)
        return by_label and manifest.selected_by in ("label", "in_use", "mount")

    return is_covered


def literals(job: Job) -> set[Source]:
    """The sources that a job names one by one, on the engine or not."""
    found: set[Source] = set()
    for image in job.images:
        if isinstance(image, ImageLiteral):
            found.add(as_listed(Kind.IMAGE, _name_of(image)))
        elif isinstance(image, ImageBundle):
            found.add(as_listed(Kind.BUNDLE, image.bundle))
    for container in job.containers:
        if isinstance(container, ContainerLiteral):
            found.add(as_listed(Kind.CONTAINER, container.name))
            found |= {as_listed(Kind.VOLUME, path) for path in container.bind_mounts}
    for volume in job.volumes:
        if isinstance(volume, VolumeLiteral):
            found.add(as_listed(Kind.VOLUME, volume.name))
    return found


def _name_of(image: ImageLiteral) -> str:
    return f"{image.reference}@{image.platform}" if image.platform else image.reference


def _names(job: Job, kind: Kind, name: str) -> bool:
    match kind:
        case Kind.IMAGE:
            return any(_names_image(selector, name, job) for selector in job.images)
        case Kind.BUNDLE:
            return any(isinstance(s, ImageBundle) and s.bundle == name for s in job.images)
        case Kind.CONTAINER:
            return any(_names_container(selector, name, job) for selector in job.containers)
        case Kind.VOLUME:
            mounted = any(name in selector.bind_mounts for selector in job.containers)
            return mounted or any(_names_volume(selector, name, job) for selector in job.volumes)


def _names_image(selector: object, name: str, job: Job) -> bool:
    match selector:
        case ImageLiteral():
            return name == _name_of(selector)
        case ImageGlob(platform=platform):
            reference = name.removesuffix(f"@{platform}") if platform else name
            return selector.matches(reference) and not job.excludes_image(reference)
    return False


def _names_container(selector: object, name: str, job: Job) -> bool:
    match selector:
        case ContainerLiteral(name=literal):
            return name == literal
        case ContainerGlob():
            return selector.matches(name) and not job.excludes_container(name)
    return False


def _names_volume(selector: object, name: str, job: Job) -> bool:
    match selector:
        case VolumeLiteral(name=literal):
            return name == literal
        case VolumeGlob():
            return selector.matches(name) and not job.excludes_volume(name)
    return False


def _by_label(job: Job, kind: Kind, name: str) -> bool:
    """Whether a label (or use, or a mount) may have selected this source, and might again."""
    match kind:
        case Kind.IMAGE:
            by_label = any(isinstance(one, ImageLabel | ImageInUse) for one in job.images)
            return by_label and not job.excludes_image(name)
        case Kind.CONTAINER:
            by_label = any(isinstance(one, ContainerLabel) for one in job.containers)
            return by_label and not job.excludes_container(name)
        case Kind.VOLUME:
            by_label = any(isinstance(one, VolumeLabel) for one in job.volumes)
            by_mount = any(one.with_volumes for one in job.containers)
            return (by_label or by_mount) and not job.excludes_volume(name)
    return False
