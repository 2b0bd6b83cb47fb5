"""Restore an image or a bundle: `docker load`, fail-closed, and checked by inspect afterwards.

The archive's end is withheld until its size and SHA-256 match, so the engine sees a damaged one as
a cut stream and loads nothing. An image that is already there is not loaded again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from backupd.catalog import Catalog
from backupd.engine import Engine, Inspect, layers_of
from backupd.errors import BackupdError, DamagedBackup, EngineError, NotFound
from backupd.image_tar import retagged
from backupd.manifest import Image, Manifest
from backupd.site import Site
from backupd.sources.select import references_of
from backupd.verbs.transfer import Progress, received

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Restored:
    """What came back: the image's id on this engine, and the references that name it."""

    image_id: str
    references: tuple[str, ...]
    loaded: bool
    """False when the image was there already."""


def restore_images(
    site: Site,
    catalog: Catalog,
    manifest: Manifest,
    *,
    tag: str | None,
    platform: str | None = None,
    say: Say,
    progress: Progress,
) -> list[Restored]:
    """Bring back every image of the backup, under its own references or under `tag`.

    Raises DamagedBackup, EngineError, StoreError; then nothing that was not there before remains.
    """
    wanted = [(image, _references(image, tag)) for image in manifest.images]
    if all(_is_there(site.engine, image) for image, _ in wanted):
        return [_name_present(site.engine, image, refs, say) for image, refs in wanted]
    every_reference = [reference for _, refs in wanted for reference in refs]
    _warn_of_moved_tags(site.engine, wanted, say)
    layers = {image.diff_ids for image in manifest.images}
    with cleaned_up_on_failure(
        site.engine, every_reference, lambda found: layers_of(found) in layers
    ):
        with received(site, catalog, manifest, progress) as chunks:
            tar = _renamed(chunks, manifest, wanted[0][1])
            for line in site.engine.load(tar, platform=platform):
                say(line.strip())
        return [_checked(site.engine, image, refs) for image, refs in wanted]


def _references(image: Image, tag: str | None) -> tuple[str, ...]:
    if tag is not None:
        return (tag,)
    untaggable = "@" in image.reference or image.reference.startswith("sha256:")
    return () if untaggable else (image.reference,)


def _renamed(
    chunks: Iterator[bytes], manifest: Manifest, references: Sequence[str]
) -> Iterator[bytes]:
    """The tar with the tags asked for; an archive shared by two tags holds only the first one's."""
    if len(manifest.images) != 1 or manifest.images[0].saved_as == tuple(references):
        return chunks
    return retagged(chunks, references)


def under_its_names(
    chunks: Iterator[bytes], manifest: Manifest, tag: str | None
) -> Iterator[bytes]:
    """The tar of a backup with the names that a restore would give, or as it is for a container."""
    if not manifest.images:
        return chunks
    return _renamed(chunks, manifest, _references(manifest.images[0], tag))


def _is_there(engine: Engine, image: Image) -> bool:
    return engine.find_image(image.id) is not None


def _name_present(engine: Engine, image: Image, references: Sequence[str], say: Say) -> Restored:
    for reference in references:
        holder = engine.find_image(reference)
        if holder is not None and holder["Id"] == image.id:
            continue
        if holder is not None:
            say(_moving(reference, holder))
        engine.tag(image.id, reference)
    return Restored(image.id, tuple(references), loaded=False)


def _warn_of_moved_tags(
    engine: Engine, wanted: Sequence[tuple[Image, Sequence[str]]], say: Say
) -> None:
    for image, references in wanted:
        for reference in references:
            holder = engine.find_image(reference)
            if holder is not None and holder["Id"] != image.id:
                say(_moving(reference, holder))


def _moving(reference: str, holder: Inspect) -> str:
    return (
        f"{reference} names image {holder['Id'][:19]} now, which loses this name "
        "(--tag NAME:TAG restores under another one)"
    )


@contextmanager
def cleaned_up_on_failure(
    engine: Engine, references: Sequence[str], is_ours: Callable[[Inspect], bool]
) -> Iterator[None]:
    """Take away what a failed load leaves all the same, and give moved tags back.

    The containerd image store keeps the tag of a load that failed on its last check, and a
    dangling image of a failed import (measured on engine 26). Only untagged images that appeared
    meanwhile and that `is_ours` knows by their inspect are removed.
    """
    before = {reference: engine.find_image(reference) for reference in references}
    ids_before = {summary["Id"] for summary in engine.images()}
    try:
        yield
    except BaseException as error:
        try:
            _put_back(engine, before)
            _remove_leftovers(engine, ids_before, is_ours)
        except BackupdError as failure:
            error.add_note(f"and cleaning up after it failed: {failure}")
        raise


def _put_back(engine: Engine, before: dict[str, Inspect | None]) -> None:
    for reference, holder in before.items():
        now = engine.find_image(reference)
        if now is None or (holder is not None and now["Id"] == holder["Id"]):
            continue
        if holder is not None:
            engine.tag(holder["Id"], reference)
        else:
            engine.remove_image(reference)


def _remove_leftovers(
    engine: Engine, ids_before: set[str], is_ours: Callable[[Inspect], bool]
) -> None:
    for summary in engine.images():
        if summary["Id"] in ids_before or references_of(summary):
            continue
        found = engine.find_image(summary["Id"])
        if found is not None and is_ours(found):
            with suppress(NotFound):
                engine.remove_image(summary["Id"])


def _checked(engine: Engine, image: Image, references: Sequence[str]) -> Restored:
    """What inspect says after the load. Raises when it is not the image of the backup.

    Its id may differ on an engine with another image store, so the layers decide then.
    """
    found = engine.find_image(references[0] if references else image.id)
    found = found or engine.find_image(image.id)
    if found is None:
        raise EngineError(
            f"cannot find {image.reference} after loading it: the engine reported no error; "
            "see its log"
        )
    if found["Id"] != image.id and layers_of(found) != image.diff_ids:
        raise DamagedBackup(
            f"the engine loaded {image.reference} as {found['Id']}, which has other layers than "
            f"the image {image.id} that was backed up"
        )
    return Restored(found["Id"], tuple(references), loaded=True)
