"""Plan a prune: which backups of each group stay and go, and what speaks against it.

Planning reads two listings and, for sources that a label may have selected, one manifest each; it
changes nothing. `backupd.verbs.remove` carries a plan out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from backupd.catalog import Catalog, StoredArchive
from backupd.errors import BackupdError
from backupd.grouping import group_key
from backupd.layout import BackupKey, Kind
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
)
from backupd.prune_guard import Objection, review
from backupd.retention import Rules, Verdict, decide

DAMAGED, PINNED = "damaged", "pinned"
Source = tuple[Kind, str]


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
        if self.left_alone or (self.objection and not (yes and self.objection.overridable)):
            return []
        return [verdict.backup.key for verdict in self.verdicts if not verdict.keep]


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
    failed: Collection[Source] = ()
    """Sources whose backup just failed: nothing of theirs goes."""


def plan(
    backups: Iterable[BackupKey], archives: Mapping[str, StoredArchive], terms: Terms
) -> list[GroupPlan]:
    """A plan for each group among the backups of one job."""
    groups: dict[tuple[str, ...], list[BackupKey]] = defaultdict(list)
    for backup in backups:
        groups[group_key(backup, terms.rules.group)].append(backup)
    return [_plan_group(key[3], members, archives, terms) for key, members in groups.items()]


def _plan_group(
    name: str,
    members: Sequence[BackupKey],
    archives: Mapping[str, StoredArchive],
    terms: Terms,
) -> GroupPlan:
    job, kind = members[0].job, members[0].kind
    considered = [
        Considered(b, good=DAMAGED not in b.states and b.archive_id in archives) for b in members
    ]
    verdicts = decide(
        considered, terms.rules, terms.zone, gone_since=_gone(members, terms), now=terms.now
    )
    found = GroupPlan(job, kind, name, verdicts)
    sources = {(b.kind, b.name): b for b in members}
    if any(source in terms.failed for source in sources):
        reason = "its backup has just failed"
    elif not any(terms.is_covered(backup) for backup in sources.values()):
        reason = "the policy no longer names it; `backupd prune --job JOB --retention RULES` prunes"
    else:
        objection = review(
            verdicts,
            now=terms.now,
            prune_limit_percent=terms.prune_limit_percent,
            source=found.label,
        )
        return GroupPlan(job, kind, name, verdicts, objection)
    return GroupPlan(job, kind, name, verdicts, left_alone=reason)


def _gone(members: Sequence[BackupKey], terms: Terms) -> datetime | None:
    """Since when all sources of a group are missing; None while any is there."""
    moments = [terms.gone_since(source) for source in {(b.kind, b.name) for b in members}]
    known = [moment for moment in moments if moment is not None]
    return max(known) if known and len(known) == len(moments) else None


def covering(job: Job, catalog: Catalog) -> Callable[[BackupKey], bool]:
    """Whether a job of the policy still answers for a source, present or vanished.

    A literal answers for its own name, a pattern for all that it fits. A label cannot be read off
    a vanished source, so the newest manifest is asked what selected it.
    """

    def is_covered(backup: BackupKey) -> bool:
        named = _named(job, backup.kind, backup.name)
        if named or not _by_label(job, backup.kind):
            return named
        try:
            return catalog.manifest(backup).selected_by in ("label", "in_use")
        except BackupdError:
            return False

    return is_covered


def _named(job: Job, kind: Kind, name: str) -> bool:
    match kind:
        case Kind.IMAGE:
            return any(_names_image(selector, name, job) for selector in job.images)
        case Kind.BUNDLE:
            return any(isinstance(s, ImageBundle) and s.bundle == name for s in job.images)
        case Kind.CONTAINER:
            return any(_names_container(selector, name, job) for selector in job.containers)
        case Kind.VOLUME:
            return False


def _names_image(selector: object, name: str, job: Job) -> bool:
    match selector:
        case ImageLiteral(reference=reference, platform=platform):
            return name == (f"{reference}@{platform}" if platform else reference)
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


def _by_label(job: Job, kind: Kind) -> bool:
    if kind is Kind.IMAGE:
        return any(isinstance(selector, ImageLabel | ImageInUse) for selector in job.images)
    return any(isinstance(selector, ContainerLabel) for selector in job.containers)
