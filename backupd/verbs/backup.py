"""Back up: each source's archive first, then its check, then its manifest.

The manifest is written last, so a crash before that line leaves an orphan archive and never a
backup that cannot be restored. A source's failure is its own outcome; the others go on.
"""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from backupd import __version__, journal
from backupd.catalog import fingerprint, new_archive_id
from backupd.errors import ArchiveBroken, BackupdError, PartsExhausted, StoreError
from backupd.layout import BackupKey, Kind, backup_key, moment_of, record_key, source_folder, stamp
from backupd.manifest import Archive, EngineFacts, Manifest, Record
from backupd.policy import Compression
from backupd.site import Site
from backupd.sources import SelectedBy, Source, Survey
from backupd.verbs.transfer import Destination, Progress, send_archive

ROOM_TO_SPARE = 1.25
"""Inspect's sizes are no promise: sparse files and hard links make a tar larger than them."""

REGROWTH = 16
"""By how much a second attempt raises an estimate that was too low."""


@dataclass(frozen=True, slots=True)
class Task:
    """One source, as one job wants it backed up."""

    job: str
    source: Source
    compression: Compression
    selected_by: SelectedBy


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one task: a manifest, or the error that stopped it."""

    job: str
    kind: Kind
    name: str
    duration: timedelta
    manifest: Manifest | None = None
    error: BackupdError | None = None


class Report(Protocol):
    """Who is told how a run goes."""

    def begin(self, task: Task) -> Progress:
        """A source begins; what comes back is told its plain bytes."""

    def end(self, outcome: Outcome) -> None:
        """A source ended, well or not."""

    def note(self, text: str) -> None:
        """Something a person should know."""


class Past:
    """What the store holds, by one listing for a whole run; the run adds what it commits."""

    def __init__(self, backups: Iterable[BackupKey]) -> None:
        self._newest: dict[str, datetime] = {}
        self._by_mark: dict[str, list[BackupKey]] = defaultdict(list)
        self._spoiled: set[str] = set()
        for backup in backups:
            self.add(backup)

    def add(self, backup: BackupKey) -> None:
        """Count one more backup, newer than those before it."""
        self._newest[backup.folder] = backup.taken_at
        self._by_mark[backup.archive_id.partition("-")[0]].append(backup)
        if "damaged" in backup.states:
            self._spoiled.add(backup.archive_id)

    def newest_of(self, folder: str) -> datetime | None:
        """When the source of this folder was last backed up."""
        return self._newest.get(folder)

    def bearing(self, mark: str) -> list[BackupKey]:
        """One backup for each archive with this fingerprint that failed no check, newest first."""
        by_archive = {backup.archive_id: backup for backup in self._by_mark[mark]}
        return [b for b in reversed(by_archive.values()) if b.archive_id not in self._spoiled]


def run(site: Site, tasks: Sequence[Task], report: Report) -> list[Outcome]:
    """Back up every task in turn; an outcome for each.

    Raises EngineError or StoreError only before any work: when the engine or the store is not
    there at all, or when the host's prefix belongs to another machine.
    """
    journal.replay(site.state, site.engine, report.note)
    site.catalog.claim(site.state.machine_id(), site.now())
    past = Past(site.catalog.backups())
    return [_attempt(site, task, past, report) for task in tasks]


def _attempt(site: Site, task: Task, past: Past, report: Report) -> Outcome:
    """The job's boundary: whatever goes wrong with one source ends here, as its outcome."""
    source, begun = task.source, time.monotonic()
    outcome = Outcome(task.job, source.kind, source.name, timedelta())
    progress = report.begin(task)
    try:
        with site.state.lock_source(source.kind, source.name, "back up"):
            outcome = replace(outcome, manifest=_back_up(site, task, past, progress))
    except BackupdError as error:
        outcome = replace(outcome, error=error)
    except Exception as error:  # a fault of ours must not stop the other sources
        cause = BackupdError(f"cannot back up {source.name!r}: internal error: {error!r}")
        outcome = replace(outcome, error=cause)
    outcome = replace(outcome, duration=timedelta(seconds=time.monotonic() - begun))
    report.end(outcome)
    return outcome


def _back_up(site: Site, task: Task, past: Past, progress: Progress) -> Manifest:
    survey = task.source.survey(site.engine)
    taken_at = moment_of(stamp(site.now()))
    _refuse_backward_clock(site, task, taken_at, past)
    mark = fingerprint(survey.content, task.compression.method.value)
    draft = _Draft(site, task, taken_at)
    manifest = _reuse(site, draft, survey, past.bearing(mark)) or _store_anew(
        site, task, draft, mark, progress
    )
    past.add(manifest.key)
    return manifest


