"""The history: what it keeps, what it knows of runs whose process died, and how it gives way."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import backupd.history
from backupd.errors import UsageError
from backupd.history import History
from backupd.run_record import PRUNE, Past, Promise, RunRecord, RunState, SourceRecord
from backupd.state import StateDir

NOW = datetime(2026, 5, 6, 3, 0, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
SAVED = SourceRecord("image", "web:1", "saved", "0123456789ab", 2000, 900, 1.5)
FAILED = SourceRecord("container", "db", "failed", error="cannot read it")
CHILD = """
import os, sys, time
from datetime import UTC, datetime
from pathlib import Path
from backupd.history import History
from backupd.run_record import RunRecord
from backupd.state import StateDir
act, path, name = sys.argv[1:]
history = History.open(StateDir(Path(path)))
at = datetime(2026, 5, 6, 3, 0, tzinfo=UTC)
if act == "begin":
    history.begin(name, at)
    print("begun", flush=True)
    sys.stdin.read()
for _ in range(int(name) if act == "add" else 0):
    history.add(RunRecord("job", at, at, "failed"))
"""


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    kept = History.open(StateDir(tmp_path))
    yield kept
    kept.close()


def run(
    state: RunState = "good", at: datetime = NOW, job: str = "nightly", *sources: SourceRecord
) -> RunRecord:
    """A run of a minute that saved one image, unless told otherwise."""
    return RunRecord(job, at, at + MINUTE, state, sources or (SAVED,))


def child(act: str, path: Path, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, act, str(path), name]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def other_run(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that is in the middle of a run of the job "other"."""
    with child("begin", tmp_path, "other") as process:
        assert process.stdout is not None
        assert "begun\n" == process.stdout.readline()
        yield process
        process.kill()


def test_a_run_is_running_until_it_ended(history: History) -> None:
    run_id = history.begin("nightly", NOW)
    during = history.last("nightly")
    history.end(run_id, run("failed", NOW, "nightly", SAVED, FAILED))

    assert RunRecord("nightly", NOW, None, "running") == during
    assert [run("failed", NOW, "nightly", SAVED, FAILED)] == history.recent("nightly", 9)


def test_a_run_whose_beginning_could_not_be_written_is_written_whole(history: History) -> None:
    history.end(None, run())

    assert [run()] == history.recent(None, 9)


def test_without_a_history_there_is_no_past(history: History, tmp_path: Path) -> None:
    assert (Past(), {}, {}, []) == (
        history.past("nightly"),
        history.pasts(),
        history.promises(),
        history.recent(None, 9),
    )
    assert [] == list(tmp_path.iterdir())


def test_the_past_tells_each_kind_of_run_apart(history: History) -> None:
    states: list[RunState] = ["good", "failed", "interrupted", "skipped", "interrupted", "skipped"]
    for number, state in enumerate(states):
        history.add(run(state, NOW + number * DAY))

    past = history.past("nightly")

    assert run("interrupted", NOW + 4 * DAY) == past.last
    assert run("good", NOW) == past.last_good
    assert run("failed", NOW + DAY) == past.last_ended
    assert run("skipped", NOW + 5 * DAY) == past.last_skipped
    assert (2, 2) == (past.interruptions, past.skipped)


def test_a_run_that_selected_nothing_is_no_backup(history: History) -> None:
    nothing = RunRecord("nightly", NOW, NOW, "good")
    history.add(nothing)

    assert (None, nothing) == (history.last_good("nightly"), history.last("nightly"))


def test_a_prune_is_good_without_a_source(history: History) -> None:
    history.add(RunRecord(PRUNE, NOW, NOW, "good"))

    assert history.last_good(PRUNE) is not None


def test_each_job_has_a_past_of_its_own(history: History) -> None:
    history.add(run(job="db"))
    history.add(run("failed", job="db2"))

    assert {"db": run(job="db"), "db2": run("failed", job="db2")} == {
        job: past.last for job, past in history.pasts().items()
    }
    assert [run(job="db")] == history.recent("db", 9)


def test_the_run_of_a_process_that_lives_is_left_alone(
    history: History, other_run: subprocess.Popen[str]
) -> None:
    closed = history.close_interrupted(NOW + DAY)

    last = history.last("other")
    assert ([], "running") == (closed, last.state if last else None)


def test_the_run_of_a_process_that_was_killed_is_closed_as_interrupted(
    history: History, other_run: subprocess.Popen[str], tmp_path: Path
) -> None:
    history.begin("nightly", NOW)
    os.kill(other_run.pid, signal.SIGKILL)
    other_run.wait()
    before = history.last("other")

    closed = history.close_interrupted(NOW + DAY)
    again = history.close_interrupted(NOW + 2 * DAY)

    expected = RunRecord("other", NOW, None, "interrupted", (), "its process died")
    assert (expected, [expected], []) == (before, closed, again)
    nightly, other = history.last("nightly"), history.last("other")
    assert ("running", "interrupted") == (
        nightly.state if nightly else None,
        other.state if other else None,
    )
    assert 1 == len(list((tmp_path / "locks").glob("alive-*")))


def test_what_was_begun_and_not_ended_is_interrupted_once_the_history_is_closed(
    tmp_path: Path,
) -> None:
    first = History.open(StateDir(tmp_path))
    first.begin("nightly", NOW)
    first.close()

    last = History.open(StateDir(tmp_path)).last("nightly")

    assert "interrupted" == (last.state if last else None)


