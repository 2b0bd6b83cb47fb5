"""Restore a container's content as an image that runs as the container did.

The default way loads a tar made on the fly: a config with everything that `docker export` lost,
and the export as the one layer, whose digest the engine then checks itself. `docker import` is the
other way, with its own meaning: what its changes cannot carry is reported, never dropped silently.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from backupd import half_imports
from backupd.catalog import Catalog
from backupd.engine import Engine, layers_of, split_tag
from backupd.errors import DamagedBackup, EngineError
from backupd.image_tar import loadable
from backupd.layout import stamp
from backupd.manifest import Manifest
from backupd.policy import reference as names
from backupd.site import Site
from backupd.sources.container_image import Record, changes, image_config, read_record
from backupd.verbs.records import understood
from backupd.verbs.restore_image import Restored, Say, cleaned_up_on_failure
from backupd.verbs.sealing import record_of
from backupd.verbs.transfer import Progress, received


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What `docker import` takes besides the tar."""

    changes: tuple[str, ...] = ()
    message: str | None = None
    platform: str | None = None


@dataclass(frozen=True, slots=True)
class Back:
    """How a container is to come back."""

    tag: str | None = None
    by_import: bool = False
    with_config: bool = True
    options: ImportOptions = field(default_factory=ImportOptions)
    labels: Mapping[str, str] | None = None
    """The image's labels in place of the container's own; None for those."""


def restore_container(
    site: Site,
    catalog: Catalog,
    manifest: Manifest,
    back: Back,
    *,
    say: Say,
    progress: Progress,
) -> Restored:
    """The container's files as an image, under `back.tag` or a name that says what it is.

    Raises DamagedBackup, EngineError, StoreError; then nothing that was not there before remains.
    """
    reference = names.normalise(back.tag or default_tag(manifest))
    for mount in manifest.container.mounts if manifest.container else ():
        say(f"not in this backup: {mount.type} {mount.source} at {mount.destination}")
    files_alone = back.by_import and not back.with_config
    record = None if files_alone else _record(site, catalog, manifest)
    if record is None and not back.by_import:
        say("this backup has no record of the container's configuration: importing its files only")
    holder = site.engine.find_image(reference)
    if holder is not None:
        say(f"{reference} names image {holder['Id'][:19]} now, which loses this name")
    message = back.options.message or f"backupd: container {manifest.name} of {manifest.taken_at}"
    with cleaned_up_on_failure(
        site.engine, [reference], lambda found: found.get("Comment") == message
    ):
        with received(site, catalog, manifest, progress) as chunks:
            if back.by_import or record is None:
                kept = record if back.with_config else None
                with understood(manifest):
                    given, lost = changes(kept) if kept else ([], [])
                for instruction in lost:
                    say(f"docker import cannot carry {instruction}; `--via load` can")
                options = replace(back.options, changes=(*given, *back.options.changes))
                layer = f"sha256:{manifest.archive.sha256}"
                with half_imports.noted(site.state, site.engine, message=message, layer=layer):
                    _import(site.engine, chunks, reference, options, message)
            else:
                with understood(manifest):
                    labelled = record if back.labels is None else _labelled(record, back.labels)
                    tar = _around(chunks, manifest, labelled, reference, message)
                for line in site.engine.load(tar, platform=back.options.platform):
                    say(line.strip())
        return _checked(site.engine, manifest, reference)


def _around(
    chunks: Iterator[bytes], manifest: Manifest, record: Record, reference: str, message: str
) -> Iterator[bytes]:
    """A tar for `docker load` with the export as its one layer, so that the engine checks it."""
    diff_id = f"sha256:{manifest.archive.sha256}"
    config = image_config(record, diff_id=diff_id, taken_at=manifest.taken_at, comment=message)
    return loadable(config, reference, chunks, manifest.archive.size_bytes, diff_id)


def _labelled(record: Record, labels: Mapping[str, str]) -> Record:
    config = {**(record.container.get("Config") or {}), "Labels": dict(labels)}
    return replace(record, container={**record.container, "Config": config})


def _import(
    engine: Engine, chunks: Iterator[bytes], reference: str, options: ImportOptions, message: str
) -> None:
    repository, tag = split_tag(reference)
    engine.import_image(
        chunks,
        repository=repository,
        tag=tag,
        changes=list(options.changes),
        message=message,
        platform=options.platform,
    )


def _checked(engine: Engine, manifest: Manifest, reference: str) -> Restored:
    """What inspect says afterwards: the one layer must be the export, to the bit.

    The layer's diff id is the SHA-256 of the plain tar, on every engine tried and by either way.
    """
    found = engine.find_image(reference)
    if found is None:
        raise EngineError(f"cannot find {reference} after restoring it; see the engine's log")
    if layers_of(found) != (f"sha256:{manifest.archive.sha256}",):
        raise DamagedBackup(
            f"the engine made {reference} of other bytes than the backup {manifest.id} holds"
        )
    return Restored(found["Id"], (reference,), loaded=True)


def default_tag(manifest: Manifest) -> str:
    """`restored/<container>:<moment>`: never the name of an image that is in use."""
    repository = re.sub(r"[^a-z0-9]+", "-", manifest.name.lower()).strip("-") or "container"
    return f"restored/{repository}:{stamp(manifest.taken_at).replace('.', '-')}"


def _record(site: Site, catalog: Catalog, manifest: Manifest) -> Record | None:
    """The record of inspect, whole and unchanged; None where the backup has none."""
    try:
        data = record_of(catalog, manifest, site.identities)
    except DamagedBackup as error:
        hint = "`--via import --no-config` restores the files alone"
        raise DamagedBackup(f"{error}; {hint}") from error
    return None if data is None else read_record(data)
