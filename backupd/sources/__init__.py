"""What can be backed up: the contract that every kind of source keeps.

A source is one image reference, bundle, container or volume that a job selected. It can say what
it is now (`survey`), open the engine's tar of exactly that (`open`), and check the tar while it
streams (`check`). Reading holds nothing and changes nothing; pausing or stopping a container is the
caller's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from backupd.engine import Engine
from backupd.engine_link import EngineStream
from backupd.layout import Kind
from backupd.manifest import Container, Image, Volume
from backupd.policy import Consistency
from backupd.volume_access import HostMount

SelectedBy = Literal["name", "pattern", "label", "in_use", "mount"]
"""What in the policy selected a source; it decides whose backups a vanished source's are."""


class Check(Protocol):
    """Something that follows a tar and raises ArchiveBroken when it is not whole."""

    def feed(self, chunk: bytes, /) -> None: ...

    def finish(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Survey:
    """What a source is at this moment; all that the backup's manifest says of it."""

    size_bytes: int
    """What the engine says of its size: shared layers counted in, tar headers not."""
    overhead_bytes: int = 0
    """What the tar may hold beyond that: headers, and files that grow while they are read."""
    images: tuple[Image, ...] = ()
    container: Container | None = None
    volume: Volume | None = None
    record: bytes | None = None
    """The record of inspect: JSON, to be kept beside the archive."""
    warnings: tuple[str, ...] = ()
    helper: str = ""
    """Id of the helper through which the source is read, once there is one."""

    @property
    def estimate_bytes(self) -> int:
        """An upper guess of the tar's size, good enough to choose part sizes by."""
        return self.size_bytes + self.overhead_bytes

    @property
    def content(self) -> str | None:
        """Equal for two surveys whose archives would hold the same; None when that is unknown."""
        if self.container is not None or not self.images:
            return None
        if len(self.images) == 1:
            return f"{self.images[0].id} {self.images[0].only_platform}"
        return " ".join(sorted(f"{image.reference}={image.id}" for image in self.images))


class Source(Protocol):
    """One thing that a job selected on this run."""

    @property
    def kind(self) -> Kind: ...

    @property
    def name(self) -> str: ...

    @property
    def consistency(self) -> Consistency:
        """What the policy asks to be done around its reading; nothing for an image."""

    @property
    def needs(self) -> frozenset[str]:
        """Names of the containers that it, a container, depends on."""

    @property
    def mount(self) -> HostMount | None:
        """What a helper has to mount so that it can be read; None where the engine gives it."""

    @property
    def beside(self) -> frozenset[str]:
        """Names of the job's containers that mount it, a volume."""

    @property
    def spools_first(self) -> bool:
        """Whether the engine stages the whole tar on its own disk before the first byte."""

    def survey(self, engine: Engine) -> Survey:
        """What the source is now. Raises NotFound when it is not on the engine."""

    def open(self, engine: Engine, survey: Survey) -> EngineStream:
        """The tar of what `survey` saw, by id where the engine allows it.

        Where `mount` is something, `survey.helper` has mounted it.
        """

    def check(self, survey: Survey) -> Check:
        """A fresh check for the tar of what `survey` saw."""
