"""Which backups a prune may touch, and which it leaves alone whatever the rules say."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from backupd.catalog import Catalog
from backupd.layout import Kind, segment
from backupd.policy import Policy
from backupd.retention import Rules
from backupd.stores import Store
from backupd.stores.directory import DirectoryStore
from tests.contract.shelves import DAY, JOB, KEEP_ONE, Shelf, ids_of, policy_of, prune

LONG = "registry.example.com/" + "team/" * 40 + "app:1"
"""A name that is cut and hashed in keys."""


@pytest.fixture
def shelf(store: Store, tmp_path: Path) -> Shelf:
    """A shelf in every store."""
    return Shelf(store, tmp_path)


@pytest.fixture
def local(tmp_path: Path) -> Shelf:
    """A shelf in a directory, for what depends on names and rules alone."""
    return Shelf(DirectoryStore(tmp_path / "store"), tmp_path)


def test_prune_removes_what_no_rule_keeps_and_its_archives(shelf: Shelf) -> None:
    made = shelf.add_daily(3)

    pruned = prune(shelf, policy_of(KEEP_ONE))

    assert set(ids_of(made[1:])) == pruned.removed
    assert [made[0].id] == shelf.ids()
    assert sorted([made[0].key.key, made[0].archive.key]) == shelf.objects()


def test_a_source_is_no_part_of_one_whose_name_begins_like_it(shelf: Shelf) -> None:
    db = shelf.add_daily(3, name="db", kind=Kind.CONTAINER)
    other = shelf.add_daily(3, name="db2", kind=Kind.CONTAINER)

    pruned = prune(shelf, policy_of({"keep_last": 1}, images=["none"], containers=["db"]))

    assert set(ids_of(db[1:])) == pruned.removed
    assert [(JOB, "db2")] == pruned.left_alone
    assert set(ids_of(other)) <= set(shelf.ids())


def test_a_job_is_no_part_of_one_whose_name_begins_like_it(shelf: Shelf) -> None:
    mine = shelf.add_daily(3, job="db")
    others = shelf.add_daily(3, job="db2")

    pruned = prune(shelf, policy_of(KEEP_ONE, job="db"), jobs=["db"])

    assert set(ids_of(mine[1:])) == pruned.removed
    assert set(ids_of(others)) <= set(shelf.ids())


def test_an_image_is_no_part_of_the_registry_that_it_comes_from(shelf: Shelf) -> None:
    registry = shelf.add_daily(3, name="localhost:5000")
    image = shelf.add_daily(3, name="localhost:5000/app:1")

    prune(shelf, policy_of(KEEP_ONE, images=["localhost:5000"]))

    assert {registry[0].id, *ids_of(image)} == set(shelf.ids())


def test_prune_leaves_another_host_alone(shelf: Shelf) -> None:
    neighbour = replace(shelf, host=f"{shelf.host}2", made=[])
    shelf.add_daily(3)
    others = neighbour.add_daily(3)
    before = neighbour.objects()

    prune(shelf, policy_of(KEEP_ONE))

    assert before == neighbour.objects()
    assert ids_of(others) == neighbour.ids()


def test_prune_leaves_what_other_tools_put_below_the_prefix(shelf: Shelf) -> None:
    made = shelf.add_daily(3)
    going = made[2]
    foreign = [
        f"{shelf.host}/backups/{JOB}/image/{segment('app:1')}/notes.txt",
        f"{shelf.host}/backups/{JOB}/image/{segment('app:1')}/20200101T000000.000Z.json",
        f"{going.key.key}.bak",
        f"{going.archive.key}.bak",
        f"{going.archive.key}.orig.zst",
        f"{shelf.host}/archives/image/{going.archive.id}.tar.zst",
        f"{shelf.host}/archives/picture/app/{going.archive.id}.tar.zst",
        f"{shelf.host}/archives/image/%61pp/{going.archive.id}.tar.zst",
        f"{shelf.host}/elsewhere/image/app/{going.archive.id}.tar.zst",
    ]
    for key in foreign:
        shelf.store.put_bytes(key, b"not ours")

    shelf.now += 40 * DAY
    prune(shelf, policy_of(KEEP_ONE))

    assert sorted([*foreign, made[0].key.key, made[0].archive.key]) == shelf.objects()


def test_a_source_with_a_long_name_is_pruned_like_any_other(shelf: Shelf) -> None:
    made = shelf.add_daily(3, name=LONG)

    pruned = prune(shelf, policy_of(KEEP_ONE, images=[LONG]))

    assert (set(ids_of(made[1:])), []) == (pruned.removed, pruned.left_alone)


def test_a_long_name_still_fits_the_glob_that_selected_it(local: Shelf) -> None:
    made = local.add_daily(3, name=LONG)

    pruned = prune(local, policy_of(KEEP_ONE, images=["registry.example.com/**"]))

    assert set(ids_of(made[1:])) == pruned.removed


def test_a_long_name_that_just_failed_is_not_pruned(local: Shelf) -> None:
    local.add_daily(3, name=LONG)

    pruned = prune(local, policy_of(KEEP_ONE), failed={JOB: {(Kind.IMAGE, LONG)}})

    assert set() == pruned.removed


def test_names_are_judged_each_by_itself(local: Shelf) -> None:
    one, two = local.add_daily(3, name="app:1"), local.add_daily(3, name="app:2")

    prune(local, policy_of(KEEP_ONE))

    assert {one[0].id, two[0].id} == set(local.ids())


def test_all_tags_of_a_repository_are_judged_together_where_the_policy_says_so(
    local: Shelf,
) -> None:
    old = local.add(9 * DAY, name="reg:5000/app:1")
    tags = [local.add(DAY * day, name=f"reg:5000/app:{9 - day}") for day in range(3)]
    other = local.add(9 * DAY, name="reg:5000/app2:1")

    prune(local, policy_of({"keep_last": 3, "group": "repository"}))

    assert {*ids_of(tags), other.id} == set(local.ids())
    assert old.id not in local.ids()


def test_in_a_repository_the_tags_that_the_policy_no_longer_names_are_left_alone(
    local: Shelf,
) -> None:
    dropped = local.add(9 * DAY, name="app:1", selected_by="name")
    named = local.add_daily(3, name="app:2", selected_by="name")

    rules = {"keep_last": 1, "group": "repository"}
    pruned = prune(local, policy_of(rules, images=["app:2"]))

    assert {named[0].id, dropped.id} == set(local.ids())
    assert [(JOB, "app:1")] == pruned.left_alone


def test_a_job_that_the_policy_no_longer_names_is_left_alone_and_said_so(local: Shelf) -> None:
    made = local.add_daily(3, job="retired")

    pruned = prune(local, policy_of(KEEP_ONE))

    assert [("retired", "app:1")] == pruned.left_alone
    assert ids_of(made) == local.ids()


def test_a_literal_that_the_policy_no_longer_names_is_left_alone_and_said_so(
    local: Shelf,
) -> None:
    made = local.add_daily(3, name="app:1", selected_by="name")

    pruned = prune(local, policy_of(KEEP_ONE, images=["app:2"]))

    assert [(JOB, "app:1")] == pruned.left_alone
    assert ids_of(made) == local.ids()


@pytest.mark.parametrize("job", ["retired", JOB])
def test_a_person_may_prune_what_the_policy_no_longer_names(local: Shelf, job: str) -> None:
    made = local.add_daily(5, job=job, selected_by="name")

    policy = policy_of(KEEP_ONE, images=["app:2"])
    pruned = prune(local, policy, jobs=[job], rules=Rules(keep_last=3))

    assert (ids_of(made[:3]), []) == (local.ids(), pruned.left_alone)


def test_a_source_that_vanished_from_a_globs_matches_is_still_the_globs(local: Shelf) -> None:
    made = local.add_daily(3, name="app:1")

    prune(local, policy_of(KEEP_ONE, images=["app:*"]))

    assert [made[0].id] == local.ids()


def test_what_a_job_excludes_by_now_is_left_alone(local: Shelf) -> None:
    local.add_daily(3, name="app:1")
    policy = Policy.model_validate(
        {"jobs": {JOB: {"images": ["app:*"], "exclude": ["app:1"], "retention": KEEP_ONE}}}
    )

    assert [(JOB, "app:1")] == prune(local, policy).left_alone


@pytest.mark.parametrize(
    ("selector", "selected_by"), [({"label": "keep"}, "label"), ({"in_use": True}, "in_use")]
)
def test_a_source_that_a_label_or_use_selected_stays_theirs_when_it_vanished(
    local: Shelf, selector: object, selected_by: str
) -> None:
    theirs = local.add_daily(3, name="app:1", selected_by=selected_by)
    named = local.add_daily(3, name="app:2", selected_by="name")

    pruned = prune(local, policy_of(KEEP_ONE, images=[selector]))

    assert {theirs[0].id, *ids_of(named)} == set(local.ids())
    assert [(JOB, "app:2")] == pruned.left_alone


def test_a_source_whose_newest_manifest_is_unreadable_is_left_alone(local: Shelf) -> None:
    made = local.add_daily(3, selected_by="label")
    local.store.put_bytes(made[0].key.key, b"{}")

    pruned = prune(local, policy_of(KEEP_ONE, images=[{"label": "keep"}]))

    assert [(JOB, "app:1")] == pruned.left_alone


def test_another_hosts_prune_removes_manifests_and_leaves_the_archives_to_their_owner(
    shelf: Shelf,
) -> None:
    made = shelf.add_daily(3, states=["damaged"])
    admin = replace(shelf, host="admin", machine="admin")

    prune(admin, policy_of(KEEP_ONE), of=Catalog(shelf.store, shelf.host), yes=True)

    assert ([made[0].id], 3) == (shelf.ids(), len(shelf.archive_ids()))
    assert 1 == sum(key.endswith(".damaged") for key in shelf.objects())


def test_the_owner_sweeps_the_archives_that_another_hosts_prune_left(shelf: Shelf) -> None:
    made = shelf.add_daily(3)
    admin = replace(shelf, host="admin", machine="admin")
    prune(admin, policy_of(KEEP_ONE), of=Catalog(shelf.store, shelf.host))

    shelf.now += timedelta(days=2)
    prune(shelf, policy_of(KEEP_ONE))

    assert {made[0].archive.id} == shelf.archive_ids()


def test_another_hosts_sources_are_not_looked_for_on_this_machines_engine(local: Shelf) -> None:
    made = local.add_daily(3)
    admin = replace(local, host="admin", machine="admin", now=local.now + 400 * DAY)
    policy = policy_of({"keep_last": 2, "gone_after": "1d"})

    prune(admin, policy, of=Catalog(local.store, local.host), present=lambda *_: set())
    admin.now += 400 * DAY
    prune(admin, policy, of=Catalog(local.store, local.host), present=lambda *_: set())

    assert ids_of(made[:2]) == local.ids()
