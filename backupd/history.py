"""What ran, when, and how it ended: SQLite in the state directory.

The daemon and commands run by hand write it; `status`, `history`, metrics and notifications read
it. It serves people and catching up, never the backups themselves: a damaged file is set aside and
a new one begun, and a record that cannot be written is told and never fails a run. A run that is
"running" belongs to a process that holds a lease; one whose lease is gone was interrupted.
No secret enters it: errors are our own sentences, which hold none.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any, Self

from backupd.history_file import HistoryFile
from backupd.run_record import CHORES, Past, Promise, RunRecord, SourceRecord
from backupd.state import Lease, StateDir

KEPT_PER_JOB = 100
KEPT_ALTOGETHER = 20_000
"""How many of the newest runs stay; each job's newest good one stays whatever its age."""

_COLUMNS = "job, started_at, ended_at, state, sources, note, lease"
_CHORES = ", ".join(f"'{name}'" for name in CHORES)
_IS_GOOD = f"state = 'good' AND (source_count > 0 OR job IN ({_CHORES}))"
"""`RunRecord.is_success`, as SQL."""
_MARKS = f"""
WITH newest AS (
    SELECT job,
        max(CASE WHEN state != 'skipped' THEN id END) AS last,
        max(CASE WHEN {_IS_GOOD} THEN id END) AS good,
        max(CASE WHEN state IN ('good', 'failed') THEN id END) AS ended,
        max(CASE WHEN state = 'skipped' THEN id END) AS skipped
    FROM runs {{where}} GROUP BY job
)
SELECT job, last, good, ended, skipped,
    (SELECT count(*) FROM runs WHERE runs.job = newest.job AND state = 'interrupted'
        AND id > coalesce(ended, 0)),
    (SELECT count(*) FROM runs WHERE runs.job = newest.job AND state = 'skipped'
        AND id > coalesce(good, 0))
FROM newest
"""  # noqa: S608
"""Of each job the ids of its newest runs, and how many were interrupted and skipped after them."""
_SOURCE_FIELDS = tuple(one.name for one in fields(SourceRecord))


class History:
    """The runs of this host. Safe to use from several threads and processes."""

    def __init__(self, state: StateDir, file: HistoryFile) -> None:
        self._state = state
        self._file = file
        self._lease: Lease | None = None
        self._lock = threading.Lock()

    @classmethod
    def open(cls, state: StateDir, say: Callable[[str], None] = lambda _: None) -> Self:
        """The history in this state directory; `say` gets a sentence when it had to give way."""
        return cls(state, HistoryFile(state, say))

    def close(self) -> None:
        """Give up the lease: what this object began and did not end is interrupted from now on."""
        if self._lease is not None:
            self._lease.close()
            self._lease = None

    def check(self) -> None:
        """Set a damaged file aside now rather than in the middle of a run."""
        self._file.check()

    def begin(self, job: str, at: datetime) -> int | None:
        """Record that a run of `job` began; its id for `end`, None if it could not be written."""

        def insert(database: sqlite3.Connection) -> int | None:
            with self._lock:
                if self._lease is None:
                    self._lease = self._state.lease()
                token = self._lease.token
            return _insert(database, RunRecord(job, at, None, "running"), None, token)

        return self._file.write(insert)

    def end(self, run_id: int | None, record: RunRecord) -> None:
        """Record how a run ended. One whose beginning could not be written is written whole."""

        def replace(database: sqlite3.Connection) -> None:
            database.execute("DELETE FROM runs WHERE id = ?", (run_id,))
            _insert(database, record, run_id, "")
            _thin_out(database, record.job)

        self._file.write(replace)

    def add(self, record: RunRecord) -> None:
        """Record something that is over already, such as a run that was skipped."""
        self.end(None, record)

    def close_interrupted(
        self, at: datetime, before: Callable[[], object] = lambda: None
    ) -> list[RunRecord]:
        """Close the runs of dead processes as interrupted; what they are now.

        If there are any, `before` is called first: once they are closed, nothing here tells that
        there is something to clear away after them.
        """

        def update(database: sqlite3.Connection) -> list[RunRecord]:
            query = f"SELECT id, {_COLUMNS} FROM runs WHERE state = 'running'"  # noqa: S608
            rows = [(row[0], self._true(row[1:])) for row in database.execute(query).fetchall()]
            dead = {run_id: record for run_id, record in rows if record.state == "interrupted"}
            if dead:
                before()
            for run_id, record in dead.items():
                database.execute(
                    "UPDATE runs SET state = ?, ended_at = ?, note = ? WHERE id = ?",
                    (record.state, _text(at), record.note, run_id),
                )
            return list(dead.values())

        closed = self._file.write(update) or []
        self._state.forget_dead()
        return closed

    def take_up(self, promises: Mapping[str, Promise]) -> None:
        """Remember the schedules in force; one that is as it was keeps its `since`."""

        def update(database: sqlite3.Connection) -> None:
            known = _promises(database)
            database.execute("DELETE FROM promises")
            for job, promise in promises.items():
                old = known.get(job)
                kept = old if old is not None and old.is_as(promise) else promise
                database.execute(
                    "INSERT INTO promises VALUES (?, ?, ?, ?, ?)",
                    (job, kept.expression, kept.zone, kept.delay_seconds, _text(kept.since)),
                )

        self._file.write(update)

    def promises(self) -> dict[str, Promise]:
        """Job → the schedule by which the daemon last took it up. Raises UsageError."""
        nothing: dict[str, Promise] = {}
        return self._file.read(_promises, nothing)

    def last(self, job: str) -> RunRecord | None:
        """The newest run of the job that was not skipped. Raises UsageError."""
        return self.past(job).last

    def last_good(self, job: str) -> RunRecord | None:
        """The newest run that made a backup of all that it selected. Raises UsageError."""
        return self.past(job).last_good

    def past(self, job: str) -> Past:
        """What is known of one job. Raises UsageError."""

        def read(database: sqlite3.Connection) -> Past:
            return self._pasts(database, "WHERE job = ?", job).get(job, Past())

        return self._file.read(read, Past())

    def pasts(self) -> dict[str, Past]:
        """The same for every job that ever ran. Raises UsageError."""
        nothing: dict[str, Past] = {}
        return self._file.read(lambda database: self._pasts(database, ""), nothing)

    def recent(self, job: str | None, count: int) -> list[RunRecord]:
        """The newest `count` runs of the job (or of all), newest first. Raises UsageError."""

        def read(database: sqlite3.Connection) -> list[RunRecord]:
            query = (
                f"SELECT {_COLUMNS} FROM runs WHERE ?1 IS NULL OR job = ?1 "  # noqa: S608
                "ORDER BY started_at DESC, id DESC LIMIT ?2"
            )
            return [self._true(row) for row in database.execute(query, (job, count))]

        nothing: list[RunRecord] = []
        return self._file.read(read, nothing)

    def _pasts(self, database: sqlite3.Connection, where: str, *values: str) -> dict[str, Past]:
        """Job → its past, by two queries however many jobs there are: a scrape asks for all."""
        marks = database.execute(_MARKS.format(where=where), values).fetchall()
        ids = json.dumps([number for row in marks for number in row[1:5] if number])
        query = f"SELECT id, {_COLUMNS} FROM runs WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608
        runs = {row[0]: self._true(row[1:]) for row in database.execute(query, (ids,))}
        return {
            job: Past(
                last=runs.get(last),
                last_good=runs.get(good),
                last_ended=runs.get(ended),
                interruptions=interruptions,
                skipped=skips,
                last_skipped=runs.get(skipped),
            )
            for job, last, good, ended, skipped, interruptions, skips in marks
        }

    def _true(self, row: Sequence[Any]) -> RunRecord:
        """The record of a row; a run whose process is dead is not running, whatever it says."""
        record = _record(row)
        if record.state != "running" or self._state.is_leased(row[-1]):
            return record
        return RunRecord(record.job, record.started_at, None, "interrupted", (), "its process died")


