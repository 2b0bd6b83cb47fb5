"""How `backupd status` calls what it shows."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from backupd.cli.status_report import print_here
from backupd.run_record import VERIFY
from backupd.verbs.status import JobFacts, standing

NOW = datetime(2026, 5, 6, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("last_state", "word"),
    [(None, "-"), ("good", "ok"), ("failed", "FAILED"), ("interrupted", "FAILED")],
)
def test_a_scheduled_verify_is_shown_by_how_it_ended(
    last_state: str | None, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = JobFacts(schedule="0 5 * * *", last_state=last_state)
    print_here([standing(VERIFY, facts, NOW)], None, ZoneInfo("UTC"))

    assert [VERIFY, word] == capsys.readouterr().out.splitlines()[1].split()[:2]


def test_a_job_without_a_schedule_is_run_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    print_here([standing("manual", JobFacts(), NOW)], None, ZoneInfo("UTC"))

    assert "by hand" in capsys.readouterr().out.splitlines()[1]
