"""Prune while backups reuse, and restores read, the very archives that are to go."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from backupd.manifest import Manifest
from backupd.named_lately import LISTED_WITHIN
from backupd.stores import Store
from backupd.verbs.backup import Outcome
from backupd.verbs.remove import Removal, remove
from tests.contract.shelves import DAY, KEEP_ONE, Shelf, policy_of, prune
from tests.contract.sources import FakeImage, back_up
from tests.contract.watched import Call, Countdown, Lagging, Watched

A_MOMENT_SECONDS = 0.1
"""How long to wait for what has most likely to wait for us: a lock that is held."""

OLD, NEW = FakeImage("app:1", "old"), FakeImage("app:1", "new")
AGAIN = FakeImage("app:2", "old")
"""Another tag of the image whose archive is about to go."""


@pytest.fixture
def shelf(store: Store, tmp_path: Path) -> Shelf:
    """A shelf in every store."""
    return Shelf(store, tmp_path)


class Beside:
    """Something that is done in a thread of its own."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._result: list[object] = []
        self._thread = threading.Thread(target=lambda: self._result.append(act()))

    def begin(self) -> None:
        """Start it; comes back when it is done, or waits for a lock of ours."""
        self._thread.start()
        self.wait_a_moment()

    def wait_a_moment(self) -> None:
        """Come back when it is done, or most likely waits for a lock of ours."""
        self._thread.join(A_MOMENT_SECONDS)

    def result(self) -> object:
        """What it returned, once it is done."""
        self._thread.join()
        (result,) = self._result
        return result


