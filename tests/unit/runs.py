"""Runs for the tests of those who tell of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from backupd.run_record import RunRecord, RunState, SourceRecord
from backupd.telling.message import Voice

START = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
VOICE = Voice("web01", ZoneInfo("UTC"))

SAVED = SourceRecord("image", "nginx:1", "saved", "0123456789ab", 3000, 1000, 2.0, None)
UNCHANGED = SourceRecord("image", "app:2", "unchanged", "123456789abc", 500, 200, 0.5, None)
FAILED = SourceRecord("container", "web", "failed", duration_seconds=1.0, error="cannot read it")
MISSING = SourceRecord("container", "db", "missing")


def run(
    state: RunState, *sources: SourceRecord, job: str = "nightly", minutes: int = 0, note: str = ""
) -> RunRecord:
    """A run of ten seconds that began so many minutes after `START`."""
    began = START + timedelta(minutes=minutes)
    return RunRecord(job, began, began + timedelta(seconds=10), state, sources, note)
