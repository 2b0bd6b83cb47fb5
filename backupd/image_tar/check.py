"""The check of a `docker save` while it streams to the store: is it the image that was asked for?

Engines answer HTTP 200 and then save nothing (`manifest.json` is `null`), a damaged blob, or what
a tag names by now. Only what is whole, undamaged and equal to inspect becomes a backup.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from backupd.image_tar.contents import Contents, broken
from backupd.image_tar.reference import familiar, is_repository_of
from backupd.image_tar.saved import SavedImage, check_layout, configs_of, saved_images
from backupd.tar import TarWalk

_NO_TAG = re.compile(r".*@.*|sha256:.*|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ExpectedImage:
    """What inspect said of an image that the archive must hold."""

    image_id: str
    """`sha256:…`: of the config, or of a manifest or index where the engine uses containerd's."""
    diff_ids: tuple[str, ...]
    references: tuple[str, ...]
    """Names that the archive must give it; digests and ids among them need not appear."""


class ImageCheck:
    """Follows the tar of one save. Raises ArchiveBroken from `feed` or `finish`."""

    def __init__(self, expected: Sequence[ExpectedImage]) -> None:
        self._expected = tuple(expected)
        self._contents = Contents()
        self._walk = TarWalk(self._contents)
        self.config_digests: tuple[str, ...] = ()
        """After `finish`: the config (`sha256:…`) of each expected image, in their order."""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the tar."""
        self._walk.feed(chunk)

    def finish(self) -> None:
        """Raise ArchiveBroken unless the tar is whole and holds just the expected images."""
        self._walk.finish()
        damaged = self._contents.damaged_blob()
        if damaged:
            raise broken(f"has a damaged blob: the content of {damaged} does not match its name")
        saved = saved_images(self._contents)
        check_layout(self._contents)
        pairs = [(image, self._saved_as(image, saved)) for image in self._expected]
        for image, found in pairs:
            for reference in image.references:
                _check_tag(reference, found)
        asked_for = {match.config_digest for _, found in pairs for match in found}
        for match in saved:
            if match.config_digest not in asked_for:
                raise broken(f"holds {match.config_digest}, which was not asked for")
        self.config_digests = tuple(found[0].config_digest for _, found in pairs)

    def _saved_as(self, image: ExpectedImage, saved: Iterable[SavedImage]) -> list[SavedImage]:
        """The entries of manifest.json that are this image; at least one, all with its layers."""
        wanted = "sha256:" + image.image_id.removeprefix("sha256:")
        configs = {wanted, *configs_of(self._contents, wanted)}
        found = [match for match in saved if match.config_digest in configs]
        if not found:
            raise broken(f"does not hold the image {wanted}; has its tag moved meanwhile?")
        for match in found:
            if match.diff_ids != image.diff_ids:
                raise broken(f"has other layers for {wanted} than the engine's inspect")
        return found


def _check_tag(reference: str, found: Iterable[SavedImage]) -> None:
    if _NO_TAG.fullmatch(reference):
        return
    wanted = familiar(reference)
    tags = [familiar(tag) for match in found for tag in match.tags]
    if wanted not in tags and not any(is_repository_of(wanted, tag) for tag in tags):
        raise broken(f"does not name its image {reference!r}; has the tag moved meanwhile?")
