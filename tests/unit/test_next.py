"""`backupd next`: the coming runs of all jobs, in their order, in local time and in words."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from backupd.cli.main import cli

POLICY = """
host: web01
timezone: Europe/Berlin
jobs:
  nightly: {schedule: "30 2 * * *", images: [nginx]}
  weekly: {schedule: "@weekly", timezone: America/New_York, images: [nginx]}
  spread: {schedule: "0 4 1 * *", jitter: 1h, images: [nginx]}
  by-hand: {images: [nginx]}
prune: {schedule: "0 5 * * SUN"}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(POLICY)
    return path


def told(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["next", "--config", str(config), *arguments])


def rows(config: Path, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(told(config, "--json", *arguments).stdout)
    return found


def test_runs_come_in_their_order_each_in_the_zone_of_its_job(config: Path) -> None:
    result = told(config, "--from", "2026-03-28", "-n", "5")

    assert (0, "") == (result.exit_code, result.stderr)
    assert [
        "DUE                           JOB      SCHEDULE",
        "Sat 2026-03-28 02:30:00 CET   nightly  at 02:30 every day, Europe/Berlin time",
        "Sun 2026-03-29 03:00:00 CEST  nightly  at 02:30 every day, Europe/Berlin time",
        "Sun 2026-03-29 05:00:00 CEST  @prune   at 05:00 on Sunday, Europe/Berlin time",
        "Sun 2026-03-29 00:00:00 EDT   weekly   at 00:00 on Sunday, America/New_York time",
        "Mon 2026-03-30 02:30:00 CEST  nightly  at 02:30 every day, Europe/Berlin time",
    ] == [line.rstrip() for line in result.stdout.splitlines()]


def test_a_program_gets_utc_and_the_delay(config: Path) -> None:
    [spread] = [
        row for row in rows(config, "--from", "2026-04-01T00:00", "-n", "4") if row["delay_seconds"]
    ]

    assert 0 < spread["delay_seconds"] < 3600
    assert {
        "job": "spread",
        "timezone": "Europe/Berlin",
        "schedule": "0 4 1 * *",
        "words": "at 04:00 on the first day of every month, Europe/Berlin time",
    }.items() <= spread.items()
    assert spread["due_at"].startswith("2026-04-01T02:")
    assert spread["local"].startswith("2026-04-01T04:")
    assert spread["local"].endswith("+02:00")


def test_a_delay_is_told_in_words(config: Path) -> None:
    lines = told(config, "--from", "2026-04-01T00:00", "-n", "4").stdout.splitlines()

    [spread] = [line for line in lines if " spread " in line]
    assert re.search(r"first day of every month, Europe/Berlin time, 0:\d\d:\d\d later", spread)


def test_a_job_without_a_schedule_is_never_due(config: Path) -> None:
    jobs = {row["job"] for row in rows(config, "-n", "200")}

    assert {"nightly", "weekly", "spread", "@prune"} == jobs


def test_ten_runs_are_shown_unless_told_otherwise(config: Path) -> None:
    assert (10, 1, 10_000) == (
        len(rows(config)),
        len(rows(config, "-n", "1")),
        len(rows(config, "-n", "10000")),
    )


@pytest.mark.parametrize(
    ("start", "first"),
    [
        ("2026-10-25T02:30", "2026-10-25T04:00:00Z"),
        ("2026-10-25T02:29", "2026-10-25T00:30:00Z"),
        ("2026-10-25T02:29:00+01:00", "2026-10-25T04:00:00Z"),
        ("2026-10-25 00:29Z", "2026-10-25T00:30:00Z"),
        ("2026-10-24", "2026-10-24T00:30:00Z"),
    ],
)
def test_a_time_without_a_zone_is_in_the_policys(start: str, first: str, config: Path) -> None:
    [row] = rows(config, "--from", start, "-n", "1")

    assert first == row["due_at"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--from", "tomorrow"), "is not a time: write 2027-01-01T03:00"),
        (("--from", ""), "is not a time"),
        (("--from", "2026-13-01"), "is not a time"),
        (("--from", "0001-01-01"), "the year must be from 1970 to 9000"),
        (("--from", "9999-12-31T23:59"), "the year must be from 1970 to 9000"),
        (("-n", "0"), "0 is not in the range"),
        (("-n", "many"), "'many' is not a valid integer"),
        (("nightly",), "unexpected extra argument"),
    ],
)
def test_what_makes_no_sense_is_refused(
    arguments: tuple[str, ...], words: str, config: Path
) -> None:
    result = told(config, *arguments)

    assert (2, "") == (result.exit_code, result.stdout)
    assert words in result.stderr


def test_a_policy_without_schedules_says_so(config: Path) -> None:
    config.write_text("jobs: {manual: {images: [nginx]}}")

    people, program = told(config), told(config, "--json")

    assert (0, "", "backupd: warning: no job has a schedule: all run by hand only\n") == (
        people.exit_code,
        people.stdout,
        people.stderr,
    )
    assert "[]\n" == program.stdout
