"""Images and bundles of images: `docker save`, which keeps layers, history and tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from backupd.engine import Engine, Inspect, layers_of
from backupd.engine_link import EngineStream
from backupd.image_tar import ExpectedImage, ImageCheck
from backupd.layout import Kind
from backupd.manifest import Image
from backupd.policy import AS_IT_IS
from backupd.sources import Check, Survey
from backupd.volume_access import HostMount

_OVERHEAD_BYTES = 8 << 20
"""Tar headers, configs and the per-layer files that engine 20.10 adds."""


@dataclass(frozen=True, slots=True)
class ImageSource:
    """One image by one reference; saved by that reference, so that its tag is in the tar."""

    reference: str
    platform: str | None = None
    kind = Kind.IMAGE
    consistency = AS_IT_IS
    needs: ClassVar[frozenset[str]] = frozenset()
    beside: ClassVar[frozenset[str]] = frozenset()
    mount: ClassVar[HostMount | None] = None
    spools_first = True

    @property
    def name(self) -> str:
        """The reference, and the platform where one was asked for."""
        return f"{self.reference}@{self.platform}" if self.platform else self.reference

    def survey(self, engine: Engine) -> Survey:
        """One inspect of the reference. Raises NotFound."""
        return _survey(engine, [self.reference], self.platform)

    def open(self, engine: Engine, survey: Survey) -> EngineStream:
        """`docker save REFERENCE`; `check` finds out if the tag has moved since the survey."""
        return engine.save([self.reference], self.platform)

    def check(self, survey: Survey) -> Check:
        """That the tar is whole, and the very image that was surveyed."""
        return _check(survey)


@dataclass(frozen=True, slots=True)
class BundleSource:
    """Several images in one tar, with their shared layers once: `docker save A B`."""

    name: str
    references: tuple[str, ...]
    kind = Kind.BUNDLE
    consistency = AS_IT_IS
    needs: ClassVar[frozenset[str]] = frozenset()
    beside: ClassVar[frozenset[str]] = frozenset()
    mount: ClassVar[HostMount | None] = None
    spools_first = True

    def survey(self, engine: Engine) -> Survey:
        """One inspect of each reference. Raises NotFound for the first that is missing."""
        return _survey(engine, self.references, None)

    def open(self, engine: Engine, survey: Survey) -> EngineStream:
        """`docker save A B …`; one missing image fails the whole request."""
        return engine.save(self.references)

    def check(self, survey: Survey) -> Check:
        """That the tar is whole, and holds just the images that were surveyed."""
        return _check(survey)


def image_facts(reference: str, inspect: Inspect, platform: str | None = None) -> Image:
    """The manifest's part of one image, from the engine's inspect."""
    parts = (inspect.get("Os"), inspect.get("Architecture"), inspect.get("Variant"))
    return Image(
        id=inspect["Id"],
        reference=reference,
        saved_as=() if "@" in reference or reference.startswith("sha256:") else (reference,),
        diff_ids=layers_of(inspect),
        repo_digests=tuple(inspect.get("RepoDigests") or ()),
        platform=platform or "/".join(part for part in parts if part),
        only_platform=platform or "",
    )


def _survey(engine: Engine, references: Sequence[str], platform: str | None) -> Survey:
    inspects = [engine.inspect_image(reference) for reference in references]
    sizes = {inspect["Id"]: int(inspect.get("Size") or 0) for inspect in inspects}
    return Survey(
        size_bytes=sum(sizes.values()),
        overhead_bytes=_OVERHEAD_BYTES,
        images=tuple(
            image_facts(reference, inspect, platform)
            for reference, inspect in zip(references, inspects, strict=True)
        ),
    )


def _check(survey: Survey) -> Check:
    return ImageCheck(
        [ExpectedImage(image.id, image.diff_ids, image.saved_as) for image in survey.images]
    )