class PausedAfterReading(Watched):
    """A store that answers who reads a manifest only when it is told to go on."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, lambda call: None)
        self._reached, self._released = threading.Event(), threading.Event()

    def get_bytes(self, key: str, *, limit_bytes: int) -> bytes:
        data = super().get_bytes(key, limit_bytes=limit_bytes)
        if "/backups/" in key:
            self._reached.set()
            assert self._released.wait(60)
        return data

    def wait_for_it(self) -> None:
        """Come back when somebody has read a manifest."""
        assert self._reached.wait(60)

    def go_on(self) -> None:
        """Let the reader have it."""
        self._released.set()


def saved(outcome: object) -> Manifest:
    """The manifest of a backup that went well."""
    assert isinstance(outcome, Outcome)
    assert outcome.error is None, outcome.error
    assert outcome.manifest is not None
    return outcome.manifest


def about_to_lose(shelf: Shelf) -> Manifest:
    """A shelf whose next prune removes the returned backup, and its archive."""
    old = saved(back_up(shelf, OLD))
    shelf.now += DAY
    saved(back_up(shelf, NEW))
    shelf.now += DAY
    return old


def test_an_image_whose_archive_is_still_there_is_not_uploaded_again(shelf: Shelf) -> None:
    old = about_to_lose(shelf)

    again = saved(back_up(shelf, AGAIN))

    assert (True, old.archive.key) == (again.reused, again.archive.key)


def test_a_backup_at_any_step_of_a_prune_never_ends_without_its_archive(shelf: Shelf) -> None:
    reused = set()
    for step in range(1, 100):
        host = replace(shelf, host=f"web{step}", directory=shelf.directory / str(step))
        about_to_lose(host)
        beside = Beside(lambda host=host: back_up(host, AGAIN))  # type: ignore[misc]
        countdown = Countdown(step, beside.begin)
        prune(host.through(Watched(host.store, countdown)), policy_of(KEEP_ONE))
        if len(countdown.calls) < step:
            break
        reused.add(saved(beside.result()).reused)
        assert ([], 2) == (host.broken(), len(host.ids())), countdown.calls[-1]

    # Before the removal began it was reused, and afterwards it was uploaded anew.
    assert {True, False} == reused


def test_a_prune_at_any_step_of_a_backup_never_takes_its_archive(shelf: Shelf) -> None:
    reused = set()
    for step in range(1, 100):
        host = replace(shelf, host=f"web{step}", directory=shelf.directory / str(step))
        about_to_lose(host)
        beside = Beside(lambda host=host: prune(host, policy_of(KEEP_ONE)))  # type: ignore[misc]
        countdown = Countdown(step, beside.begin)
        watched = host.through(Watched(host.store, countdown))
        again = saved(back_up(watched, AGAIN))
        if len(countdown.calls) < step:
            break
        beside.result()
        reused.add(again.reused)
        assert ([], 2) == (host.broken(), len(host.ids())), countdown.calls[-1]

    assert {True, False} == reused


@pytest.mark.parametrize("state", ["", "another"], ids=["one state", "two states"])
def test_a_backup_that_found_its_archive_before_the_prune_began_never_ends_without_it(
    state: str, shelf: Shelf
) -> None:
    for step in range(1, 100):
        host = replace(shelf, host=f"web{step}", directory=shelf.directory / str(step))
        about_to_lose(host)
        paused = PausedAfterReading(host.store)
        other = replace(host, directory=host.directory / state).through(paused)
        backup = Beside(lambda other=other: back_up(other, AGAIN))  # type: ignore[misc]
        backup.begin()
        paused.wait_for_it()

        def go_on(paused: PausedAfterReading = paused, backup: Beside = backup) -> None:
            paused.go_on()
            backup.wait_a_moment()

        countdown = Countdown(step, go_on)
        prune(host.through(Watched(host.store, countdown)), policy_of(KEEP_ONE))
        paused.go_on()
        saved(backup.result())
        assert ([], 2) == (host.broken(), len(host.ids())), f"at step {step} of the prune"
        if len(countdown.calls) < step:
            break


def test_a_reuse_whose_archive_a_stranger_deletes_is_withdrawn_and_uploaded_anew(
    shelf: Shelf,
) -> None:
    old = about_to_lose(shelf)

    def delete_it(call: Call) -> None:
        if call.act == "put_bytes" and "/backups/" in call.key:
            shelf.store.delete([old.archive.key])

    again = saved(back_up(shelf.through(Watched(shelf.store, delete_it)), AGAIN))
    of_again = [b for b in shelf.catalog.backups() if b.name == AGAIN.name]

    assert (False, [again.id]) == (again.reused, [backup.id for backup in of_again])
    assert shelf.catalog.archive_is_whole(again)


def test_a_reuse_that_is_not_listed_yet_keeps_its_archive(shelf: Shelf) -> None:
    old = saved(back_up(shelf, OLD))
    shelf.now += DAY
    again = saved(back_up(shelf, AGAIN))

    removal = removed(shelf.through(Lagging(shelf.store, again.key.key)), old)

    assert (True, [old.id]) == (again.reused, [backup.id for backup in removal.backups])
    assert ([again.id], []) == (shelf.ids(), shelf.broken())


def test_an_archive_that_a_reuse_keeps_goes_with_the_reuse(shelf: Shelf) -> None:
    old = saved(back_up(shelf, OLD))
    shelf.now += DAY
    again = saved(back_up(shelf, AGAIN))
    removed(shelf.through(Lagging(shelf.store, again.key.key)), old)

    removed(shelf, again)

    assert ([], set()) == (shelf.ids(), shelf.archive_ids())


def test_what_was_not_listed_within_an_hour_is_believed_to_be_gone(shelf: Shelf) -> None:
    old = saved(back_up(shelf, OLD))
    shelf.now += DAY
    again = saved(back_up(shelf, AGAIN))
    shelf.store.delete([again.key.key])
    shelf.now += LISTED_WITHIN

    removed(shelf, old)

    assert set() == shelf.archive_ids()


def test_an_image_is_uploaded_anew_where_a_reuse_cannot_be_noted(shelf: Shelf) -> None:
    old = saved(back_up(shelf, OLD))
    shelf.now += DAY
    (shelf.state.folder(".") / f"named-lately-{shelf.host}.json").mkdir()

    again = saved(back_up(shelf, AGAIN))

    assert (False, True) == (again.reused, again.archive.key != old.archive.key)
    assert "uploaded anew although it is unchanged: cannot use the state" in again.warnings[0]


def test_a_backup_that_is_being_restored_stays_and_so_does_its_archive(shelf: Shelf) -> None:
    made = shelf.add_daily(3)

    with shelf.state.reading(made[1].archive.id):
        during = prune(shelf, policy_of(KEEP_ONE))

    assert {made[2].id} == during.removed
    assert [f"backup {made[1].id} is being restored: it stays for now"] == during.removal.skipped
    assert [made[0].id, made[1].id] == shelf.ids()
    assert [] == shelf.broken()


def test_a_backup_whose_restore_ended_goes_the_next_time(shelf: Shelf) -> None:
    made = shelf.add_daily(2)
    with shelf.state.reading(made[1].archive.id):
        prune(shelf, policy_of(KEEP_ONE))

    prune(shelf, policy_of(KEEP_ONE))

    assert [made[0].id] == shelf.ids()


def test_two_restores_of_one_archive_both_hold_it(shelf: Shelf) -> None:
    made = shelf.add_daily(2)

    with shelf.state.reading(made[1].archive.id):
        with shelf.state.reading(made[1].archive.id):
            pass
        prune(shelf, policy_of(KEEP_ONE))

    assert [made[0].id, made[1].id] == shelf.ids()


def test_a_restore_that_begins_after_its_manifest_went_keeps_the_archive(shelf: Shelf) -> None:
    made = shelf.add_daily(2)

    with reading_once(shelf, made[1]) as hold:

        def begin(call: Call) -> None:
            if call.act == "list" and not shelf.store.size(made[1].key.key):
                hold()

        removal = removed(shelf.through(Watched(shelf.store, begin)), made[1])

    assert ([made[1].id], []) == ([backup.id for backup in removal.backups], removal.archives)
    assert made[1].archive.id in shelf.archive_ids()


def test_an_archive_that_a_restore_kept_is_swept_later(shelf: Shelf) -> None:
    made = shelf.add_daily(2)
    with reading_once(shelf, made[1]) as hold:
        hold()
        shelf.store.delete([made[1].key.key])
        shelf.now += 2 * DAY
        prune(shelf, policy_of(KEEP_ONE))
        during = shelf.archive_ids()

    prune(shelf, policy_of(KEEP_ONE))

    assert made[1].archive.id in during
    assert {made[0].archive.id} == shelf.archive_ids()


def test_a_restore_that_died_holds_nothing_and_is_forgotten(shelf: Shelf) -> None:
    made = shelf.add_daily(2)
    locks = shelf.state.folder("locks")
    (locks / f"reading-{made[1].archive.id}-4000000-0123abcd.lock").write_text("[]")

    prune(shelf, policy_of(KEEP_ONE))

    assert [made[0].id] == shelf.ids()
    assert [] == list(locks.glob("reading-*"))


def test_a_restore_that_is_forgotten_before_it_has_its_lock_takes_another(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, opened = shelf.state, os.open

    def open_and_lose(path: str | Path, *arguments: int) -> int:
        handle = opened(path, *arguments)
        if "reading-" in str(path):
            # What `archives_being_read` does in another process, at the worst moment.
            monkeypatch.setattr(os, "open", opened)
            Path(path).unlink()
        return handle

    monkeypatch.setattr(os, "open", open_and_lose)

    with state.reading("0123456789abcdef-0123456789ab"):
        assert {"0123456789abcdef-0123456789ab"} == state.archives_being_read()


@contextmanager
def reading_once(shelf: Shelf, manifest: Manifest) -> Iterator[Callable[[], None]]:
    """A restore that begins when it is told to, and lasts until the end of the block."""
    begun, end = threading.Event(), threading.Event()

    def restore() -> None:
        with shelf.state.reading(manifest.archive.id):
            begun.set()
            end.wait(60)

    thread = threading.Thread(target=restore)

    def hold() -> None:
        if not begun.is_set():
            thread.start()
            begun.wait(60)

    try:
        yield hold
    finally:
        end.set()
        thread.join()


def removed(shelf: Shelf, manifest: Manifest) -> Removal:
    """What `backupd forget` does with this one backup."""
    return remove(shelf.site, shelf.catalog, [manifest.key], "forget")