def _refuse_backward_clock(site: Site, task: Task, taken_at: datetime, past: Past) -> None:
    """Raise StoreError when the new backup would sort before an older one of its source."""
    folder = source_folder(site.host, task.job, task.source.kind, task.source.name)
    newest = past.newest_of(folder)
    if newest is not None and taken_at <= newest:
        raise StoreError(
            f"cannot back up {task.source.name!r}: this machine's clock says {taken_at:%F %T} UTC, "
            f"its newest backup was taken at {newest:%F %T} and the store's clock says "
            f"{site.store.now():%F %T}; set the clock right"
        )


@dataclass(frozen=True, slots=True)
class _Draft:
    """What is known of a manifest before its archive."""

    site: Site
    task: Task
    taken_at: datetime

    def manifest(
        self, survey: Survey, archive: Archive, *, record: Record | None = None
    ) -> Manifest:
        """The whole manifest."""
        site, source = self.site, self.task.source
        version = site.engine.version()
        key = backup_key(
            site.host,
            self.task.job,
            source.kind,
            source.name,
            taken_at=self.taken_at,
            archive_id=archive.id,
            size_bytes=archive.size_bytes,
        )
        return Manifest(
            id=key.id,
            host=site.host,
            job=self.task.job,
            kind=source.kind,
            name=source.name,
            taken_at=self.taken_at,
            archive=archive,
            record=record,
            images=survey.images,
            container=survey.container,
            engine=EngineFacts(
                id=version.id,
                version=version.version,
                api_version=version.api_version,
                storage_driver=version.storage_driver,
            ),
            selected_by=self.task.selected_by,
            warnings=survey.warnings,
            made_by=f"backupd {__version__}",
        )


def _reuse(
    site: Site, draft: _Draft, survey: Survey, candidates: Sequence[BackupKey]
) -> Manifest | None:
    """A committed manifest that names an archive already there; None when none will do.

    Looked at again after the manifest was written: an archive that a prune took away in between
    takes the manifest with it, and the caller uploads anew.
    """
    oldest = draft.taken_at - site.reuse_max_age
    for candidate in candidates[:3]:
        try:
            earlier = site.catalog.manifest(candidate)
        except BackupdError:
            continue
        if earlier.archive.made_at <= oldest or _content(earlier) != survey.content:
            continue
        images = survey.images
        if len(images) == 1:
            # The tar may be another tag's: restore must know which names stand in it.
            saved_as = earlier.images[0].saved_as
            images = (images[0].model_copy(update={"saved_as": saved_as}),)
        manifest = draft.manifest(replace(survey, images=images), earlier.archive)
        manifest = manifest.model_copy(update={"reused": True})
        with site.state.lock_archives(site.host, "back up"):
            if not site.catalog.archive_is_whole(manifest):
                continue
            backup = site.catalog.commit(manifest)
            if site.catalog.archive_is_whole(manifest):
                return manifest
            site.catalog.withdraw(backup)
    return None


def _content(manifest: Manifest) -> str | None:
    return Survey(0, images=manifest.images, container=manifest.container).content


def _store_anew(site: Site, task: Task, draft: _Draft, mark: str, progress: Progress) -> Manifest:
    """Archive, record, manifest; a broken archive or a wrong estimate gets one more attempt."""
    growth = ROOM_TO_SPARE
    try:
        return _store_once(site, task, draft, mark, growth, progress=progress)
    except ArchiveBroken:
        pass  # a file shrank or a tag moved while it was read: the next read is likely whole
    except PartsExhausted:
        growth *= REGROWTH
    return _store_once(site, task, draft, mark, growth, progress=progress)


def _store_once(
    site: Site, task: Task, draft: _Draft, mark: str, growth: float, *, progress: Progress
) -> Manifest:
    source, survey = task.source, task.source.survey(site.engine)
    if survey.content is not None:
        # The tag may have moved since the last look; the archive carries what it really holds.
        mark = fingerprint(survey.content, task.compression.method.value)
    destination = Destination(
        new_archive_id(mark), task.compression, int(survey.estimate_bytes * growth)
    )
    container = survey.container
    still = (
        journal.paused(site.state, site.engine, container.id, container.name)
        if container is not None and container.paused
        else nullcontext()
    )
    with still:
        archive = send_archive(site, source, survey, destination, progress=progress)
    record = _store_record(site, task, survey, archive)
    manifest = draft.manifest(survey, archive, record=record)
    site.catalog.commit(manifest)
    return manifest


def _store_record(site: Site, task: Task, survey: Survey, archive: Archive) -> Record | None:
    """Put the record of inspect beside the archive, before any manifest can name it."""
    if survey.record is None:
        return None
    key = record_key(site.host, task.source.kind, task.source.name, archive.id)
    site.store.put_bytes(key, survey.record)
    return Record(
        key=key,
        size_bytes=len(survey.record),
        sha256=hashlib.sha256(survey.record).hexdigest(),
    )
