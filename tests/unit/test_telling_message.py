"""What people read about a run on their phones."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

from backupd.run_record import PRUNE
from backupd.telling.message import LONGEST_LINE, Tone, Voice
from tests.unit.runs import FAILED, MISSING, SAVED, START, UNCHANGED, VOICE, run


def test_a_failure_says_host_job_what_why_and_since_when() -> None:
    message = VOICE.failed(run("failed", SAVED, FAILED, MISSING), START - timedelta(days=1))

    assert "backupd: job nightly failed on web01" == message.title
    assert (
        "job nightly on web01 failed at 2026-01-02 03:04 UTC.\n"
        "- container web: cannot read it\n"
        "- container db: not found on the engine\n"
        "2 of 3 sources failed.\n"
        "Last good run: 2026-01-01 03:04 UTC."
    ) == message.body


def test_a_failure_without_sources_gives_its_note() -> None:
    message = VOICE.failed(run("failed", note="cannot reach the engine"), None)

    assert (
        "job nightly on web01 failed at 2026-01-02 03:04 UTC.\n"
        "cannot reach the engine\n"
        "Last good run: none known."
    ) == message.body


def test_an_interrupted_and_a_skipped_run_are_called_so() -> None:
    titles = [VOICE.failed(run(state), None).title for state in ("interrupted", "skipped")]

    assert [
        "backupd: job nightly was interrupted on web01",
        "backupd: job nightly was skipped on web01",
    ] == titles


def test_a_run_that_backed_up_nothing_is_called_so() -> None:
    message = VOICE.failed(run("good", note="nothing was selected"), None)

    assert "backupd: job nightly backed up nothing on web01" == message.title
    assert Tone.FAILURE == message.tone
    assert (
        "job nightly on web01 backed up nothing at 2026-01-02 03:04 UTC.\n"
        "nothing was selected\n"
        "Last good run: none known."
    ) == message.body


def test_a_daemon_that_does_not_start_says_why() -> None:
    message = VOICE.refused("config.yaml:3: jobs: is missing")

    assert "backupd: the daemon did not start on web01" == message.title
    assert (
        "On web01, backupd does not start, so nothing is backed up.\n"
        "Its policy cannot be followed:\n"
        "config.yaml:3: jobs: is missing"
    ) == message.body


def test_of_many_failures_ten_are_named() -> None:
    body = VOICE.failed(run("failed", *[FAILED] * 13), None).body

    assert (10, True) == (body.count("- container web"), "… and 3 more sources." in body)


def test_a_recovery_says_since_when_it_had_failed() -> None:
    message = VOICE.recovered(run("good", SAVED, UNCHANGED), START - timedelta(days=1))

    assert "backupd: job nightly works again on web01" == message.title
    assert (
        "job nightly on web01 works again: good at 2026-01-02 03:04 UTC. "
        "It had failed since 2026-01-01 03:04 UTC.\n"
        "1 source saved.\n"
        "1 source unchanged."
    ) == message.body


def test_times_are_those_of_the_policys_zone() -> None:
    body = Voice("web01", ZoneInfo("Asia/Tokyo")).failed(run("failed"), None).body

    assert "2026-01-02 12:04 JST" in body


def test_a_prune_is_no_job() -> None:
    message = VOICE.failed(run("failed", job=PRUNE, note="the store refused"), None)

    assert "backupd: the scheduled prune failed on web01" == message.title
    assert "Last good run" not in message.body


def test_a_policys_many_problems_are_cut() -> None:
    body = VOICE.trouble("policy", "\n".join(f"problem {n}" for n in range(30))).body

    assert "… and 20 more." == body.splitlines()[-1]
    assert 12 == len(body.splitlines())


def test_names_cannot_forge_lines_or_run_long() -> None:
    wicked = replace(FAILED, name="a\nLast good run: now\x1b[2J", error="x" * 5000)

    body = VOICE.failed(run("failed", wicked), None).body

    assert 4 == len(body.splitlines())
    assert "\x1b" not in body
    assert max(map(len, body.splitlines())) == LONGEST_LINE
