"""What the daemon's listeners see and hear of it: how jobs stand, and what a success is."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backupd.cli.daemon import view_of
from backupd.daemon.generation import Generation
from backupd.daemon.ledger import Ledger
from backupd.daemon.listeners import Listeners
from backupd.history import History
from backupd.policy import Policy
from backupd.run_record import PRUNE, Past, RunRecord, SourceRecord
from backupd.site import Site
from backupd.state import StateDir
from backupd.telling.judgement import Judgement
from backupd.telling.view import Outlook
from backupd.verbs.status import standings_of
from tests.unit.runs import FAILED, SAVED, START, UNCHANGED, run

DAY = timedelta(days=1)
RUNS = (
    run("good", SAVED, UNCHANGED),
    run("good"),
    run("good", job=PRUNE),
    run("failed", SAVED, FAILED),
    run("interrupted"),
    run("skipped", FAILED),
)


NOWHERE = StateDir(Path("/nonexistent"))


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    kept = History.open(StateDir(tmp_path))
    yield kept
    kept.close()


def never(_: Policy) -> AbstractContextManager[Site]:
    raise AssertionError("nothing runs here")


def daily(moment: datetime) -> str:
    return f"{moment.minute} {moment.hour} * * *"


def outlook(history: History, *, taken_up: timedelta) -> tuple[Outlook, datetime]:
    """How a daily job looks that was due an hour ago, and when that was."""
    now = datetime.now(UTC)
    due = (now - timedelta(hours=1)).replace(second=0, microsecond=0)
    job = {"images": ["nginx"], "schedule": daily(due)}
    generation = Generation(Policy.model_validate({"jobs": {"nightly": job}}), "web01", never)
    history.take_up(generation.promises(now - taken_up))
    return view_of(generation, history, NOWHERE).outlooks()["nightly"], due


def test_a_job_that_never_succeeded_is_not_fresh_since_it_was_due(history: History) -> None:
    seen, due = outlook(history, taken_up=timedelta(hours=2))

    assert Outlook(due + DAY, DAY, is_fresh=False, outstanding_since=due) == seen


def test_a_job_that_was_not_due_yet_is_fresh(history: History) -> None:
    seen, due = outlook(history, taken_up=timedelta(minutes=30))

    assert Outlook(due + DAY, DAY, is_fresh=True, outstanding_since=None) == seen


def test_a_run_that_backed_up_nothing_leaves_its_job_outstanding(history: History) -> None:
    now = datetime.now(UTC)
    history.add(RunRecord("nightly", now, now, "good"))

    seen, due = outlook(history, taken_up=timedelta(hours=2))

    assert (False, due) == (seen.is_fresh, seen.outstanding_since)


STEPS = (
    [("wait", minutes) for minutes in (0, 1, 29, 2, 4, 1, 20, 10, 15)],
    [("failed", 40), ("wait", 1), ("interrupted", 5), ("wait", 25), ("good", 1), ("wait", 70)],
    [("good", 0), ("wait", 31), ("good", 2), ("begin", 50), ("wait", 15), ("wait", 60)],
    [("wait", 90), ("wait", -80), ("wait", 85), ("take up", 3), ("wait", 1), ("good", 1)],
)


@pytest.mark.parametrize("steps", STEPS)
def test_jobs_stand_as_status_says_at_every_moment(
    steps: list[tuple[str, int]], history: History
) -> None:
    jobs = {name: {"images": ["a"], "schedule": "30 * * * *"} for name in ("nightly", "other")}
    jobs["by-hand"] = {"images": ["a"]}
    policy = Policy.model_validate({"jobs": jobs, "prune": {"schedule": "45 * * * *"}})
    generation, now = Generation(policy, "web01", never), START
    history.take_up(generation.promises(now))
    judgement = Judgement(policy, generation.timetables, history)

    for act, minutes in steps:
        now += timedelta(minutes=minutes)
        if act == "begin":
            history.begin("nightly", now)
        elif act == "take up":
            history.take_up({})
            history.take_up(generation.promises(now))
        elif act != "wait":
            history.add(RunRecord("nightly", now, now, act, (SAVED,)))  # type: ignore[arg-type]  # one of its states

        assert standings_of(policy, generation.timetables, history, now) == judgement.standings(now)


class Ears:
    """A listener that keeps which runs were recoveries."""

    def __init__(self) -> None:
        self.recovered: list[bool] = []

    def job_started(self, job: str, at: datetime) -> None:
        """Nothing."""

    def job_ended(self, record: RunRecord, recovered: bool) -> None:
        """Keep it."""
        self.recovered.append(recovered)

    def trouble(self, what: str, sentence: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_run_that_backed_up_nothing_is_no_recovery_and_the_next_good_one_is(
    history: History, *, is_restarted: bool
) -> None:
    ears = Ears()
    listeners = Listeners([ears])
    ledger = Ledger(history, lambda: listeners)
    ended = [run("failed", FAILED), run("good"), run("good", SAVED), run("good", SAVED)]
    if is_restarted:
        history.add(ended.pop(0))
        history.add(ended.pop(0))
        ledger.open(datetime.now(UTC))

    for record in ended:
        ledger.ended(record)

    listeners.close(within_seconds=30)
    assert [False, False, True, False][-len(ended) :] == ears.recovered


@pytest.mark.parametrize("record", RUNS, ids=lambda record: record.state)
def test_a_record_and_the_history_agree_on_what_a_success_is(
    record: RunRecord, history: History
) -> None:
    history.add(record)

    assert record.is_success == (history.last_good(record.job) == record)


def test_what_is_known_of_all_jobs_is_what_is_known_of_each(history: History) -> None:
    for number in range(40):
        state = ("good", "failed", "interrupted", "skipped")[number * 7 % 11 % 4]
        sources: tuple[SourceRecord, ...] = (SAVED,) if number % 3 else ()
        history.add(run(state, *sources, job=f"job-{number % 4}", minutes=number))  # type: ignore[arg-type]  # mypy widens what a tuple of literals holds
    history.begin("job-1", datetime.now(UTC))

    each = {job: history.past(job) for job in (f"job-{number}" for number in range(4))}

    assert each == history.pasts()
    assert Past() == history.past("unknown")


def test_the_history_is_asked_as_often_for_many_jobs_as_for_one(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Watched(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            asked.append(sql)
            return super().execute(sql, *values)

    monkeypatch.setattr(sqlite3, "connect", functools.partial(sqlite3.connect, factory=Watched))
    counts = []
    for number in range(2):
        history.add(run("good", SAVED, job=f"job-{number}"))
        asked.clear()
        history.pasts()
        counts.append(len(asked))

    assert counts[0] == counts[1]
