"""daemon.json: written whole, read back the same, and nothing where it is damaged."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backupd.daemon import statefile
from backupd.daemon.statefile import DaemonNow, PolicyInForce, RunNow, SourceNow
from backupd.state import StateDir

NOW = datetime(2026, 5, 6, 3, 0, 1, 500_000, tzinfo=UTC)
BUSY = DaemonNow(
    pid=4711,
    version="1.2.3",
    host="web01",
    started_at=NOW,
    written_at=NOW + timedelta(seconds=5),
    policy=PolicyInForce("/etc/backupd/config.yaml", NOW, NOW, "jobs: is missing\nand more", NOW),
    waits_for="the engine",
    running=[RunNow("nightly", NOW, [SourceNow("image", 'web:"1"', 12_345)])],
    waiting=["weekly"],
    next_runs={"nightly": NOW + timedelta(days=1)},
)
IDLE = DaemonNow(
    pid=1,
    version="1",
    host="ä",
    started_at=NOW,
    written_at=NOW,
    policy=PolicyInForce("config.yaml", NOW, None),
    waits_for="",
    running=[],
    waiting=[],
    next_runs={},
)


@pytest.mark.parametrize("now", [BUSY, IDLE])
def test_what_is_written_reads_back_the_same(now: DaemonNow, tmp_path: Path) -> None:
    state = StateDir(tmp_path)

    statefile.write(state, IDLE)
    statefile.write(state, now)

    assert now == statefile.read(state)
    assert [statefile.FILE_NAME] == [path.name for path in tmp_path.iterdir()]


def test_without_a_file_there_is_nothing_to_read(tmp_path: Path) -> None:
    assert statefile.read(StateDir(tmp_path / "nowhere")) is None


def changed(**members: Any) -> bytes:
    """A good file with other members in it."""
    raw = json.loads(json.dumps(asdict(BUSY), default=datetime.isoformat))
    return json.dumps({**raw, **members}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b"\xff\xfe",
        b"{}",
        b"[" * 100_000,
        changed(policy=None),
        changed(policy="config.yaml"),
        changed(started_at=5),
        changed(started_at="soon"),
        changed(running=[{"job": "nightly"}]),
        changed(running=7),
        changed(running=[{"job": "a", "started_at": "2026-05-06", "sources": [{"size": 1}]}]),
        changed(waiting=None),
        changed(next_runs=[]),
        changed(next_runs={"nightly": None}),
    ],
)
def test_a_damaged_file_is_as_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / statefile.FILE_NAME).write_bytes(content)

    assert statefile.read(StateDir(tmp_path)) is None


def test_the_file_belongs_to_the_directorys_owner(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(tmp_path, 65534, 65534)

    statefile.write(StateDir(tmp_path), IDLE)

    assert tmp_path.stat().st_uid == (tmp_path / statefile.FILE_NAME).stat().st_uid
