"""Drill: restore the newest backup of each source under another name, and see whether it works.

What passes gets the state `drilled`, what turns out to be damaged `damaged`; what cannot be tried
out gets neither. Whatever happens, nothing that a drill made stays on the engine, unless a person
asked for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import assert_never

from backupd.catalog import Catalog
from backupd.errors import (
    BackupdError,
    Cancelled,
    DamagedBackup,
    EngineUnreachable,
    NoKey,
    NotRestorable,
    StoreError,
)
from backupd.layout import DAMAGED, DRILLED, BackupKey, Kind, segment
from backupd.leftovers import sweep
from backupd.manifest import Manifest
from backupd.policy import Drill, DrillSource
from backupd.site import Site
from backupd.verbs.drill_container import BadVolume, drill_container
from backupd.verbs.drill_image import drill_image
from backupd.verbs.drill_scratch import Scratch, scratch
from backupd.verbs.drill_volume import drill_volume
from backupd.verbs.proofs import remember
from backupd.verbs.recreate_from import Stored
from backupd.verbs.sealing import require_key
from backupd.verbs.transfer import Progress
from backupd.verbs.verify import is_ours

_TURNS = (Kind.CONTAINER, Kind.VOLUME, Kind.BUNDLE, Kind.IMAGE)
"""Containers first: their drill is one of their volumes too."""


class Verdict(Enum):
    """What a drill came to."""

    PROVEN = "proven"
    FAILED = "failed"
    DAMAGED = "damaged"
    REFUSED = "cannot be drilled"
    """It needs what no drill may have; nothing is known of the backup."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one source."""

    backup: BackupKey
    verdict: Verdict
    words: str
    """How it was proven, or why it was not."""
    kept: tuple[str, ...] = ()
    """What is still on the engine, in words."""

    @property
    def sentence(self) -> str:
        """The result for a person."""
        backup = self.backup
        what = f"{backup.kind} {backup.name}"
        match self.verdict:
            case Verdict.PROVEN:
                return f"{what}, backup {backup.id}: {self.words}"
            case Verdict.FAILED:
                return f"{what}, backup {backup.id}: the drill failed: {self.words}"
            case Verdict.DAMAGED:
                return f"{what}: {self.words}"
            case Verdict.REFUSED:
                return f"{what} cannot be drilled: {self.words}"
            case _:
                assert_never(self.verdict)


@dataclass(frozen=True, slots=True)
class Audience:
    """Who is told how it goes."""

    begin: Callable[[BackupKey], Progress]
    end: Callable[[Result], None]
    note: Callable[[str], None]
    """Something a person should know."""


def newest_of_each(backups: Iterable[BackupKey]) -> list[BackupKey]:
    """The newest backup of each source, in the order in which they are drilled."""
    found: dict[str, BackupKey] = {}
    for backup in backups:
        known = found.get(backup.folder)
        if known is None or backup.taken_at > known.taken_at:
            found[backup.folder] = backup
    return sorted(found.values(), key=lambda one: (_TURNS.index(one.kind), one.folder))


def meant(wishes: Drill, backups: Sequence[BackupKey]) -> tuple[list[BackupKey], list[str]]:
    """Those of the backups that the policy wants to be drilled, and its entries that mean none."""
    if not wishes.sources:
        return list(backups), []
    found: dict[str, list[BackupKey]] = {
        source.name: [backup for backup in backups if _is_meant(source, backup)]
        for source in wishes.sources
    }
    keys = {backup.key for some in found.values() for backup in some}
    chosen = [backup for backup in backups if backup.key in keys]
    return chosen, [name for name, some in found.items() if not some]


def _is_meant(source: DrillSource, backup: BackupKey) -> bool:
    # A long name stands in a key as a hash alone.
    return source.matches(backup.name) or segment(source.name) == backup.folder.split("/")[4]


def drill(
    site: Site, backups: Sequence[BackupKey], wishes: Drill, audience: Audience, *, keep: bool
) -> list[Result]:
    """A result for each of the backups, which are of this host.

    Raises EngineUnreachable, StoreError when nothing in the store can be read any more, UsageError
    without a usable state directory, Cancelled.
    """
    sweep(site.state, site.engine, audience.note)
    every = site.catalog.backups()
    round_ = _Round(site, every, wishes, audience, keep=keep)
    results: list[Result] = []
    for backup in backups:
        site.cancel.raise_if_set()
        results.append(round_.result_of(backup))
        audience.end(results[-1])
    if any(result.verdict is not Verdict.REFUSED for result in results):
        remember(site.state, site.catalog.backups())
    return results


