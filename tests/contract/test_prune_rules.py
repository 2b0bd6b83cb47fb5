"""What holds a backup back beside the rules themselves, and plans that are refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from backupd.layout import Kind
from backupd.policy import Job
from backupd.prune_guard import review
from backupd.retention import Verdict
from backupd.stores import Store
from backupd.stores.directory import DirectoryStore
from backupd.verbs.prune import Considered, GroupPlan
from backupd.verbs.prune_jobs import Listing, Order, carry_out, plan_jobs
from backupd.verbs.remove import Removal
from tests.contract.shelves import DAY, JOB, KEEP_ONE, NAME, Shelf, ids_of, policy_of, prune
from tests.contract.watched import Stubborn

HOUR = timedelta(hours=1)
SOURCE = (Kind.IMAGE, NAME)
GONE = {"keep_last": 1, "gone_after": "30d"}


@pytest.fixture
def shelf(store: Store, tmp_path: Path) -> Shelf:
    """A shelf in every store."""
    return Shelf(store, tmp_path)


@pytest.fixture
def local(tmp_path: Path) -> Shelf:
    """A shelf in a directory, for what depends on rules alone."""
    return Shelf(DirectoryStore(tmp_path / "store"), tmp_path)


def nothing(_: str, __: Job) -> set[Any]:
    """An engine that has nothing."""
    return set()


def everything(_: str, __: Job) -> set[Any]:
    """An engine that has the source."""
    return {SOURCE}


def test_a_pinned_backup_stays(shelf: Shelf) -> None:
    made = shelf.add_daily(3)
    shelf.pin(made[2])

    prune(shelf, policy_of(KEEP_ONE))

    assert [made[0].id, made[2].id] == shelf.ids()


def test_an_unpinned_backup_goes_when_the_rules_say_so(local: Shelf) -> None:
    made = local.add_daily(3)
    local.pin(made[2])
    local.store.delete([made[2].key.state_key("pinned")])

    prune(local, policy_of(KEEP_ONE))

    assert [made[0].id] == local.ids()


def test_a_backup_that_is_pinned_after_the_plan_was_made_stays(shelf: Shelf) -> None:
    made = shelf.add_daily(3)

    pruned = planned_then(shelf, lambda: shelf.pin(made[2]))

    assert [made[0].id, made[2].id] == shelf.ids()
    assert [f"backup {made[2].id} was pinned meanwhile: it stays"] == pruned.skipped


def test_a_backup_that_went_after_the_plan_was_made_is_no_trouble(local: Shelf) -> None:
    made = local.add_daily(3)

    pruned = planned_then(local, lambda: local.store.delete([made[2].key.key]))

    assert ([made[1].id], []) == ([backup.id for backup in pruned.backups], pruned.refused)


def test_damaged_backups_do_not_count_for_the_minimum(local: Shelf) -> None:
    made = [local.add(states=["damaged"]), local.add(DAY), local.add(2 * DAY), local.add(3 * DAY)]

    prune(local, policy_of({"keep_last": 1, "minimum": 2}))

    assert ids_of(made[:3]) == local.ids()


def test_a_backup_whose_archive_is_missing_does_not_count_for_the_minimum(local: Shelf) -> None:
    made = local.add_daily(3)
    local.store.delete([made[0].archive.key])

    prune(local, policy_of(KEEP_ONE))

    assert ids_of(made[:2]) == local.ids()


def test_an_archive_that_failed_a_check_is_no_better_under_another_backup(local: Shelf) -> None:
    bad = local.add(2 * DAY, name="app:2", states=["damaged"]).archive
    made = [local.add(archive=bad), local.add(DAY), local.add(3 * DAY)]

    prune(local, policy_of(KEEP_ONE, images=["app:1"]))

    assert set(ids_of(made[:2])) < set(local.ids())
    assert made[2].id not in local.ids()


def test_a_source_whose_backup_just_failed_is_not_pruned(local: Shelf) -> None:
    failed, fine = local.add_daily(3), local.add_daily(3, name="app:2")

    pruned = prune(local, policy_of(KEEP_ONE), failed={JOB: {SOURCE}})

    assert {*ids_of(failed), fine[0].id} == set(local.ids())
    assert [(JOB, NAME)] == pruned.left_alone


def test_of_a_repository_nothing_goes_when_one_of_its_tags_failed(local: Shelf) -> None:
    made = [*local.add_daily(3), *local.add_daily(3, name="app:2")]

    rules = {"keep_last": 1, "group": "repository"}
    prune(local, policy_of(rules), failed={JOB: {SOURCE}})

    assert set(ids_of(made)) == set(local.ids())


def test_a_source_that_is_gone_for_long_loses_its_minimum(local: Shelf) -> None:
    local.add_daily(3)

    prune(local, policy_of(GONE), present=nothing)
    local.now += 31 * DAY
    prune(local, policy_of(GONE), present=nothing)

    assert [] == local.objects()


def test_a_source_counts_as_gone_from_when_somebody_looked(local: Shelf) -> None:
    made = local.add(100 * DAY)

    prune(local, policy_of(GONE), present=nothing)
    local.now += 29 * DAY
    prune(local, policy_of(GONE), present=nothing)

    assert [made.id] == local.ids()


def test_a_source_that_came_back_in_between_begins_anew(local: Shelf) -> None:
    made = local.add(DAY)

    for present in (nothing, everything, nothing):
        prune(local, policy_of(GONE), present=present)
        local.now += 20 * DAY
    prune(local, policy_of(GONE), present=nothing)

    assert [made.id] == local.ids()


def test_an_engine_that_does_not_answer_makes_no_source_gone(local: Shelf) -> None:
    made = local.add(DAY)

    prune(local, policy_of(GONE))
    local.now += 400 * DAY
    prune(local, policy_of(GONE))

    assert [made.id] == local.ids()


def test_who_only_looks_does_not_start_the_count(local: Shelf) -> None:
    made = local.add(DAY)

    prune(local, policy_of(GONE), present=nothing, only_look=True)
    local.now += 400 * DAY
    prune(local, policy_of(GONE), present=nothing)

    assert [made.id] == local.ids()


def test_a_state_directory_that_was_lost_makes_no_source_gone_sooner(local: Shelf) -> None:
    made = local.add(DAY)
    prune(local, policy_of(GONE), present=nothing)
    local.now += 29 * DAY
    (local.state.path / "gone.json").write_text("{}")
    prune(local, policy_of(GONE), present=nothing)
    local.now += 29 * DAY

    prune(local, policy_of(GONE), present=nothing)

    assert [made.id] == local.ids()


def test_two_jobs_know_apart_which_sources_are_gone(local: Shelf) -> None:
    local.add(DAY)
    weekly = local.add(DAY, job="weekly")
    prune(local, policy_of(GONE), present=nothing)
    prune(local, policy_of(GONE, job="weekly"), present=everything, jobs=["weekly"])
    local.now += 31 * DAY

    prune(local, policy_of(GONE), present=nothing)

    assert [weekly.id] == local.ids()


def test_a_plan_whose_newest_backup_lies_in_the_future_is_refused(local: Shelf) -> None:
    made = [local.add(-2 * HOUR), *local.add_daily(3)]

    pruned = prune(local, policy_of(KEEP_ONE), yes=True)

    assert (["future"], ids_of(made)) == (pruned.objections, local.ids())


def test_a_backup_from_the_next_minutes_is_no_reason_to_refuse(local: Shelf) -> None:
    newest = local.add(-HOUR)
    local.add_daily(3)

    prune(local, policy_of(KEEP_ONE))

    assert [newest.id] == local.ids()


def test_a_plan_that_would_empty_a_source_is_refused_whoever_says_yes(shelf: Shelf) -> None:
    made = shelf.add_daily(3)
    listing = Listing.of(shelf.catalog)
    # No rules can say this, so it is said here.
    verdicts = [
        Verdict(Considered(backup, good=True), keep=False, reasons=(), rules=())
        for backup in listing.backups[JOB]
    ]
    plan = GroupPlan(JOB, Kind.IMAGE, NAME, verdicts, review(verdicts, now=shelf.now))

    removal = carry_out(shelf.site, shelf.catalog, listing, [plan], yes=True)

    assert ([], ids_of(made)) == (removal.backups, shelf.ids())


@pytest.mark.parametrize(("days", "left"), [(10, 1), (11, 11)])
def test_more_than_the_limit_needs_a_yes_from_the_eleventh_backup_on(
    local: Shelf, days: int, left: int
) -> None:
    local.add_daily(days)

    prune(local, policy_of(KEEP_ONE))

    assert left == len(local.ids())


def test_a_yes_overrules_the_limit(local: Shelf) -> None:
    made = local.add_daily(11)

    pruned = prune(local, policy_of(KEEP_ONE), yes=True)

    assert (["limit"], [made[0].id]) == (pruned.objections, local.ids())


def test_the_limit_is_the_policys(local: Shelf) -> None:
    made = local.add_daily(12)

    prune(local, policy_of({"keep_last": 2}, prune_limit="90%"))

    assert ids_of(made[:2]) == local.ids()


def test_a_refused_source_does_not_keep_others_from_being_pruned(local: Shelf) -> None:
    many, few = local.add_daily(11), local.add_daily(3, name="app:2")

    prune(local, policy_of(KEEP_ONE))

    assert {*ids_of(many), few[0].id} == set(local.ids())


def test_a_backup_that_cannot_go_keeps_the_mark_that_it_is_damaged(shelf: Shelf) -> None:
    made = shelf.add_daily(3, states=["damaged"])
    stays = made[2].key.key

    prune(shelf.through(Stubborn(shelf.store, lambda key: key == stays)), policy_of(KEEP_ONE))

    assert {made[0].id: {"damaged"}, made[2].id: {"damaged"}} == {
        backup.id: set(backup.states) for backup in shelf.catalog.backups()
    }


def planned_then(shelf: Shelf, act: Callable[[], object]) -> Removal:
    """What a prune did when something happened between its plan and its first deletion."""
    site, catalog = shelf.site, shelf.catalog
    listing = Listing.of(catalog)
    order = Order([JOB], shelf.now)
    plans = plan_jobs(site, policy_of(KEEP_ONE), catalog, listing, order, nothing)
    act()
    return carry_out(site, catalog, listing, plans)
