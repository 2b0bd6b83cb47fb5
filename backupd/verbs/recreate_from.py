"""What a container is made again from: which backup of each volume, and which image.

Looks at the store and the engine; changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from backupd.catalog import CONTENT_DIGITS, Catalog, fingerprint, newest
from backupd.engine import Engine, layers_of
from backupd.errors import DamagedBackup
from backupd.layout import DAMAGED, BackupKey, Kind, segment
from backupd.manifest import Manifest
from backupd.policy import Method
from backupd.sources.container_image import Record
from backupd.verbs.restore_container import default_tag

_NO_FILES_BYTES = 5 * 512
"""A tar no longer than this may hold nothing but the volume's own directory: a header, an extended
one of two blocks, and the end."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A backup, and the part of the store that it is in."""

    catalog: Catalog
    manifest: Manifest

    @property
    def may_be_empty(self) -> bool:
        """Whether a volume's backup may hold no file."""
        return self.manifest.archive.size_bytes <= _NO_FILES_BYTES


@dataclass(frozen=True, slots=True)
class ImageSource:
    """The image that a container is made of."""

    reference: str
    how: str
    """For the person who reads the plan."""
    stored: Stored | None = None
    """Its backup, or the container's own with its export; None for an image that is there."""
    lack: str = ""
    """Why it is not the one that was asked for."""

    @property
    def is_export(self) -> bool:
        """Whether it is to be made of the container's export."""
        return self.stored is not None and self.stored.manifest.kind is Kind.CONTAINER


def volume_backup(container: Stored, backups: Sequence[BackupKey], volume: str) -> Stored | None:
    """The volume's backup of the container's moment, else the newest not after the container's.

    `backups` are all of the host's, oldest first. Damaged ones are passed over.
    """
    catalog, own = container.catalog, container.manifest
    fitting = [one for one in _of(backups, Kind.VOLUME, volume) if DAMAGED not in one.states]
    if own.moment:
        beside = [one for one in fitting if one.folder.split("/")[2] == segment(own.job)]
        after = next((one for one in beside if one.taken_at >= own.taken_at), None)
        before = newest([one for one in beside if one.taken_at < own.taken_at])
        for near in (after, before):
            found = near and _readable(catalog, near)
            if found and found.manifest.moment == own.moment:
                return found
    chosen = newest([one for one in fitting if one.taken_at <= own.taken_at])
    return None if chosen is None else Stored(catalog, catalog.manifest(chosen))


def damaged_since(
    backups: Sequence[BackupKey], volume: str, chosen: Stored | None
) -> BackupKey | None:
    """The newest backup of the volume that failed a check and is newer than the chosen one."""
    since = None if chosen is None else chosen.manifest.taken_at
    found = [
        one
        for one in _of(backups, Kind.VOLUME, volume)
        if DAMAGED in one.states and (since is None or one.taken_at > since)
    ]
    return newest(found)


def _readable(catalog: Catalog, backup: BackupKey) -> Stored | None:
    try:
        return Stored(catalog, catalog.manifest(backup))
    except DamagedBackup:
        return None


def _of(backups: Sequence[BackupKey], kind: Kind, name: str) -> list[BackupKey]:
    wanted = segment(name)
    return [one for one in backups if one.kind is kind and one.folder.split("/")[4] == wanted]


def exported_image(engine: Engine, container: Stored) -> ImageSource:
    """The image of the container's export, which holds the files that it had changed."""
    manifest = container.manifest
    reference = default_tag(manifest)
    found = engine.find_image(reference)
    if found and layers_of(found) == (f"sha256:{manifest.archive.sha256}",):
        return ImageSource(reference, "its export, restored before")
    return ImageSource(reference, "its export", container)


def original_image(
    engine: Engine, container: Stored, backups: Sequence[BackupKey], record: Record
) -> ImageSource:
    """The image that the container was made of: as it is here, from its backup, or by its name."""
    image_id, reference = record.container["Image"], record.container["Config"]["Image"]
    named = engine.find_image(reference)
    if named is not None and named["Id"] == image_id:
        return ImageSource(reference, "the original, which is here")
    for digest in (image_id, *(record.image.get("RepoDigests") or ())):
        if engine.find_image(digest) is not None:
            return ImageSource(digest, "the original, which is here")
    stored = _image_backup(container.catalog, backups, image_id)
    if stored is not None:
        reference = stored.manifest.images[0].reference
        how, lack = f"the original, from backup {stored.manifest.id}", ""
        holder = engine.find_image(reference)
        if holder is not None:
            lack = f"image {reference}: {holder['Id'][:19]} has this name here, and would lose it"
        return ImageSource(reference, how, stored, lack)
    if named is not None:
        how = f"{named['Id'][:19]}, which has its name here and is another than the container's"
        return ImageSource(reference, how)
    lack = f"image {reference}: it is not here, and no backup holds it"
    return replace(exported_image(engine, container), lack=lack)


def _image_backup(catalog: Catalog, backups: Sequence[BackupKey], image_id: str) -> Stored | None:
    """The newest backup of this very image, under whichever name: archive ids tell the content."""
    marks = {fingerprint(f"{image_id} ", method.value)[:CONTENT_DIGITS] for method in Method}
    found = [
        one
        for one in backups
        if one.kind is Kind.IMAGE
        and one.archive_id[:CONTENT_DIGITS] in marks
        and DAMAGED not in one.states
    ]
    while chosen := newest(found):
        stored = Stored(catalog, catalog.manifest(chosen))
        if any(image.id == image_id for image in stored.manifest.images):
            return stored
        found.remove(chosen)  # a part of its id alone looked like it
    return None