class _Round:
    """Drills one backup after the other, and keeps what came of it."""

    def __init__(
        self,
        site: Site,
        every: Sequence[BackupKey],
        wishes: Drill,
        audience: Audience,
        *,
        keep: bool,
    ) -> None:
        self._site = site
        self._catalog = site.catalog
        self._every = every
        self._wishes = wishes
        self._audience = audience
        self._keep = keep
        self._marks = _Marks(self._catalog, audience.note) if is_ours(site, self._catalog) else None
        self._proven: dict[object, str] = {}
        """What came back in this round already → how."""

    def result_of(self, backup: BackupKey) -> Result:
        """Drill it. Raises what ends the whole round."""
        progress = self._audience.begin(backup)
        if DAMAGED in backup.states:
            return Result(backup, Verdict.DAMAGED, _known(backup))
        things: list[str] = []
        try:
            manifest = self._catalog.manifest(backup)
            words = self._proven.get(_content(manifest))
            if words is None:
                with scratch(self._site, self._audience.note, keep=self._keep) as made:
                    try:
                        words = self._tried(manifest, made, progress)
                    finally:
                        things += made.made if self._keep else []
                self._proven[_content(manifest)] = words
        except NotRestorable as error:
            return Result(backup, Verdict.REFUSED, str(error))
        except NoKey as error:
            # Without any key nobody can expect more; with one, somebody expects that it fits.
            verdict = Verdict.FAILED if self._site.identities else Verdict.REFUSED
            return Result(backup, verdict, str(error), tuple(things))
        except DamagedBackup as error:
            bad = error.backup if isinstance(error, BadVolume) else backup
            if bad is not None:
                self._mark(bad, DAMAGED)
            return Result(backup, Verdict.DAMAGED, str(error), tuple(things))
        except (Cancelled, EngineUnreachable):
            raise
        except StoreError as error:
            # One object may be out of reach; where none can be read, there is no going on.
            self._catalog.facts()
            return Result(backup, Verdict.FAILED, str(error), tuple(things))
        except BackupdError as error:
            return Result(backup, Verdict.FAILED, str(error), tuple(things))
        self._mark(backup, DRILLED)
        return Result(backup, Verdict.PROVEN, words, tuple(things))

    def _tried(self, manifest: Manifest, made: Scratch, progress: Progress) -> str:
        """Drill what it is; how it was proven."""
        site, catalog = self._site, self._catalog
        require_key(catalog, manifest, site.identities)
        match manifest.kind:
            case Kind.IMAGE | Kind.BUNDLE:
                return drill_image(site, catalog, manifest, made, progress)
            case Kind.VOLUME:
                return drill_volume(site, catalog, manifest, made.volume(1), made, progress)
            case Kind.CONTAINER:
                trial = self._wishes.trial_of(manifest.name)
                stored = Stored(catalog, manifest)
                up = drill_container(site, stored, self._every, trial, made, progress)
                for volume in up.volumes:
                    self._proven[_content(volume)] = f"restored for container {manifest.name}"
                    self._mark(volume.key, DRILLED)
                return f"proven to start at {site.now():%F %T} UTC: {up.how}"
            case _:
                assert_never(manifest.kind)

    def _mark(self, backup: BackupKey, state: str) -> None:
        if self._marks is not None:
            self._marks.write(backup, state)


class _Marks:
    """Writes beside the manifests what was found."""

    def __init__(self, catalog: Catalog, note: Callable[[str], None]) -> None:
        self._store = catalog.store
        self._note = note
        self._is_tired = False

    def write(self, backup: BackupKey, state: str) -> None:
        """Put the backup into the state; that it cannot be kept is told once, and no more."""
        if self._is_tired:
            return
        try:
            self._store.put_bytes(backup.state_key(state), b"")
        except StoreError as error:
            self._is_tired = True
            self._note(f"warning: what is found cannot be kept beside the backups: {error}")


def _content(manifest: Manifest) -> object:
    """What a drill proves: the same archive, with the same images expected in it."""
    expected = tuple((one.id, one.diff_ids, one.saved_as) for one in manifest.images)
    return manifest.archive, manifest.kind, expected


def _known(backup: BackupKey) -> str:
    since = backup.marked_at[DAMAGED]
    return (
        f"backup {backup.id} is damaged: it failed a check at {since:%F %T} UTC; `backupd verify "
        f"{backup.id} --data` reads it again"
    )