def test_an_unchanged_promise_keeps_the_moment_since_when_it_holds(history: History) -> None:
    kept, changed = (Promise("0 3 * * *", "UTC", 60, NOW) for _ in range(2))
    history.take_up({"kept": kept, "changed": changed, "gone": kept})
    later = NOW + DAY
    new = {
        "kept": Promise("0 3 * * *", "UTC", 60, later),
        "changed": Promise("0 3 * * *", "UTC", 61, later),
        "new": Promise("@daily", "Europe/Berlin", 0, later),
    }
    history.take_up(new)

    assert {**new, "kept": kept} == history.promises()


@pytest.mark.parametrize(
    "other",
    [
        Promise("0 4 * * *", "UTC", 60, NOW),
        Promise("0 3 * * *", "Europe/Berlin", 60, NOW),
        Promise("0 3 * * *", "UTC", 0, NOW),
    ],
)
def test_another_expression_zone_or_delay_is_another_promise(other: Promise) -> None:
    assert not Promise("0 3 * * *", "UTC", 60, NOW).is_as(other)


def test_a_promise_is_a_timetable() -> None:
    timetable = Promise("0 3 * * *", "Europe/Berlin", 90, NOW).timetable

    assert datetime(2026, 5, 7, 1, 1, 30, tzinfo=UTC) == timetable.next_after(NOW)


def test_the_newest_good_run_outlives_any_number_of_others(history: History) -> None:
    for number in range(5):
        history.add(run("good", NOW + number * MINUTE))
    for number in range(backupd.history.KEPT_PER_JOB + 30):
        history.add(run("failed", NOW + number * DAY))

    kept = history.recent("nightly", 1000)

    assert backupd.history.KEPT_PER_JOB + 1 == len(kept)
    assert run("good", NOW + 4 * MINUTE) == history.last_good("nightly")


def test_many_jobs_together_keep_each_newest_good_run(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backupd.history, "KEPT_ALTOGETHER", 20)
    for number in range(6):
        history.add(run("good", NOW, f"quiet-{number}"))
    for number in range(40):
        history.add(run("failed", NOW + number * MINUTE, f"busy-{number % 4}"))

    assert all(history.last_good(f"quiet-{number}") for number in range(6))
    assert len(history.recent(None, 1000)) <= 20 + 6


def test_the_file_is_written_ahead_so_that_readers_never_wait(
    history: History, tmp_path: Path
) -> None:
    history.add(run())

    with closing(sqlite3.connect(tmp_path / "history.sqlite")) as database:
        [(mode,)] = database.execute("PRAGMA journal_mode").fetchall()
        assert "wal" == mode
        database.execute("BEGIN IMMEDIATE")
        assert [run()] == history.recent(None, 9)


def test_threads_and_processes_write_side_by_side(history: History, tmp_path: Path) -> None:
    history.add(run(job="first"))

    def write() -> None:
        for _ in range(10):
            history.add(run(job="job"))

    threads = [threading.Thread(target=write) for _ in range(3)]
    children = [child("add", tmp_path, "10") for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    codes = []
    for each in children:
        each.communicate()
        codes.append(each.returncode)

    assert ([0, 0], 50) == (codes, len(history.recent("job", 1000)))


def damaged(path: Path, how: str) -> None:
    """Make the history's file at `path` bad."""
    if how == "text":
        path.write_text("this is no database " * 500)
    elif how == "cut":
        os.truncate(path, 5000)
    elif how == "overwritten":
        content = bytearray(path.read_bytes())
        content[4096:] = b"\xff" * (len(content) - 4096)
        path.write_bytes(content)
    else:
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute(how)


@pytest.mark.parametrize(
    "how",
    [
        "text",
        "cut",
        "overwritten",
        "PRAGMA user_version = 99",
        "DROP TABLE promises",
        "UPDATE runs SET sources = 'no JSON'",
        "UPDATE runs SET sources = '[{\"unknown\": 1}]'",
        "UPDATE runs SET sources = '[7]'",
        "UPDATE runs SET started_at = 'yesterday'",
    ],
)
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(how: str, tmp_path: Path) -> None:
    said: list[str] = []
    state = StateDir(tmp_path)
    for number in range(50):
        History.open(state).add(run(at=NOW + number * DAY, job=f"job-{number}"))
    with closing(sqlite3.connect(tmp_path / "history.sqlite")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    damaged(tmp_path / "history.sqlite", how)

    history = History.open(state, said.append)
    history.check()
    history.promises()
    found = (history.pasts(), history.promises())
    history.add(run())

    assert ({}, {}) == found
    assert [run()] == history.recent(None, 9)
    [kept] = tmp_path.glob("history.sqlite.damaged-*[0-9]Z")
    assert [str(kept)] == [word.rstrip(",") for word in said[0].split() if "damaged-" in word]
    assert 1 == len(said)


def test_what_root_makes_belongs_to_the_directorys_owner(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(tmp_path, 65534, 65534)
    history = History.open(StateDir(tmp_path))
    history.begin("nightly", NOW)

    owners = {path.name: path.stat().st_uid for path in tmp_path.rglob("*")}

    history.close()
    assert {tmp_path.stat().st_uid} == set(owners.values()), owners


def test_a_history_that_cannot_be_written_fails_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "history.sqlite").mkdir()
    history = History.open(StateDir(tmp_path), said.append)

    assert history.begin("nightly", NOW) is None
    [sentence] = said
    assert "history.sqlite is not kept: " in sentence


def test_a_history_that_cannot_be_read_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "history.sqlite").mkdir()

    with pytest.raises(UsageError, match=r"cannot read the history .*; run as root"):
        History.open(StateDir(tmp_path)).recent(None, 9)