def _insert(
    database: sqlite3.Connection, record: RunRecord, run_id: int | None, lease: str
) -> int | None:
    ended = _text(record.ended_at) if record.ended_at else None
    sources = json.dumps([asdict(source) for source in record.sources])
    values = (run_id, record.job, _text(record.started_at), ended, record.state, record.made)
    return database.execute(
        "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*values, sources, record.note, lease),
    ).lastrowid


def _thin_out(database: sqlite3.Connection, job: str) -> None:
    """Drop the oldest runs beyond what is kept, but no job's newest good one."""
    good = f"SELECT max(id) FROM runs WHERE {_IS_GOOD}"  # noqa: S608
    database.execute(
        "DELETE FROM runs WHERE job = ?1 AND state != 'running' AND id NOT IN "  # noqa: S608
        f"(SELECT id FROM runs WHERE job = ?1 ORDER BY id DESC LIMIT ?2) "
        f"AND id NOT IN ({good} AND job = ?1)",
        (job, KEPT_PER_JOB),
    )
    [(count,)] = database.execute("SELECT count(*) FROM runs").fetchall()
    if count > KEPT_ALTOGETHER:
        database.execute(
            "DELETE FROM runs WHERE state != 'running' AND id NOT IN "  # noqa: S608
            f"(SELECT id FROM runs ORDER BY id DESC LIMIT ?) AND id NOT IN ({good} GROUP BY job)",
            (KEPT_ALTOGETHER * 9 // 10,),
        )


def _promises(database: sqlite3.Connection) -> dict[str, Promise]:
    rows = database.execute("SELECT job, expression, zone, delay_seconds, since FROM promises")
    return {
        job: Promise(expression, zone, delay, datetime.fromisoformat(since))
        for job, expression, zone, delay, since in rows
    }


def _record(row: Sequence[Any]) -> RunRecord:
    """The record of a row, without what a newer version added. ValueError for what is none."""
    job, started, ended, state, sources, note = row[:6]
    try:
        return RunRecord(
            job,
            datetime.fromisoformat(started),
            datetime.fromisoformat(ended) if ended else None,
            state,
            tuple(_source(source) for source in json.loads(sources)),
            note,
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"a run of job {job} cannot be read") from error


def _source(told: Mapping[str, Any]) -> SourceRecord:
    return SourceRecord(**{name: told[name] for name in _SOURCE_FIELDS if name in told})


def _text(moment: datetime) -> str:
    """A moment that sorts as text."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
