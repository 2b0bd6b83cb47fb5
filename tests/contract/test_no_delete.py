"""Keys that can write and not delete: a good backup stays good, and what was refused is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from backupd.layout import DAMAGED
from backupd.stores import Store, open_store
from tests.contract.conftest import s3_spec
from tests.contract.shelves import DAY, Shelf
from tests.contract.sources import FakeImage, back_up
from tests.contract.watched import Watched
from tests.servers.seaweedfs import NO_DELETE, SeaweedFS

IMAGE, AGAIN = FakeImage("app:1"), FakeImage("app:2")
"""Two tags of one image."""


class LosingAnArchive(Watched):
    """A store in which somebody else's prune takes the archive that a manifest just named anew."""

    def __init__(self, store: Store, other: Store) -> None:
        super().__init__(store, lambda call: None)
        self._other = other
        self._doomed = [entry.key for entry in other.list("web01/archives/")]

    def put_bytes(self, key: str, data: bytes) -> None:
        super().put_bytes(key, data)
        if key.endswith(".json") and self._doomed:
            self._other.delete([self._doomed.pop()])


def test_an_unchanged_image_is_backed_up_again(seaweed: SeaweedFS, tmp_path: Path) -> None:
    shelf = Shelf(open_store(s3_spec(seaweed, identity=NO_DELETE)), tmp_path)
    back_up(shelf, IMAGE)

    outcome = back_up(replace(shelf, now=shelf.now + DAY), AGAIN)

    assert outcome.manifest is not None
    assert (None, True, ()) == (
        outcome.error,
        outcome.manifest.reused,
        outcome.manifest.warnings,
    )


def test_a_manifest_that_cannot_be_taken_back_is_marked_and_the_image_uploaded_anew(
    seaweed: SeaweedFS, tmp_path: Path
) -> None:
    spec = s3_spec(seaweed)
    shelf = Shelf(open_store(s3_spec(seaweed, identity=NO_DELETE, prefix=spec.prefix)), tmp_path)
    back_up(shelf, IMAGE)
    later = replace(shelf, now=shelf.now + DAY)

    outcome = back_up(later.through(LosingAnArchive(shelf.store, open_store(spec))), AGAIN)

    assert outcome.error is None
    assert outcome.manifest is not None
    assert not outcome.manifest.reused
    (warning,) = outcome.manifest.warnings
    assert "it has no archive and is marked as damaged" in warning
    assert later.catalog.archive_is_whole(outcome.manifest)
    marked = [backup for backup in later.catalog.backups() if DAMAGED in backup.states]
    assert [AGAIN.name] == [backup.name for backup in marked]
