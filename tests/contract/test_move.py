"""Renamed jobs and replaced hosts: manifests move, archives stay, and nothing is lost between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from backupd.catalog import Catalog
from backupd.errors import DamagedBackup, NotFound, StoreError, UsageError
from backupd.layout import Kind
from backupd.manifest import Manifest
from backupd.stores import Store
from backupd.verbs.move import adopt, rename_job
from backupd.verbs.remove import remove
from tests.contract.shelves import DAY, JOB, KEEP_ONE, Shelf, ids_of, policy_of, prune
from tests.contract.sources import FakeImage, back_up
from tests.contract.watched import Countdown, Killed, Lagging, Stubborn, Watched

OLD_HOST, NEW_HOST = "old-name", "new-name"
IMAGE = FakeImage("app:1")


@pytest.fixture
def shelf(store: Store, tmp_path: Path) -> Shelf:
    """A shelf in every store."""
    return Shelf(store, tmp_path)


@pytest.fixture
def old(store: Store, tmp_path: Path) -> Shelf:
    """The machine that is to be replaced, with a past."""
    shelf = Shelf(store, tmp_path, host=OLD_HOST, machine="old")
    shelf.catalog.claim(shelf.state.machine_id(), shelf.now)
    made = shelf.add_daily(2)
    shelf.add(3 * DAY, archive=made[1].archive)
    shelf.pin(shelf.add(9 * DAY, kind=Kind.CONTAINER, name="web"))
    return shelf


@pytest.fixture
def new(old: Shelf) -> Shelf:
    """The machine that replaces it."""
    return replace(old, host=NEW_HOST, machine="new", made=[])


def pinned(shelf: Shelf) -> list[str]:
    return [backup.id for backup in shelf.catalog.backups() if "pinned" in backup.states]


def listed(*shelves: Shelf) -> set[str]:
    return {made_id for shelf in shelves for made_id in shelf.ids()}


def archives(shelf: Shelf) -> list[str]:
    return sorted(entry.key for entry in shelf.store.list("") if "/archives/" in entry.key)


def test_a_renamed_job_keeps_its_backups_with_ids_and_pins(shelf: Shelf) -> None:
    made = shelf.add_daily(3)
    shelf.store.put_bytes(made[1].key.state_key("pinned"), b"a note")
    before = archives(shelf)

    moved = rename_job(shelf.site, JOB, "every-night")
    backups = {backup.id: backup for backup in shelf.catalog.backups()}

    assert (3, ids_of(made), [made[1].id]) == (moved, shelf.ids(), pinned(shelf))
    assert {"every-night"} == {backup.job for backup in backups.values()}
    assert (before, []) == (archives(shelf), shelf.broken())
    note = backups[made[1].id].state_key("pinned")
    assert b"a note" == shelf.store.get_bytes(note, limit_bytes=10)


def test_nothing_is_left_under_the_old_name_of_a_job(shelf: Shelf) -> None:
    shelf.add_daily(3, states=["damaged"])

    rename_job(shelf.site, JOB, "every-night")

    assert [] == list(shelf.store.list(f"{shelf.host}/backups/{JOB}/"))


def test_a_renamed_job_is_pruned_under_its_new_name(shelf: Shelf) -> None:
    made = shelf.add_daily(3)
    rename_job(shelf.site, JOB, "every-night")

    prune(shelf, policy_of(KEEP_ONE, job="every-night"))

    assert ([made[0].id], {made[0].archive.id}) == (shelf.ids(), shelf.archive_ids())


def test_a_job_that_has_no_backups_cannot_be_renamed(shelf: Shelf) -> None:
    shelf.add(job="nightly2")

    with pytest.raises(NotFound, match="cannot rename job 'nightly': it has no backups"):
        rename_job(shelf.site, JOB, "every-night")


def test_an_unreadable_manifest_stays_under_the_old_name_and_the_others_move(
    shelf: Shelf,
) -> None:
    made = shelf.add_daily(3)
    shelf.store.put_bytes(made[1].key.key, b"{}")

    with pytest.raises(DamagedBackup, match=f"cannot move 1 of 3 .*{made[1].id}"):
        rename_job(shelf.site, JOB, "every-night")

    jobs = {backup.id: backup.job for backup in shelf.catalog.backups()}
    expected = {made[0].id: "every-night", made[1].id: JOB, made[2].id: "every-night"}
    assert expected == jobs


@pytest.mark.parametrize("cause", ["may not delete", None])
def test_a_store_that_keeps_the_old_manifests_is_told(shelf: Shelf, cause: str | None) -> None:
    shelf.add_daily(2)
    stubborn = shelf.through(Stubborn(shelf.store, lambda _: True, cause=cause))

    with pytest.raises(StoreError, match="listed under both names"):
        rename_job(stubborn.site, JOB, "every-night")
    rename_job(shelf.site, JOB, "every-night")

    assert ["every-night"] * 2 == [backup.job for backup in shelf.catalog.backups()]


def test_a_rename_killed_at_any_step_loses_nothing_and_can_be_repeated(shelf: Shelf) -> None:
    def end(host: Shelf) -> None:
        if host.catalog.backups(JOB):
            rename_job(host.site, JOB, "every-night")

    steps = 0
    for step in range(1, 100):
        host = replace(shelf, host=f"web{step}", made=[])
        made = host.add_daily(2)
        host.pin(made[1])
        if not killed(host, step, lambda one: rename_job(one.site, JOB, "every-night")):
            break
        steps += 1
        assert ([], {made[0].id, made[1].id}) == (host.broken(), set(host.ids()))
        prune(host, policy_of(KEEP_ONE, job="every-night"))
        assert ([], True) == (host.broken(), made[1].id in pinned(host))
        end(host)
        assert [made[0].id, made[1].id] == host.ids()
        assert ([made[1].id], []) == (pinned(host), host.broken())

    assert steps > 8


def test_adopt_without_another_host_hands_the_prefix_to_this_machine(old: Shelf) -> None:
    reinstalled = replace(old, machine="reinstalled")
    with pytest.raises(StoreError, match="run `backupd adopt` if it replaces that machine"):
        reinstalled.catalog.require_ours(reinstalled.state.machine_id())

    adopt(reinstalled.site, None)

    reinstalled.catalog.require_ours(reinstalled.state.machine_id())
    with pytest.raises(StoreError, match="another machine"):
        old.catalog.require_ours(old.state.machine_id())


def test_adopt_writes_anew_a_host_json_that_nobody_can_read(old: Shelf) -> None:
    old.store.put_bytes(f"{OLD_HOST}/host.json", b"not ours")
    with pytest.raises(StoreError, match="run `backupd adopt` to write it anew"):
        prune(old, policy_of(KEEP_ONE))

    adopt(old.site, None)

    assert old.catalog.require_ours(old.state.machine_id()) is not None


def test_an_adopted_hosts_backups_move_with_ids_and_pins_and_archives_stay(
    old: Shelf, new: Shelf
) -> None:
    ids, pins, before = old.ids(), pinned(old), archives(old)

    moved = adopt(new.site, OLD_HOST)

    assert (4, ids, pins, []) == (moved, new.ids(), pinned(new), old.ids())
    assert (before, []) == (archives(new), new.broken())


def test_the_old_machine_is_refused_from_then_on(old: Shelf, new: Shelf) -> None:
    adopt(new.site, OLD_HOST)

    with pytest.raises(StoreError, match="host 'new-name' adopted the backups of 'old-name'"):
        back_up(old, IMAGE)


def test_the_new_machine_is_refused_under_the_old_name_too(old: Shelf, new: Shelf) -> None:
    adopt(new.site, OLD_HOST)
    under_old_name = replace(new, host=OLD_HOST)

    with pytest.raises(StoreError, match="back up under that name"):
        back_up(under_old_name, IMAGE)


def test_an_adopted_archive_is_reused(old: Shelf, new: Shelf) -> None:
    first = back_up(old, IMAGE, job="weekly").manifest
    adopt(new.site, OLD_HOST)
    new.now += DAY

    again = back_up(new, IMAGE, job="weekly").manifest

    assert first is not None
    assert again is not None
    assert (True, first.archive.key) == (again.reused, again.archive.key)


def test_an_adopted_archive_that_nobody_names_any_more_goes(old: Shelf, new: Shelf) -> None:
    adopt(new.site, OLD_HOST)

    prune(new, policy_of(KEEP_ONE))
    manifests = [new.catalog.manifest(backup) for backup in new.catalog.backups()]

    assert 2 == len(manifests)  # the newest of app:1, and web, which is pinned
    assert _needed(manifests) == set(archives(new))


def test_orphans_of_an_adopted_host_are_swept(old: Shelf, new: Shelf) -> None:
    orphan = old.add_archive()
    adopt(new.site, OLD_HOST)

    new.now += 2 * DAY
    prune(new, policy_of(KEEP_ONE))

    assert (False, []) == (orphan.id in new.archive_ids(), new.broken())


def test_what_did_not_move_yet_keeps_its_archives_in_a_sweep(old: Shelf, new: Shelf) -> None:
    made = old.add(20 * DAY, name="stuck")
    old.store.put_bytes(made.key.key, b"{}")
    with pytest.raises(DamagedBackup):
        adopt(new.site, OLD_HOST)

    new.now += 2 * DAY
    prune(new, policy_of(KEEP_ONE))

    assert made.archive.id in new.archive_ids()


def test_an_adoption_killed_at_any_step_loses_nothing_and_can_be_repeated(shelf: Shelf) -> None:
    steps = 0
    for step in range(1, 100):
        old = replace(shelf, host=f"old{step}", machine="old", made=[])
        new = replace(shelf, host=f"new{step}", machine="new", made=[])
        old.catalog.claim(old.state.machine_id(), old.now)
        made = old.add_daily(3)
        old.pin(made[1])
        if not killed(new, step, lambda one, name=old.host: adopt(one.site, name)):  # type: ignore[misc]
            break
        steps += 1
        assert ([], [], set(ids_of(made))) == (old.broken(), new.broken(), listed(old, new))
        # Long after, with whatever has moved by then.
        prune(replace(new, now=new.now + 2 * DAY), policy_of(KEEP_ONE))
        assert ([], []) == (old.broken(), new.broken())
        adopt(new.site, old.host)
        prune(new, policy_of(KEEP_ONE))
        assert (ids_of(made[:2]), [made[1].id]) == (new.ids(), pinned(new))
        assert ([], []) == (new.broken(), old.ids())

    assert steps > 12


def test_a_new_machine_with_the_old_name_cannot_take_the_archives_of_the_adopted(
    old: Shelf, new: Shelf
) -> None:
    adopt(new.site, OLD_HOST)
    namesake = replace(old, machine="namesake", now=old.now + 2 * DAY)

    with pytest.raises(UsageError, match="'new-name' adopted its backups"):
        adopt(namesake.site, None)
    with pytest.raises(StoreError, match="adopted the backups"):
        namesake.catalog.require_ours(namesake.state.machine_id())

    assert [] == new.broken()


def test_a_third_host_cannot_adopt_what_was_adopted(old: Shelf, new: Shelf) -> None:
    adopt(new.site, OLD_HOST)
    third = replace(old, host="third", machine="third")

    with pytest.raises(UsageError, match="or adopt from 'new-name'"):
        adopt(third.site, OLD_HOST)


def test_a_host_that_was_renamed_twice_still_has_its_first_archives(old: Shelf, new: Shelf) -> None:
    ids = old.ids()
    adopt(new.site, OLD_HOST)
    third = replace(old, host="third", machine="third")

    adopt(third.site, NEW_HOST)
    third.now += 2 * DAY
    prune(third, policy_of(None))

    assert (ids, []) == (third.ids(), third.broken())
    assert ["third", NEW_HOST, OLD_HOST] == third.catalog.family()


@pytest.mark.parametrize("detour", [False, True])
def test_a_host_can_get_its_old_name_back(old: Shelf, new: Shelf, *, detour: bool) -> None:
    ids, last = old.ids(), NEW_HOST
    adopt(new.site, OLD_HOST)
    if detour:
        last = "third"
        adopt(replace(old, host="third", machine="third").site, NEW_HOST)

    adopt(old.site, last)
    old.now += 2 * DAY
    prune(old, policy_of(None))

    assert (ids, []) == (old.ids(), old.broken())
    assert old.catalog.require_ours(old.state.machine_id()) is not None


def test_a_host_that_is_not_there_cannot_be_adopted(new: Shelf) -> None:
    with pytest.raises(NotFound, match="no such host"):
        adopt(new.site, "nobody")


def test_a_host_cannot_adopt_itself(new: Shelf) -> None:
    with pytest.raises(UsageError, match="leave out --from"):
        adopt(new.site, NEW_HOST)


def test_catalogs_of_other_hosts_see_where_the_archives_are(old: Shelf, new: Shelf) -> None:
    adopt(new.site, OLD_HOST)
    seen = Catalog(old.store, NEW_HOST)

    assert {backup.archive_id for backup in seen.backups()} <= seen.archives().keys()


def killed(shelf: Shelf, step: int, act: Callable[[Shelf], object]) -> bool:
    """Whether `act` was killed before this call of the store; false when it ended before."""

    def die() -> None:
        raise Killed

    try:
        act(shelf.through(Watched(shelf.store, Countdown(step, die))))
    except Killed:
        return True
    return False


def _needed(manifests: list[Manifest]) -> set[str]:
    records = {manifest.record.key for manifest in manifests if manifest.record}
    return {manifest.archive.key for manifest in manifests} | records


def test_backups_that_moved_and_are_not_listed_yet_keep_their_archives(shelf: Shelf) -> None:
    made = shelf.add()
    rename_job(shelf.site, JOB, "daily")
    shelf.store.put_bytes(made.key.key, made.to_json())  # as a listing that lags shows it still
    moved = next(backup for backup in shelf.catalog.backups() if backup.job == "daily")

    behind = shelf.through(Lagging(shelf.store, moved.key))
    remove(behind.site, behind.catalog, [made.key], "forget")

    assert [] == shelf.broken()
