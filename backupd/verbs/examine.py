"""Examine one backup: is everything there that its manifest promises, and does it come back?

Reads and judges only; what follows from a finding is `backupd.verbs.verify`'s business. An error
of the store is never taken for damage, and a backup that was removed meanwhile never for a loss.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from backupd.catalog import Catalog
from backupd.errors import (
    ArchiveBroken,
    DamagedBackup,
    EngineStalled,
    NoKey,
    NotFound,
    StoreError,
)
from backupd.image_tar import ExpectedImage, ImageCheck
from backupd.layout import DAMAGED, BackupKey
from backupd.manifest import Manifest
from backupd.proof import Depth
from backupd.site import Site
from backupd.stream import Check
from backupd.tar import TarWalk
from backupd.verbs.sealing import missing, opened_record, require_key
from backupd.verbs.transfer import Progress, received, stored_archive

FEW = 20
"""So many archives are asked for one by one; for more, listing them all costs fewer requests."""


class Verdict(Enum):
    """What an examination came to."""

    PROVEN = "proven"
    SEALED = "sealed"
    """Every stored byte is right; what is inside nobody could look at, for want of its key."""
    DAMAGED = "damaged"
    UNREAD = "unread"
    """The store failed, so nothing is known."""
    GONE = "gone"
    """It was removed meanwhile."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one backup."""

    backup: BackupKey
    verdict: Verdict
    cause: str = ""
    """A sentence, for what is sealed, damaged or unread."""
    read_bytes: int = 0
    """Plain bytes that were read of its archive, here or for an earlier backup of the same one; of
    a sealed one its stored bytes."""


