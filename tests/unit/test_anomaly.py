"""Backups that are much smaller than is usual for their source: found, told, and not acted upon."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from backupd.anomaly import shrinkage
from backupd.layout import Kind
from backupd.policy import Compression, Policy
from backupd.sources import Survey
from backupd.sources.image import ImageSource
from backupd.verbs.commit import Draft
from backupd.verbs.past import Past
from backupd.verbs.task import Task
from tests.contract.shelves import DAY, JOB, KEEP_ONE, NAME, NOW, Shelf, policy_of, prune
from tests.unit.proven import make_shelf
from tests.unit.runs import SAVED, VOICE, run
from tests.unit.test_telling_editor import Desk

ODD = replace(SAVED, oddity="it is 90 % smaller than usual")


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return make_shelf(tmp_path)


def is_odd(size_bytes: int, earlier: list[int], percent: int | None = 50) -> bool:
    return shrinkage(size_bytes, earlier, percent) != ""


@pytest.mark.parametrize(
    ("size_bytes", "earlier", "percent", "expected"),
    [
        (50, [100], 50, False),
        (49, [100], 50, True),
        (0, [100], 50, True),
        (49, [], 50, False),
        (1, [100], None, False),
        (0, [100], 100, False),
        (99, [100], 0, True),
        (0, [0], 0, False),
        (1000, [1], 50, False),
        (60, [100, 110, 120, 130, 140], 50, False),
        (59, [100, 110, 120, 130, 140], 50, True),
        (49, [100, 1, 1000], 50, True),
        (30, [50, 50, 50, 50, 50, 1000, 1000, 1000], 50, False),
    ],
)
def test_odd_is_what_lies_so_far_below_the_median_of_the_last_five(
    size_bytes: int, earlier: list[int], percent: int | None, expected: bool
) -> None:
    assert expected is is_odd(size_bytes, earlier, percent)


def test_the_sentence_says_by_how_much() -> None:
    assert "it is 90 % smaller than usual: 10 bytes, where the median of the last 3 is 100" in (
        shrinkage(10, [100, 90, 110], 50)
    )


def test_what_became_small_for_good_is_usual_after_three_backups() -> None:
    past = [100] * 5
    found = []
    for _ in range(4):
        found.append(is_odd(10, past))
        past = [10, *past]

    assert [True, True, True, False] == found


def test_the_sizes_of_a_source_are_those_of_its_newest_five(shelf: Shelf) -> None:
    shelf.add_daily(7)
    shelf.add(DAY, name="app:2")
    backups = shelf.catalog.backups()

    past = Past([*backups[3:], *backups[:3]])

    assert [4] * 5 == past.sizes_of(backups[-1].folder)
    assert NOW == past.newest_of(backups[-1].folder)


def draft(shelf: Shelf, percent: int | None, earlier: list[int]) -> Draft:
    task = Task(JOB, ImageSource(NAME), Compression(), "name", anomaly_percent=percent)
    return Draft(shelf.site, task, NOW, earlier_bytes=earlier)


@pytest.mark.parametrize(("percent", "states"), [(50, {"suspect"}), (None, set())])
def test_an_oddly_small_backup_is_kept_marked_and_warned_of(
    shelf: Shelf, percent: int | None, states: set[str]
) -> None:
    own = draft(shelf, percent, [1000, 1000])
    survey = Survey(0, images=shelf.add(DAY).images)

    key = own.commit(own.manifest(survey, shelf.add_archive()))

    [found] = [backup for backup in shelf.catalog.backups() if backup.id == key.id]
    warnings = shelf.catalog.manifest(found).warnings
    assert states == set(found.states)
    assert bool(states) is any("smaller than usual" in warning for warning in warnings)


def test_pruning_waits_while_the_newest_backup_is_suspect(shelf: Shelf) -> None:
    shelf.add(states=["suspect"])
    shelf.add(DAY)
    shelf.add(DAY * 2, name="app:2")
    kept = shelf.add(DAY, name="app:2")

    pruned = prune(shelf, policy_of(KEEP_ONE))

    assert ["suspect"] == pruned.objections
    assert [2, 1] == [
        sum(backup.name == name for backup in shelf.catalog.backups()) for name in (NAME, "app:2")
    ]
    assert kept.id in shelf.ids()


def test_a_yes_prunes_the_source_of_a_suspect(shelf: Shelf) -> None:
    suspect = shelf.add(states=["suspect"])
    shelf.add(DAY)

    prune(shelf, policy_of(KEEP_ONE), yes=True)

    assert [suspect.id] == shelf.ids()


def test_a_usual_backup_lets_pruning_go_on(shelf: Shelf) -> None:
    newest = shelf.add()
    shelf.add(DAY, states=["suspect"])
    shelf.add(DAY * 2)

    prune(shelf, policy_of(KEEP_ONE))

    assert [newest.id] == shelf.ids()


def test_a_plan_that_removes_nothing_needs_no_yes(shelf: Shelf) -> None:
    shelf.add(states=["suspect"])

    assert [] == prune(shelf, policy_of(KEEP_ONE)).objections


def policy(default: Any, own: Any) -> Policy:
    job = {"images": ["app:1"], **({} if own is None else {"anomaly": own})}
    defaults = {} if default is None else {"anomaly": default}
    return Policy.model_validate({"defaults": defaults, "jobs": {JOB: job}})


@pytest.mark.parametrize(
    ("default", "own", "expected"),
    [(None, None, None), ("50%", None, 50), ("50%", "20%", 20), ("50%", "0%", 0), (None, 30, 30)],
)
def test_a_job_says_what_is_odd_or_leaves_it_to_the_defaults(
    default: Any, own: Any, expected: int | None
) -> None:
    found = policy(default, own)

    assert expected == found.anomaly_of(found.jobs[JOB])


def test_a_share_that_proves_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="proves nothing"):
        Policy.model_validate({"verify": {"sample": "0%"}, "jobs": {JOB: {"images": ["a"]}}})


@pytest.mark.parametrize(
    ("when", "told"), [("failure", True), ("recovery", False), ("always", True)]
)
def test_an_odd_backup_is_told_like_a_failure_though_the_run_was_good(
    when: str, told: bool
) -> None:
    desk = Desk(when)

    assert told is desk.run(run("good", ODD))
    assert told is any("90 % smaller" in body for body in desk.bodies)


def test_a_failed_run_tells_of_its_odd_backups_too() -> None:
    body = VOICE.failed(run("failed", ODD), None).body

    assert f"- {ODD.kind} {ODD.name}: it is 90 % smaller than usual" in body.splitlines()


def test_kinds_of_one_name_have_sizes_of_their_own(shelf: Shelf) -> None:
    shelf.add(name="web", kind=Kind.CONTAINER)
    image = shelf.add(DAY, name="web")

    assert [4] == Past(shelf.catalog.backups()).sizes_of(image.key.folder)
