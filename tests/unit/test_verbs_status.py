"""How jobs stand, here and in a fleet, and what is made of a status that nobody sane wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from backupd.catalog import hosts
from backupd.cli.main import cli
from backupd.daemon.generation import timetables_of
from backupd.history import History
from backupd.layout import host_key, status_key
from backupd.policy import Policy, StoreSpec
from backupd.run_record import PRUNE, Past, Promise, RunRecord, RunState, SourceRecord
from backupd.state import StateDir
from backupd.stores import Store, open_store
from backupd.timetable import Freshness
from backupd.verbs.proofs import SourceProof, proof_to_json
from backupd.verbs.status import (
    LIMIT_BYTES,
    JobFacts,
    ailment,
    facts_by_policy,
    facts_of,
    fleet,
    host_status,
    job_to_json,
    standings,
    standings_of,
    status_to_json,
)

NOW = datetime(2026, 5, 6, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
TAKEN_UP = NOW - 9 * DAY
DAILY = Promise("0 3 * * *", "UTC", 0, TAKEN_UP)
SAVED = SourceRecord("image", "web:1", "saved", "0123456789ab")


def run(state: RunState, hours_ago: float) -> RunRecord:
    at = NOW - timedelta(hours=hours_ago)
    ended = None if state == "running" else at + timedelta(minutes=3)
    return RunRecord("nightly", at, ended, state, (SAVED,), "a note" if state == "failed" else "")


GOOD = run("good", 9)
PASTS: Mapping[str, Past] = {
    "fresh": Past(GOOD, GOOD, GOOD),
    "late": Past(run("failed", 9), run("good", 33), run("failed", 9), skipped=2),
    "busy": Past(run("running", 9), run("good", 33), run("good", 33)),
}
PROMISES = {**dict.fromkeys(PASTS, DAILY), "never": DAILY, PRUNE: DAILY}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(StoreSpec(url=f"file://{tmp_path}/store"))


def told(**jobs: Any) -> dict[str, Any]:
    """A status as web01 would write it, with these changes to its job `nightly`."""
    known = facts_of({"nightly": Past(GOOD, GOOD, GOOD)}, {"nightly": DAILY})
    whole: dict[str, Any] = json.loads(json.dumps(status_to_json("web01", "1.0", NOW, known)))
    whole["jobs"]["nightly"].update(jobs)
    return whole


def put(store: Store, status: object, host: str = "web01") -> None:
    store.put_bytes(host_key(host), b"{}")
    store.put_bytes(status_key(host), json.dumps(status).encode())


def test_each_job_stands_as_its_past_says_the_late_ones_first() -> None:
    found = standings(facts_of(PASTS, PROMISES), NOW)

    assert [
        ("late", Freshness.LATE),
        ("never", Freshness.LATE),
        (PRUNE, None),
        ("busy", Freshness.FRESH),
        ("fresh", Freshness.FRESH),
    ] == [(one.job, one.freshness) for one in found]


def test_the_next_run_and_the_interval_are_by_the_schedule() -> None:
    [one] = standings(facts_of({}, {"nightly": Promise("0 3 * * 1-5", "UTC", 60, NOW)}), NOW)

    due = datetime(2026, 5, 7, 3, 1, tzinfo=UTC)
    assert (Freshness.FRESH, due, DAY) == (one.freshness, one.next_due, one.interval)


def test_a_schedule_that_no_daemon_took_up_is_unknown_and_one_that_changed_as_well() -> None:
    jobs = {
        "kept": {"schedule": "0 3 * * *", "images": ["a"]},
        "changed": {"schedule": "0 4 * * *", "images": ["a"]},
        "by_hand": {"images": ["a"]},
        "new": {"schedule": "0 3 * * *", "images": ["a"]},
    }
    policy = Policy.model_validate({"jobs": jobs, "prune": {"schedule": "@weekly"}})
    promises = {"kept": DAILY, "changed": DAILY, "gone": DAILY}
    known = facts_by_policy(policy, timetables_of(policy, "web01"), {}, promises)

    actual = {one.job: one.freshness for one in standings(known, NOW)}

    assert {
        "kept": Freshness.LATE,
        "changed": Freshness.UNKNOWN,
        "new": Freshness.UNKNOWN,
        "by_hand": None,
        PRUNE: None,
    } == actual


def test_the_standings_of_this_host_come_from_its_history(tmp_path: Path) -> None:
    job = {"schedule": "0 3 * * *", "images": ["a"]}
    policy = Policy.model_validate({"jobs": {"nightly": job}})
    history = History.open(StateDir(tmp_path))
    timetables = timetables_of(policy, "web01")
    history.take_up({"nightly": DAILY})
    late = standings_of(policy, timetables, history, NOW)
    history.add(GOOD)
    fresh = standings_of(policy, timetables, history, NOW)

    assert [[Freshness.LATE], [Freshness.FRESH]] == [
        [one.freshness for one in found] for found in (late, fresh)
    ]
    assert ("1 of 1 jobs are not as fresh as their schedules say: nightly", "") == (
        ailment(late),
        ailment(fresh),
    )


def test_a_status_that_was_told_reads_back_the_same(store: Store) -> None:
    known = {**facts_of(PASTS, PROMISES), "by_hand": JobFacts()}
    proofs = [
        SourceProof("nightly", "image", "web:1"),
        SourceProof("nightly", "volume", "data", NOW - DAY, "drilled", "0123456789ab"),
    ]
    put(store, status_to_json("web01", "1.0", NOW, known, proofs))

    found = host_status(store, "web01", NOW)

    assert ("", NOW) == (found.problem, found.written_at)
    assert standings(known, NOW) == found.standings
    assert proofs == list(found.proofs)


def test_a_status_that_is_older_than_proofs_tells_of_none(store: Store) -> None:
    older = told()
    del older["proofs"]
    put(store, older)

    found = host_status(store, "web01", NOW)

    assert (True, ()) == (found.is_fine, found.proofs)


def test_a_host_that_fell_silent_grows_late_by_itself(store: Store) -> None:
    put(store, told())

    fine = [host_status(store, "web01", NOW + hours * DAY / 24).is_fine for hours in (0, 14, 16)]

    assert [True, True, False] == fine


def test_what_a_host_says_of_its_own_freshness_is_not_believed(store: Store) -> None:
    put(store, told(freshness="fresh", last_success_ended_at=None, last_success_started_at=None))

    assert not host_status(store, "web01", NOW).is_fine


def test_a_zone_that_only_the_other_host_knows_is_unknown(store: Store) -> None:
    put(store, told(timezone="Mars/Olympus_Mons"))

    [one] = host_status(store, "web01", NOW).standings

    assert (Freshness.UNKNOWN, None) == (one.freshness, one.next_due)


def test_a_fleet_shows_stale_hosts_first(store: Store) -> None:
    put(store, told(), "ant")
    put(store, told(last_state="failed", last_success_ended_at=None), "bee")
    store.put_bytes(host_key("cat"), b"{}")

    found = fleet(store, None, NOW)

    assert ["bee", "cat", "ant"] == [one.host for one in found]
    assert ["", "no daemon has ever told of it", ""] == [one.problem for one in found]
    assert ["ant", "bee", "cat"] == sorted(hosts(store))
    assert ["ant"] == [one.host for one in fleet(store, "ant", NOW)]


PROOF = proof_to_json(SourceProof("nightly", "image", "web:1", NOW, "drilled", "0123456789ab"))
HOSTILE: dict[str, object] = {
    "nothing": None,
    "a number": 7,
    "a list": [],
    "no schema": {},
    "no jobs": {"schema": 1, "written_at": NOW.isoformat()},
    "jobs as a list": {**told(), "jobs": [1]},
    "a job as a text": {**told(), "jobs": {"nightly": "fine"}},
    "a job without facts": {**told(), "jobs": {"nightly": {}}},
    "written at no time": {**told(), "written_at": 5},
    "written without a zone": {**told(), "written_at": "2026-05-06T12:00:00"},
    "written before clocks": {**told(), "written_at": "0001-01-01T00:00:00+00:00"},
    "a delay of ages": told(delay_seconds=10**15),
    "a delay beyond numbers": told(delay_seconds=1e308),
    "a negative delay": told(delay_seconds=-(10**12)),
    "a delay as a text": told(delay_seconds="an hour"),
    "run at the end of time": told(last_success_ended_at="9999-12-31T23:59:59+00:00"),
    "run before clocks": told(last_started_at="0001-01-01T00:00:00+00:00"),
    "promised without a zone": told(promised_since="2026-05-06T12:00:00"),
    "skipped beyond counting": told(skipped=[]),
    "proofs of nothing": {**told(), "proofs": 7},
    "a proof without facts": {**told(), "proofs": [{"job": "nightly"}]},
    "a proof of no source": {**told(), "proofs": [{**PROOF, "name": ["web"]}]},
    "proven by nobody": {**told(), "proofs": [{**PROOF, "how": 7}]},
    "proven without a zone": {**told(), "proofs": [{**PROOF, "proven_at": "2026-05-06T12:00:00"}]},
    "proven at the end of time": {
        **told(),
        "proofs": [{**PROOF, "proven_at": "9999-12-31T23:59:59+00:00"}],
    },
}
ODD: dict[str, object] = {
    "a zone of another kind": told(timezone=["UTC"]),
    "a schedule of another kind": told(schedule=["*"]),
    "a schedule too long": told(schedule="0," * 100_000 + "0 * * * *"),
    "a state of another kind": told(last_state={"good": 1}),
    "a note that moves the cursor": told(last_note="\x1b[2J\nbackupd: all is well"),
    "a state that moves the cursor": told(last_state="\x1b[2J"),
    "a job's name that forges a line": {
        **told(),
        "jobs": {"a\nb\x1b[31m": told()["jobs"]["nightly"]},
    },
}


@pytest.mark.parametrize("status", HOSTILE.values(), ids=HOSTILE)
def test_a_status_that_no_daemon_wrote_is_a_problem_of_its_host_alone(
    status: object, store: Store
) -> None:
    put(store, status)
    put(store, told(), "well")

    found = fleet(store, None, NOW)

    assert [("web01", False), ("well", True)] == [(one.host, one.is_fine) for one in found]
    assert "its status cannot be read; its next run replaces it" == found[0].problem


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b"1e999999", b"9" * 9999]
)
def test_a_status_that_is_no_json_is_a_problem(content: bytes, store: Store) -> None:
    store.put_bytes(status_key("web01"), content)

    found = host_status(store, "web01", NOW)

    assert "its status cannot be read; its next run replaces it" == found.problem


def test_a_huge_status_is_not_read(store: Store) -> None:
    store.put_bytes(status_key("web01"), b" " * (LIMIT_BYTES + 1))

    found = host_status(store, "web01", NOW)

    assert "its status cannot be read; its next run replaces it" == found.problem


def test_a_status_of_another_version_says_so(store: Store) -> None:
    put(store, {**told(), "schema": 2})

    assert "its status is of another version of backupd" == host_status(store, "web01", NOW).problem


@pytest.mark.parametrize("status", [*HOSTILE.values(), *ODD.values()], ids=[*HOSTILE, *ODD])
def test_whatever_a_status_holds_can_be_shown(status: object, store: Store) -> None:
    put(store, status)
    arguments = ["status", "--host", "*", "--store", store.url]

    people = CliRunner().invoke(cli, arguments)
    program = CliRunner().invoke(cli, [*arguments, "--json"])

    assert (1, 1) == (people.exit_code, program.exit_code), (people.exception, program.exception)
    assert "\x1b" not in people.stdout
    assert 2 == len(people.stdout.splitlines())
    assert ["web01"] == [row["host"] for row in json.loads(program.stdout)]


def test_a_job_told_in_json_has_every_time_in_utc() -> None:
    [late] = standings(facts_of({"late": PASTS["late"]}, {"late": DAILY}), NOW)

    assert {
        "schedule": "0 3 * * *",
        "timezone": "UTC",
        "delay_seconds": 0,
        "promised_since": "2026-04-27T12:00:00+00:00",
        "last_started_at": "2026-05-06T03:00:00+00:00",
        "last_ended_at": "2026-05-06T03:03:00+00:00",
        "last_state": "failed",
        "last_note": "a note",
        "last_success_started_at": "2026-05-05T03:00:00+00:00",
        "last_success_ended_at": "2026-05-05T03:03:00+00:00",
        "skipped": 2,
        "next_due_at": "2026-05-07T03:00:00+00:00",
        "interval_seconds": 86400,
        "freshness": "late",
        "outstanding_since": "2026-05-06T03:00:00+00:00",
    } == job_to_json(late)
