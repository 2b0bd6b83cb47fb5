"""What is locked and until when, told from keys and the policy alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from backupd.layout import (
    DAMAGED,
    PINNED,
    VERIFIED,
    Kind,
    archive_key,
    backup_key,
    host_key,
    record_key,
    status_key,
)
from backupd.object_lock import locked_until, retained_until

NOW = datetime(2026, 3, 1, 12, 0, 0, 750_000, tzinfo=UTC)
DAY = timedelta(days=1)
ARCHIVE_ID = "0123456789abcdef-0123456789ab"
BACKUP = backup_key(
    "web01",
    "nightly",
    Kind.IMAGE,
    "app:1",
    taken_at=NOW - DAY,
    archive_id=ARCHIVE_ID,
    size_bytes=4,
)
WHOLE_SECOND = NOW.replace(microsecond=0)


@pytest.mark.parametrize(
    ("key", "until"),
    [
        (archive_key("web01", Kind.IMAGE, "app:1", ARCHIVE_ID, ".zst"), WHOLE_SECOND + 7 * DAY),
        (
            archive_key("web01", Kind.IMAGE, "app:1", ARCHIVE_ID, ".zst.age"),
            WHOLE_SECOND + 7 * DAY,
        ),
        (record_key("web01", Kind.IMAGE, "app:1", ARCHIVE_ID), WHOLE_SECOND + 7 * DAY),
        (
            record_key("web01", Kind.IMAGE, "app:1", ARCHIVE_ID, ".age"),
            WHOLE_SECOND + 7 * DAY,
        ),
        (BACKUP.key, WHOLE_SECOND + 6 * DAY),
    ],
)
def test_a_backup_is_locked_from_its_moment_on(key: str, until: datetime) -> None:
    assert until == retained_until(key, 7 * DAY, NOW)


@pytest.mark.parametrize(
    "key",
    [
        host_key("web01"),
        status_key("web01"),
        *(BACKUP.state_key(state) for state in (PINNED, DAMAGED, VERIFIED)),
        "web01/probe/0123456789abcdef",
        ".backupd-probe/checksums",
    ],
)
def test_what_is_written_again_or_removed_is_never_locked(key: str) -> None:
    assert retained_until(key, 7 * DAY, NOW) is None


def test_without_a_lock_in_the_policy_nothing_is_locked() -> None:
    assert retained_until(BACKUP.key, timedelta(), NOW) is None


@pytest.mark.parametrize("age", [7 * DAY, 8 * DAY, 7 * DAY - timedelta(minutes=30)])
def test_a_manifest_that_moves_when_its_lock_is_over_gets_none(age: timedelta) -> None:
    assert retained_until(BACKUP.key, 7 * DAY, BACKUP.taken_at + age) is None


@pytest.mark.parametrize(
    ("age", "is_locked"),
    [(timedelta(), True), (7 * DAY - timedelta(seconds=1), True), (7 * DAY, False)],
)
def test_a_backup_can_go_once_its_days_are_over(age: timedelta, is_locked: bool) -> None:
    assert is_locked is (locked_until(NOW - age, 7 * DAY, NOW) is not None)


def test_nothing_waits_where_nothing_is_locked() -> None:
    assert locked_until(NOW, timedelta(), NOW) is None
