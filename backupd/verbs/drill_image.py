"""The drill of an image or a bundle: load it under another name, and look whether it is the image.

The image may be on the engine already, under its own names. Those are never touched, and nothing
that was there before is removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from backupd.catalog import Catalog
from backupd.engine import Engine, layers_of
from backupd.errors import ArchiveBroken, DamagedBackup, DrillFailed
from backupd.image_tar import ExpectedImage, ImageCheck, renamed, retagged
from backupd.image_tar.reference import familiar
from backupd.manifest import Image, Manifest
from backupd.site import Site
from backupd.verbs.drill_scratch import Scratch
from backupd.verbs.transfer import Progress, received

_CONTAINERD = "overlayfs"
"""The storage driver's name where images are kept by containerd."""


def drill_image(
    site: Site, catalog: Catalog, manifest: Manifest, scratch: Scratch, progress: Progress
) -> str:
    """Load every image of the backup; how it was proven, as a clause.

    Raises DamagedBackup, DrillFailed, EngineError, StoreError.
    """
    engine = site.engine
    references = [
        None if _keeps_its_names(engine, image) else scratch.image(number)
        for number, image in enumerate(manifest.images, 1)
    ]
    for image, reference in zip(manifest.images, references, strict=True):
        if reference:
            # One without a name in the tar of a bundle has none that could be another one.
            is_nameless = not image.saved_as and len(references) > 1
            made = image.id if is_nameless else reference
            scratch.owes(f"image {made}", partial(engine.remove_image, made))
    with received(site, catalog, manifest, progress) as plain:
        tar = _under(references, manifest, _checked(plain, manifest))
        for _ in engine.load(tar):
            pass
    for image, named in zip(manifest.images, references, strict=True):
        _require(engine, image, named)
    count = len(manifest.images)
    return "loaded, with the layers it had" if count == 1 else f"loaded, all {count} images of it"


def _keeps_its_names(engine: Engine, image: Image) -> bool:
    """Whether the image is there, and is loaded again without a name.

    To take the scratch name from one that has no other would remove it. Where containerd keeps the
    images, each load leaves an entry of its own, which only a name lets us find and remove.
    """
    is_there = engine.find_image(image.id) is not None
    return is_there and engine.version().storage_driver != _CONTAINERD


def _checked(chunks: Iterator[bytes], manifest: Manifest) -> Iterator[bytes]:
    """The tar, held to the manifest as it passes: an engine looks at no layer that it has."""
    check = ImageCheck(
        [ExpectedImage(image.id, image.diff_ids, image.saved_as) for image in manifest.images]
    )
    try:
        for chunk in chunks:
            check.feed(chunk)
            yield chunk
        check.finish()
    except ArchiveBroken as error:
        raise DamagedBackup(f"backup {manifest.id} is damaged: {error}") from error


def _under(
    references: list[str | None], manifest: Manifest, chunks: Iterator[bytes]
) -> Iterator[bytes]:
    """The tar with no name but these."""
    if len(references) == 1:
        return retagged(chunks, [one for one in references if one])
    by_name = {
        familiar(name): reference
        for image, reference in zip(manifest.images, references, strict=True)
        for name in image.saved_as
    }
    return renamed(chunks, by_name.get)


def _require(engine: Engine, image: Image, reference: str | None) -> None:
    """Raise DrillFailed unless the image is there; another store may give it another id."""
    found = (engine.find_image(reference) if reference else None) or engine.find_image(image.id)
    if found is None:
        raise DrillFailed(f"the engine does not have {image.reference} after it loaded it")
    if found["Id"] != image.id and layers_of(found) != image.diff_ids:
        raise DrillFailed(
            f"the engine loaded {image.reference} as {found['Id']}, with other layers than the "
            f"image {image.id} that was backed up"
        )
