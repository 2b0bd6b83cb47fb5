"""What telling about many backups asks of a store, and what removing some of them would free."""

from __future__ import annotations

from pathlib import Path

import pytest

from backupd.cli.list import Names
from backupd.stores.directory import DirectoryStore
from backupd.verbs.prune_jobs import Listing
from tests.contract.shelves import DAY, NAME, Shelf
from tests.contract.watched import Call, Watched

LONG = "registry.example.com/" + "team/" * 40 + "app:1"
"""A name that is cut and hashed in keys."""


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(DirectoryStore(tmp_path / "store"), tmp_path)


@pytest.mark.parametrize(("name", "reads"), [(LONG, 1), (NAME, 0)])
def test_a_name_that_no_key_tells_costs_one_request_however_many_backups_have_it(
    shelf: Shelf, name: str, reads: int
) -> None:
    shelf.add_daily(3, name=name)
    calls: list[Call] = []
    names = Names(Watched(shelf.store, calls.append))

    told = [names(backup) for backup in shelf.catalog.backups()]

    assert [name] * 3 == told
    assert reads == len(calls)


def test_an_archive_is_freed_only_with_the_last_backup_that_names_it(shelf: Shelf) -> None:
    first = shelf.add(DAY * 2)
    second = shelf.add(DAY, archive=first.archive)
    other = shelf.add()
    listing = Listing.of(shelf.catalog)

    def freed(*going: object) -> int:
        return listing.freed_bytes([one for one in shelf.catalog.backups() if one in going])

    both = first.archive.stored_bytes
    assert [0, 0, both] == [freed(), freed(first.key), freed(first.key, second.key)]
    assert other.archive.stored_bytes == freed(other.key)
