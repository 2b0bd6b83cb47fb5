"""Verify by its schedule: what is promised, run, recorded and told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from backupd.daemon.chores import CHORES as DOINGS
from backupd.daemon.generation import Generation, timetables_of
from backupd.daemon.runs import Running, Runs
from backupd.history import History
from backupd.policy import Policy
from backupd.run_record import CHORES, VERIFY, RunRecord
from backupd.site import Site
from tests.contract.shelves import DAY, HOST, Shelf
from tests.unit.proven import add, backup_of, flip, make_shelf
from tests.unit.runs import VOICE


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return make_shelf(tmp_path)


def policy_of(**verify: Any) -> Policy:
    jobs = {"nightly": {"containers": ["web"]}}
    return Policy.model_validate({"jobs": jobs, "verify": {"schedule": "0 6 * * 0", **verify}})


def run_by_the_daemon(shelf: Shelf, **verify: Any) -> RunRecord:
    """What the daemon's own runs make of a verify that is due."""

    @contextmanager
    def open_site(_: Policy) -> Iterator[Site]:
        yield shelf.site

    ended: SimpleQueue[Running] = SimpleQueue()
    history = History.open(shelf.state, pytest.fail)
    runs = Runs(history, ended.put)
    runs.open()
    runs.ask(VERIFY)
    runs.start_waiting(Generation(policy_of(**verify), HOST, open_site))
    record = ended.get(timeout=60).record
    assert record is not None
    assert record.state == history.recent(VERIFY, 1)[0].state
    return record


def test_every_chore_has_a_name_and_something_to_do() -> None:
    assert CHORES.keys() == DOINGS.keys()


@pytest.mark.parametrize("schedule", ["0 6 * * 0", None])
def test_a_verify_has_a_timetable_if_the_policy_has_a_schedule(schedule: str | None) -> None:
    found = timetables_of(policy_of(schedule=schedule), HOST)

    assert (schedule is not None) is (VERIFY in found)


def test_a_scheduled_verify_reads_a_share_and_says_so(shelf: Shelf) -> None:
    made = [add(shelf, DAY * days) for days in range(3)]

    record = run_by_the_daemon(shelf, sample="34%")

    assert ("good", "verified 2 of 2 backups") == (record.state, record.note)
    assert [True, True, False] == ["verified" in backup_of(shelf, m).states for m in made]


def test_a_scheduled_verify_that_finds_damage_has_failed(shelf: Shelf) -> None:
    add(shelf, DAY)
    bad = add(shelf)
    flip(shelf, bad.archive.key)

    record = run_by_the_daemon(shelf, sample="100%")

    assert "failed" == record.state
    assert record.note.startswith("verified 1 of 2 backups, 1 damaged; ")
    assert f"backup {bad.id} is damaged" in VOICE.failed(record, None).body
    assert "the scheduled verify" in VOICE.failed(record, None).title


def test_a_scheduled_verify_without_data_only_looks(shelf: Shelf) -> None:
    made = add(shelf)
    flip(shelf, made.archive.key)

    record = run_by_the_daemon(shelf, data=False)

    assert ("good", {"checked"}) == (record.state, set(backup_of(shelf, made).proofs))


def test_a_scheduled_verify_of_nothing_is_good(shelf: Shelf) -> None:
    assert "good" == run_by_the_daemon(shelf).state
