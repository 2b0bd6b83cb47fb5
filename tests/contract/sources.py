"""Images that need no engine: what a backup of one would read, and when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from backupd.engine import Engine
from backupd.engine_link import EngineStream
from backupd.layout import Kind
from backupd.manifest import Image
from backupd.policy import AS_IT_IS, Compression
from backupd.sources import Check, Survey
from backupd.verbs.backup import Outcome, Task, run
from backupd.volume_access import HostMount
from tests.contract.shelves import JOB, Shelf


class _Content:
    """What an engine sends."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __iter__(self) -> Iterator[bytes]:
        yield self._data

    def abort(self) -> None:
        pass


class _Trusting:
    """Takes any bytes for a whole tar."""

    def feed(self, chunk: bytes, /) -> None:
        pass

    def finish(self) -> None:
        pass


@dataclass(frozen=True)
class FakeImage:
    """An image whose id, and so whose content, is told by `content`."""

    name: str
    content: str = "first"
    kind = Kind.IMAGE
    consistency = AS_IT_IS
    needs: frozenset[str] = frozenset()
    beside: frozenset[str] = frozenset()
    mount: HostMount | None = None
    spools_first = False

    def survey(self, engine: Engine) -> Survey:
        digest = f"sha256:{self.content.encode().hex():0>64}"
        image = Image(id=digest, reference=self.name, saved_as=(self.name,), diff_ids=())
        return Survey(1000, images=(image,))

    def open(self, engine: Engine, survey: Survey) -> EngineStream:
        return cast(EngineStream, _Content(self.content.encode() * 100))

    def check(self, survey: Survey) -> Check:
        return _Trusting()


class _Silent:
    """A report to nobody."""

    def begin(self, task: Task) -> _Silent:
        return self

    def end(self, outcome: Outcome) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def __call__(self, done_bytes: int) -> None:
        pass


def back_up(shelf: Shelf, image: FakeImage, *, job: str = JOB) -> Outcome:
    """What `backupd backup` does for this one image."""
    (outcome,) = run(shelf.site, [Task(job, image, Compression(), "name")], _Silent())
    return outcome