class Examiner:
    """Examines backups of one host; an archive that several of them name is read once."""

    def __init__(
        self, site: Site, catalog: Catalog, depth: Depth, progress: Progress, *, count: int
    ) -> None:
        """`count` is how many backups there are to be examined."""
        self._site = site
        self._catalog = catalog
        self._depth = depth
        self._progress = progress
        self._listed = _listed_sizes(catalog) if count > FEW else {}
        self._read: dict[object, str] = {}
        """What was read, with everything it was held against → its damage, empty for none."""

    def examine(self, backup: BackupKey) -> Finding:
        """What is found of the backup. Raises Cancelled."""
        try:
            manifest = self._catalog.manifest(backup)
            record = self._require_objects(manifest)
            if self._depth is Depth.DATA:
                return self._read_data(backup, manifest, record)
            if DAMAGED in backup.states:
                return Finding(backup, Verdict.DAMAGED, _known(backup))
        except NotFound:
            return Finding(backup, Verdict.GONE)
        except DamagedBackup as error:
            return self._damaged(backup, str(error))
        except StoreError as error:
            return Finding(backup, Verdict.UNREAD, f"cannot verify backup {backup.id}: {error}")
        return Finding(backup, Verdict.PROVEN)

    def _read_data(self, backup: BackupKey, manifest: Manifest, record: bytes | None) -> Finding:
        """Read all of it, as far as there is a key. Raises DamagedBackup, StoreError, NotFound."""
        try:
            opened_record(manifest, record, self._site.identities)
            require_key(self._catalog, manifest, self._site.identities)
        except NoKey as error:
            self._require_once((manifest.archive, "stored"), manifest, self._read_stored)
            if DAMAGED in backup.states:
                cause = f"{_known(backup)}; its stored bytes are right now, but {error}"
                return Finding(backup, Verdict.DAMAGED, cause)
            read_bytes = manifest.archive.stored_bytes
            return Finding(backup, Verdict.SEALED, str(error), read_bytes=read_bytes)
        what = (manifest.archive, manifest.kind, _expected(manifest))
        self._require_once(what, manifest, self._read_through)
        return Finding(backup, Verdict.PROVEN, read_bytes=manifest.archive.size_bytes)

    def _damaged(self, backup: BackupKey, cause: str) -> Finding:
        try:
            # A prune removes manifests first: without one, a missing archive is no damage.
            is_there = self._catalog.store.size(backup.key) is not None
        except StoreError as error:
            return Finding(backup, Verdict.UNREAD, f"cannot verify backup {backup.id}: {error}")
        return (
            Finding(backup, Verdict.DAMAGED, cause) if is_there else Finding(backup, Verdict.GONE)
        )

    def _require_objects(self, manifest: Manifest) -> bytes | None:
        """The record as it is stored. Raises DamagedBackup unless that and the archive are there as
        the manifest has them."""
        archive, store = manifest.archive, self._catalog.store
        stored_bytes = self._listed.get(archive.key)
        if stored_bytes != archive.stored_bytes:
            # The listing may be older than the backup; and where there are few, there is none.
            stored_bytes = store.size(archive.key)
        if stored_bytes is None:
            raise missing(self._catalog, manifest)
        if stored_bytes != archive.stored_bytes:
            raise DamagedBackup(
                f"backup {manifest.id} is damaged: its archive {archive.key} has {stored_bytes} "
                f"bytes, and {archive.stored_bytes} were stored"
            )
        return self._catalog.record(manifest)

    def _require_once(
        self, what: object, manifest: Manifest, read: Callable[[Manifest], None]
    ) -> None:
        """Raise DamagedBackup unless the archive is the very one that was stored, to its last byte.

        Read once for all backups that name it and expect the same in it, as `what` tells.
        """
        if what not in self._read:
            try:
                read(manifest)
            except DamagedBackup as error:
                self._read[what] = str(error).partition(" is damaged: ")[2] or str(error)
                raise
            self._read[what] = ""
        elif damage := self._read[what]:
            raise DamagedBackup(f"backup {manifest.id} is damaged: {damage}")

    def _read_through(self, manifest: Manifest) -> None:
        stored, check = hashlib.sha256(), _check(manifest)
        with received(
            self._site, self._catalog, manifest, self._progress, on_stored=stored.update
        ) as plain:
            try:
                for chunk in plain:
                    check.feed(chunk)
                check.finish()
            except ArchiveBroken as error:
                raise DamagedBackup(f"backup {manifest.id} is damaged: {error}") from error
        _require_stored(stored.hexdigest(), manifest)

    def _read_stored(self, manifest: Manifest) -> None:
        """The same of the stored bytes alone, of which nobody has the key."""
        digest, read_bytes = hashlib.sha256(), 0
        try:
            with stored_archive(self._site, self._catalog, manifest) as chunks:
                for chunk in chunks:
                    digest.update(chunk)
                    read_bytes += len(chunk)
                    self._progress(read_bytes)
        except EngineStalled as error:
            raise StoreError(str(error)) from error
        if read_bytes < manifest.archive.stored_bytes:
            raise DamagedBackup(
                f"backup {manifest.id} is damaged: it ends after {read_bytes} of its "
                f"{manifest.archive.stored_bytes} stored bytes"
            )
        _require_stored(digest.hexdigest(), manifest)


def _require_stored(sha256: str, manifest: Manifest) -> None:
    if sha256 != manifest.archive.stored_sha256:
        raise DamagedBackup(
            f"backup {manifest.id} is damaged: the SHA-256 of its stored bytes is not the one "
            "in its manifest"
        )


def _listed_sizes(catalog: Catalog) -> dict[str, int]:
    return {stored.key: stored.size_bytes for stored in catalog.stored()}


def _check(manifest: Manifest) -> Check:
    """The check that the tar passed when it was backed up."""
    expected = _expected(manifest)
    return ImageCheck(expected) if expected else TarWalk()


def _expected(manifest: Manifest) -> tuple[ExpectedImage, ...]:
    return tuple(
        ExpectedImage(image.id, image.diff_ids, image.saved_as) for image in manifest.images
    )


def _known(backup: BackupKey) -> str:
    since = backup.marked_at[DAMAGED]
    return (
        f"backup {backup.id} is damaged: it failed a check at {since:%F %T} UTC; `backupd verify "
        f"{backup.id} --data` reads it again, `backupd forget {backup.id}` removes it"
    )
