"""Keys: reversible, never colliding, and foreign ones are never mistaken for ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backupd.layout import (
    SEGMENT_LIMIT_BYTES,
    BackupKey,
    Kind,
    StateKey,
    archive_key,
    backup_key,
    is_hashed,
    name_of,
    parse_archive_key,
    parse_backup_key,
    segment,
    source_folder,
    stamp,
)

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)
ARCHIVE_ID = "0123456789abcdef-0123456789ab"
TAKEN_AT = datetime(2026, 3, 1, 12, 30, 15, 123000, tzinfo=UTC)


def key_of(name: str, *, job: str = "nightly", host: str = "web01") -> BackupKey:
    return backup_key(
        host, job, Kind.IMAGE, name, taken_at=TAKEN_AT, archive_id=ARCHIVE_ID, size_bytes=42
    )


@given(NAMES)
def test_a_segment_is_one_safe_path_step(name: str) -> None:
    text = segment(name)

    assert 0 < len(text.encode()) <= SEGMENT_LIMIT_BYTES
    assert "/" not in text
    assert not text.startswith(".")
    assert text.isascii()


@given(NAMES)
def test_a_segment_that_is_not_hashed_gives_its_name_back(name: str) -> None:
    text = segment(name)

    assert is_hashed(text) or name_of(text) == name


@given(NAMES, NAMES)
def test_two_names_never_share_a_segment(one: str, other: str) -> None:
    assert (segment(one) == segment(other)) == (one == other)


def test_a_name_that_looks_like_a_hashed_one_does_not_collide_with_it() -> None:
    long = "x" * 400
    lookalike = segment(long)

    assert segment(lookalike) != segment(long)


@pytest.mark.parametrize(
    ("one", "other"),
    [("localhost:5000", "localhost:5000/app:1"), ("db", "db2"), ("a/b", "a%2Fb"), ("..", "%2E.")],
)
def test_no_source_folder_is_the_beginning_of_another(one: str, other: str) -> None:
    first = source_folder("h", "j", Kind.IMAGE, one)
    second = source_folder("h", "j", Kind.IMAGE, other)

    assert not second.startswith(first)
    assert not first.startswith(second)


@given(NAMES, NAMES, NAMES)
def test_a_manifest_key_reads_back_as_it_was_made(host: str, job: str, name: str) -> None:
    key = key_of(name, job=job, host=host)

    parsed = parse_backup_key(key.key)

    assert isinstance(parsed, BackupKey)
    assert (parsed.key, parsed.id) == (key.key, key.id)
    assert (parsed.taken_at, parsed.size_bytes) == (TAKEN_AT, 42)


def test_a_state_stands_beside_its_manifest() -> None:
    key = key_of("web:1")

    assert parse_backup_key(key.state_key("pinned")) == StateKey(key.stem, "pinned")


def test_the_id_survives_another_job_or_host() -> None:
    assert key_of("web:1").id == key_of("web:1", job="weekly", host="web02").id


@pytest.mark.parametrize(
    "key",
    [
        "web01/backups/nightly/image/web%3A1/notes.txt",
        "web01/backups/nightly/picture/web%3A1/20260301T123015.123Z.0123456789abcdef-0123456789ab.1.json",
        "web01/backups/nightly/image/web:1/20260301T123015.123Z.0123456789abcdef-0123456789ab.1.json",
        "web01/backups/nightly/image/../20260301T123015.123Z.0123456789abcdef-0123456789ab.1.json",
        "web01/backups/nightly/image/%77eb/20260301T123015.123Z.0123456789abcdef-0123456789ab.1.json",
        "web01/backups/nightly/image/web/20261301T123015.123Z.0123456789abcdef-0123456789ab.1.json",
        "web01/backups/image/web/20260301T123015.123Z.0123456789abcdef-0123456789ab.1.json",
        "web01/archives/nightly/image/web/20260301T123015.123Z.0123456789abcdef-0123456789ab.1.json",
        "web01/backups/nightly/image/web/20260301T123015.123Z.0123456789ABCDEF-0123456789ab.1.json",
        "",
        "/",
    ],
)
def test_a_key_that_is_not_ours_to_the_letter_is_nobodys_backup(key: str) -> None:
    assert parse_backup_key(key) is None


def test_stamps_sort_as_their_moments_do() -> None:
    moments = [TAKEN_AT + timedelta(milliseconds=step * 37) for step in range(100)]

    stamps = [stamp(moment) for moment in moments]

    assert stamps == sorted(stamps)


def test_an_archive_key_tells_its_id_and_what_it_is() -> None:
    key = archive_key("web01", Kind.CONTAINER, "web", ARCHIVE_ID, ".zst")

    assert parse_archive_key(key) == (ARCHIVE_ID, "tar.zst")
    assert parse_archive_key(key.replace("tar.zst", "record.json")) == (ARCHIVE_ID, "record.json")
    assert parse_archive_key(f"{key}.age") == (ARCHIVE_ID, "tar.zst.age")
    assert parse_archive_key(key.replace(".tar.zst", ".exe")) is None
