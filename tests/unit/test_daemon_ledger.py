"""What the daemon makes of missed runs when it starts: run now, skip once, or wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backupd.daemon.generation import Generation
from backupd.daemon.ledger import Ledger
from backupd.daemon.listeners import Listeners
from backupd.history import History
from backupd.policy import Policy
from backupd.run_record import RunRecord, RunState
from backupd.site import Site
from backupd.state import StateDir

NOW = datetime(2026, 5, 6, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    kept = History.open(StateDir(tmp_path))
    yield kept
    kept.close()


@pytest.fixture
def ledger(history: History) -> Ledger:
    nobody = Listeners([])
    return Ledger(history, lambda: nobody)


def never(_: Policy) -> AbstractContextManager[Site]:
    raise AssertionError("nothing runs here")


def generation(schedule: str = "0 3 * * *", *, catch_up: bool) -> Generation:
    job = {"images": ["nginx"], "schedule": schedule, "catch_up": catch_up}
    return Generation(Policy.model_validate({"jobs": {"nightly": job}}), "web01", never)


def add(history: History, state: RunState, ended_at: datetime) -> None:
    history.add(RunRecord("nightly", ended_at - timedelta(minutes=1), ended_at, state))


def test_a_missed_run_is_to_be_run_once_it_is_known_since_when(
    history: History, ledger: Ledger
) -> None:
    policy = generation(catch_up=True)
    unknown = ledger.missed_runs(policy, NOW)
    ledger.take_up(policy, NOW - DAY)
    missed = ledger.missed_runs(policy, NOW)
    add(history, "good", NOW - timedelta(hours=1))

    assert ({}, {"nightly": NOW.replace(hour=3)}) == (unknown, missed)
    assert {} == ledger.missed_runs(policy, NOW)


def test_a_missed_run_of_a_job_that_does_not_catch_up_is_skipped_once(
    history: History, ledger: Ledger
) -> None:
    policy = generation(catch_up=False)
    ledger.take_up(policy, NOW - 3 * DAY)
    found = [ledger.missed_runs(policy, NOW + timedelta(minutes=n)) for n in range(3)]

    assert [{}, {}, {}] == found
    assert [("skipped", NOW.replace(hour=3) - 2 * DAY)] == [
        (run.state, run.started_at) for run in history.recent("nightly", 9)
    ]


def test_a_job_that_does_not_catch_up_runs_while_it_is_in_time(
    history: History, ledger: Ledger
) -> None:
    policy = generation(catch_up=False)
    ledger.take_up(policy, NOW - DAY)

    assert ["nightly"] == list(ledger.missed_runs(policy, NOW.replace(hour=3, minute=4)))
    assert [] == list(ledger.missed_runs(policy, NOW.replace(hour=3, minute=5)))


def test_a_run_that_was_interrupted_three_times_waits_for_its_next_moment(
    history: History, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    policy = generation(catch_up=True)
    ledger.take_up(policy, NOW - DAY)
    found = []
    for _ in range(3):
        found.append(list(ledger.missed_runs(policy, NOW)))
        add(history, "interrupted", NOW)

    assert [["nightly"]] * 3 == found
    assert {} == ledger.missed_runs(policy, NOW)
    assert [
        "job nightly was interrupted 3 times in a row: it waits for its next moment"
    ] == caplog.messages


def test_a_schedule_that_was_changed_meanwhile_has_promised_nothing(
    history: History, ledger: Ledger
) -> None:
    ledger.take_up(generation("0 3 * * *", catch_up=True), NOW - DAY)
    add(history, "good", NOW.replace(hour=3, minute=1))

    assert {} == ledger.missed_runs(generation("0 11 * * *", catch_up=True), NOW)


def test_a_run_that_the_old_schedule_promised_is_missed_under_a_new_one(
    history: History, ledger: Ledger
) -> None:
    ledger.take_up(generation("0 3 * * *", catch_up=True), NOW - DAY)

    assert {"nightly": NOW.replace(hour=3)} == ledger.missed_runs(
        generation("0 23 * * *", catch_up=True), NOW
    )
