"""What no manifest names and nobody works on any more goes, once it is old enough."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from backupd.layout import Kind, archive_key
from backupd.stores import Store
from backupd.verbs.remove import drop_uploads
from tests.contract.conftest import Bench
from tests.contract.shelves import DAY, HOST, KEEP_ONE, NAME, Shelf, policy_of, prune
from tests.contract.sources import FakeImage, back_up
from tests.contract.watched import Call, Watched

PART = archive_key(HOST, Kind.IMAGE, NAME, "0123456789abcdef-0123456789ab", ".zst")
"""Where an upload that never ended would have put its archive."""


@pytest.fixture
def shelf(store: Store, tmp_path: Path) -> Shelf:
    """A shelf in every store."""
    return Shelf(store, tmp_path)


def sweep(shelf: Shelf) -> list[str]:
    """What is there after a prune that has nothing else to do."""
    prune(shelf, policy_of(KEEP_ONE))
    return shelf.objects()


def test_an_orphan_archive_older_than_a_day_goes_with_its_record(shelf: Shelf) -> None:
    made = shelf.add(kind=Kind.CONTAINER)
    shelf.store.delete([made.key.key])

    shelf.now += 2 * DAY

    assert [] == sweep(shelf)


@pytest.mark.parametrize("days", [1, 2])
def test_a_younger_orphan_archive_stays(shelf: Shelf, days: int) -> None:
    orphan = shelf.add_archive()
    made = shelf.add_daily(days)  # of which one goes, or none

    assert sorted([orphan.key, made[0].key.key, made[0].archive.key]) == sweep(shelf)


def test_a_record_without_its_archive_goes(shelf: Shelf) -> None:
    made = shelf.add(kind=Kind.CONTAINER)
    shelf.store.delete([made.key.key, made.archive.key])

    shelf.now += 2 * DAY

    assert [] == sweep(shelf)


def test_a_state_whose_manifest_is_gone_goes_once_it_is_old(shelf: Shelf) -> None:
    made = shelf.add(states=["pinned"])
    shelf.store.delete([made.key.key, made.archive.key])

    young = sweep(shelf)
    shelf.now += 2 * DAY

    assert ([made.key.state_key("pinned")], []) == (young, sweep(shelf))


def test_the_orphan_of_a_source_that_is_worked_on_stays(shelf: Shelf) -> None:
    orphan = shelf.add_archive()
    shelf.now += 2 * DAY

    with shelf.state.lock_source(Kind.IMAGE, NAME, "back up"):
        during = sweep(shelf)

    assert ([orphan.key], []) == (during, sweep(shelf))


@pytest.mark.parametrize("listing", [3, 4, 5])
def test_a_backup_that_ends_while_the_sweep_looks_keeps_its_archive(
    shelf: Shelf, listing: int
) -> None:
    """Its upload began long ago, and its manifest comes between two looks of the sweep."""
    archive = shelf.add_archive()
    shelf.now += 2 * DAY
    listings: list[Call] = []

    def end_it(call: Call) -> None:
        if call.act == "list":
            listings.append(call)
            if len(listings) == listing:
                shelf.add(archive=archive)
                backup.close()

    with ExitStack() as backup:
        backup.enter_context(shelf.state.lock_source(Kind.IMAGE, NAME, "back up"))
        prune(shelf.through(Watched(shelf.store, end_it)), policy_of(KEEP_ONE))

    assert ([], 1) == (shelf.broken(), len(shelf.ids()))
    assert len(listings) >= listing


def test_what_a_manifest_names_is_no_orphan_however_old(shelf: Shelf) -> None:
    made = shelf.add(kind=Kind.CONTAINER)
    before = shelf.objects()

    shelf.now += 400 * DAY

    assert (before, [made.id]) == (sweep(shelf), shelf.ids())


def test_a_stale_upload_is_dropped_and_a_fresh_one_is_not(timely: Bench, tmp_path: Path) -> None:
    shelf = Shelf(timely.store, tmp_path)
    timely.begin_upload(PART)

    fresh = prune(shelf, policy_of(KEEP_ONE)).removal.uploads
    shelf.now += 2 * DAY
    stale = prune(shelf, policy_of(KEEP_ONE)).removal.uploads

    assert (0, 1, []) == (fresh, stale, timely.unfinished())


def test_the_upload_of_a_source_that_is_worked_on_is_not_dropped(
    bench: Bench, tmp_path: Path
) -> None:
    shelf = Shelf(bench.store, tmp_path)
    bench.begin_upload(PART)
    shelf.now += 2 * DAY

    with shelf.state.lock_source(Kind.IMAGE, NAME, "back up"):
        during = drop_uploads(shelf.site, shelf.catalog, shelf.now)

    assert (0, 1) == (during.uploads, len(bench.unfinished()))


@pytest.mark.parametrize(
    "key",
    [
        PART.replace(HOST, "web02"),
        f"{HOST}/archives/notes.txt",
        f"{HOST}/archives/image/app/movie.mp4",
        f"{HOST}/elsewhere/{PART}",
    ],
)
def test_uploads_that_are_not_ours_are_not_dropped(bench: Bench, tmp_path: Path, key: str) -> None:
    shelf = Shelf(bench.store, tmp_path)
    bench.begin_upload(key)
    shelf.now += 2 * DAY

    removal = prune(shelf, policy_of(KEEP_ONE)).removal

    assert (0, []) == (removal.uploads, removal.refused)
    assert 1 == len(bench.unfinished())


def test_a_backup_under_way_is_never_swept(shelf: Shelf) -> None:
    shelf.now += 2 * DAY  # so that whatever is there counts as old
    swept: list[bool] = []

    def sweep_now(call: Call) -> None:
        if call.act == "put_bytes" and "/backups/" in call.key:
            swept.append(bool(prune(shelf, policy_of(KEEP_ONE)).removal.archives))

    outcome = back_up(shelf.through(Watched(shelf.store, sweep_now)), FakeImage(NAME))

    assert (None, [False], []) == (outcome.error, swept, shelf.broken())
