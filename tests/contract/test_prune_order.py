"""Manifests first, a fresh look, then archives that nobody names: also when it dies in between."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from backupd.layout import Kind
from backupd.stores import Store
from backupd.stores.directory import DirectoryStore
from tests.contract.shelves import DAY, KEEP_ONE, Shelf, policy_of, prune
from tests.contract.watched import Call, Countdown, Killed, Watched

CRASH = 87
"""How a process ends that dies on purpose."""


@pytest.fixture
def shelf(store: Store, tmp_path: Path) -> Shelf:
    """A shelf in every store."""
    return Shelf(store, tmp_path)


def stock(shelf: Shelf) -> None:
    """All that a prune can meet: shared archives, records, states, and orphans of each sort."""
    made = shelf.add_daily(3)
    shelf.add(DAY, name="app:2", archive=made[1].archive)
    shelf.add(2 * DAY, name="app:2", archive=made[2].archive)
    shelf.add(3 * DAY, job="weekly", archive=made[2].archive)
    shelf.add(DAY, name="web", kind=Kind.CONTAINER, states=["damaged"])
    shelf.add(2 * DAY, name="web", kind=Kind.CONTAINER, states=["damaged"])
    shelf.pin(shelf.add(4 * DAY))
    shelf.add_archive()
    shelf.store.delete([shelf.add_archive(name="web", kind=Kind.CONTAINER).key])
    alone = f"{made[0].key.folder}20200101T000000.000Z.{made[0].archive.id}.damaged"
    shelf.store.put_bytes(alone, b"")


def test_manifests_go_first_then_the_store_is_listed_then_archives_go(shelf: Shelf) -> None:
    made = shelf.add_daily(2, kind=Kind.CONTAINER, states=["damaged"])
    calls: list[Call] = []

    prune(shelf.through(Watched(shelf.store, calls.append)), policy_of(KEEP_ONE))
    first = next(place for place, call in enumerate(calls) if call.act == "delete")
    acts = [call for call in calls[first:] if call.act in ("delete", "list")]
    assert made[1].record is not None

    backups, archives = f"{shelf.host}/backups/", f"{shelf.host}/archives/"
    assert [
        Call("delete", made[1].key.key),
        Call("list", backups),
        Call("delete", made[1].key.state_key("damaged")),
        Call("delete", made[1].record.key),
        Call("delete", made[1].archive.key),
        Call("list", archives),
    ] == acts


def test_an_archive_that_two_tags_share_stays_until_the_last_manifest_goes(shelf: Shelf) -> None:
    old = shelf.add(9 * DAY)
    shared = shelf.add(8 * DAY, name="app:2", archive=old.archive)
    shelf.add(name="app:1")

    prune(shelf, policy_of(KEEP_ONE))
    while_named = old.archive.id in shelf.archive_ids()
    shelf.add(name="app:2")
    prune(shelf, policy_of(KEEP_ONE))

    assert (True, False) == (while_named, old.archive.id in shelf.archive_ids())
    assert shared.id not in shelf.ids()


def test_an_archive_that_two_jobs_share_stays_until_the_last_manifest_goes(shelf: Shelf) -> None:
    old = shelf.add(9 * DAY)
    weekly = shelf.add(8 * DAY, job="weekly", archive=old.archive)
    shelf.add()

    prune(shelf, policy_of(KEEP_ONE))

    assert ([], True) == (shelf.broken(), weekly.archive.id in shelf.archive_ids())


def test_a_record_and_the_states_go_with_their_backup(shelf: Shelf) -> None:
    made = shelf.add_daily(2, kind=Kind.CONTAINER, states=["damaged"])

    prune(shelf, policy_of(KEEP_ONE))

    kept = made[0]
    assert kept.record is not None
    assert shelf.objects() == sorted(
        [kept.key.key, kept.key.state_key("damaged"), kept.archive.key, kept.record.key]
    )


def test_a_second_prune_finds_nothing_to_do(shelf: Shelf) -> None:
    stock(shelf)
    shelf.now += 2 * DAY
    prune(shelf, policy_of(KEEP_ONE))
    before, calls = shelf.objects(), list[Call]()

    again = prune(shelf.through(Watched(shelf.store, calls.append)), policy_of(KEEP_ONE))

    assert (before, set()) == (shelf.objects(), again.removed)
    assert 2 == sum(call.act == "list" for call in calls)


def test_prune_killed_at_any_step_loses_nothing_and_the_next_one_ends_clean(
    shelf: Shelf,
) -> None:
    died_at: list[Call] = []
    # A step costs a hundred requests to a server, so there every second one must do.
    for step in range(1, 200, 1 if shelf.store.url.startswith("file:") else 2):
        host = replace(shelf, host=f"web{step}", made=[])
        stock(host)
        host.now += 2 * DAY
        countdown = Countdown(step, _die)
        try:
            prune(host.through(Watched(host.store, countdown)), policy_of(KEEP_ONE))
        except Killed:
            died_at.append(countdown.calls[-1])
        assert [] == host.broken(), f"after dying at {countdown.calls[-1]}"
        _ends_clean(host)
        if len(countdown.calls) < step:
            break

    assert {"list", "delete"} <= {call.act for call in died_at}
    assert len(died_at) > 8


@pytest.mark.parametrize("step", [6, 9, 12, 15, 18])
def test_a_process_that_dies_in_a_prune_leaves_a_lock_that_nobody_holds(
    tmp_path: Path, step: int
) -> None:
    shelf = Shelf(DirectoryStore(tmp_path / "store"), tmp_path)
    stock(shelf)
    script = (
        "import os, sys\n"
        "from tests.contract.test_prune_order import prune_and_die\n"
        "prune_and_die(sys.argv[1], int(sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path), str(step)]
    died = subprocess.run(command, cwd=Path(__file__).parents[2], check=False)
    shelf.now += 2 * DAY

    assert (CRASH, []) == (died.returncode, shelf.broken())
    _ends_clean(shelf)


def prune_and_die(directory: str, step: int) -> None:
    """Prune in this process, and end it before one call of the store, with nothing undone."""
    import os

    store = DirectoryStore(Path(directory) / "store")
    watched = Watched(store, Countdown(step, lambda: os._exit(CRASH)))
    shelf = Shelf(watched, Path(directory))
    shelf.now += timedelta(days=2)
    prune(shelf, policy_of(KEEP_ONE))


def _die() -> None:
    raise Killed


def _ends_clean(shelf: Shelf) -> None:
    """One more prune has nothing to complain of and leaves just what backups need."""
    pruned = prune(shelf, policy_of(KEEP_ONE))
    manifests = [shelf.catalog.manifest(backup) for backup in shelf.catalog.backups()]
    needed = {manifest.key.key for manifest in manifests}
    needed |= {manifest.archive.key for manifest in manifests}
    needed |= {manifest.record.key for manifest in manifests if manifest.record}
    needed |= {b.state_key(state) for b in shelf.catalog.backups() for state in b.states}

    assert ([], []) == (pruned.removal.refused, pruned.removal.skipped)
    assert sorted(needed) == shelf.objects()
    assert 5 == len(manifests)
