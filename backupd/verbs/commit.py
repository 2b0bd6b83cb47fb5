"""From an archive to a backup: its record, then its manifest, the last act of every backup.

An unchanged image needs no archive of its own: its manifest names one that is there already.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from backupd import __version__
from backupd.anomaly import shrinkage
from backupd.errors import BackupdError, StoreError, UsageError
from backupd.layout import DAMAGED, SUSPECT, BackupKey, backup_key, record_key
from backupd.manifest import Archive, EngineFacts, Manifest, Record
from backupd.named_lately import note
from backupd.site import Site
from backupd.sources import Survey
from backupd.verbs.sealing import record_suffix, sealed
from backupd.verbs.task import Task


@dataclass(frozen=True, slots=True)
class Draft:
    """What is known of a manifest before its archive."""

    site: Site
    task: Task
    taken_at: datetime
    moment: str = ""
    """What it has in common with whatever is read while the same containers stand still."""
    warnings: list[str] = field(default_factory=list)
    """What did not stop the backup, found while the source was read."""
    earlier_bytes: Sequence[int] = ()
    """Sizes of the source's earlier backups, newest first."""

    def oddity(self, size_bytes: int) -> str:
        """What is odd about the size of its tar, as a sentence; empty if nothing is."""
        return shrinkage(size_bytes, self.earlier_bytes, self.task.anomaly_percent)

    def commit(self, manifest: Manifest) -> BackupKey:
        """Make the backup exist; an oddly small one is marked as such."""
        odd = self.oddity(manifest.archive.size_bytes)
        return self.site.catalog.commit(manifest, states=[SUSPECT] if odd else [])

    def manifest(
        self, survey: Survey, archive: Archive, *, record: Record | None = None
    ) -> Manifest:
        """The whole manifest."""
        site, source = self.site, self.task.source
        version = site.engine.version()
        odd = self.oddity(archive.size_bytes)
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
            volume=survey.volume,
            moment=self.moment,
            engine=EngineFacts(
                id=version.id,
                version=version.version,
                api_version=version.api_version,
                storage_driver=version.storage_driver,
            ),
            selected_by=self.task.selected_by,
            warnings=(*survey.warnings, *self.warnings, *([odd] if odd else [])),
            made_by=f"backupd {__version__}",
        )


def reuse(
    site: Site, draft: Draft, survey: Survey, candidates: Sequence[BackupKey]
) -> Manifest | None:
    """A committed manifest that names an archive already there; None when none will do.

    What it names is first locked as long as the manifest; where that is refused none will do.
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
        if earlier.archive.recipients != draft.task.recipients:
            continue
        images = survey.images
        if len(images) == 1:
            # The tar may be another tag's: restore must know which names stand in it.
            saved_as = earlier.images[0].saved_as
            images = (images[0].model_copy(update={"saved_as": saved_as}),)
        manifest = draft.manifest(replace(survey, images=images), earlier.archive)
        manifest = manifest.model_copy(update={"reused": True})
        with site.state.lock_archives(site.store.url, site.host, "back up", site.cancel):
            if not site.catalog.archive_is_whole(manifest):
                continue
            try:
                # A listing may not show it yet to whoever removes the archive's other backups.
                note(site.state, site.host, [manifest.key.key], site.now())
            except UsageError as error:
                draft.warnings.append(f"uploaded anew although it is unchanged: {error}")
                return None
            # Before the manifest: a backup whose archive may go before it must never be listed.
            if refusal := site.catalog.extend_locks(manifest):
                draft.warnings.append(
                    f"uploaded anew although it is unchanged: the lock of {refusal.key} could not "
                    f"be extended: {refusal.cause}"
                )
                return None
            backup = draft.commit(manifest)
            if site.catalog.archive_is_whole(manifest):
                return manifest
            _take_back(site, draft, backup)
    return None


def _take_back(site: Site, draft: Draft, backup: BackupKey) -> None:
    """Let a manifest without archive go; where it may not be deleted, say beside it what it is."""
    try:
        site.catalog.withdraw(backup)
    except StoreError as error:
        site.store.put_bytes(backup.state_key(DAMAGED), b"")
        draft.warnings.append(f"{error}; it has no archive and is marked as damaged")


def _content(manifest: Manifest) -> str | None:
    return Survey(0, images=manifest.images, container=manifest.container).content


def store_record(site: Site, task: Task, survey: Survey, archive: Archive) -> Record | None:
    """Put the record of inspect beside the archive, before any manifest can name it."""
    if survey.record is None:
        return None
    source, recipients = task.source, task.recipients
    key = record_key(site.host, source.kind, source.name, archive.id, record_suffix(recipients))
    stored, encryption = sealed(survey.record, recipients)
    site.store.put_bytes(key, stored)
    return Record(
        key=key,
        size_bytes=len(stored),
        sha256=hashlib.sha256(stored).hexdigest(),
        encryption=encryption,
    )
