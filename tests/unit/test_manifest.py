"""Manifests: what is written reads back, and nothing that others wrote is believed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backupd.errors import DamagedBackup
from backupd.layout import BackupKey, parse_backup_key
from backupd.manifest import Manifest, parse

FIXTURES = Path(__file__).parent / "manifests"


def stored(name: str) -> tuple[bytes, BackupKey]:
    """A manifest as an earlier version wrote it, and the key that it was written under."""
    data = (FIXTURES / name).read_bytes()
    key = parse_backup_key(json.loads(data)["key_for_the_test"])
    assert isinstance(key, BackupKey)
    return data, key


def changed(data: bytes, **fields: Any) -> bytes:
    return json.dumps(json.loads(data) | fields).encode()


@pytest.mark.parametrize("name", sorted(path.name for path in FIXTURES.glob("*.json")))
def test_every_version_ever_written_stays_readable(name: str) -> None:
    data, key = stored(name)

    manifest = parse(data, key)

    assert manifest.key.key == key.key
    assert manifest.id == key.id
    assert parse(manifest.to_json(), key) == manifest


def test_fixtures_of_every_kind_are_there() -> None:
    assert {path.name for path in FIXTURES.glob("*.json")} >= {
        "v1-image.json",
        "v1-bundle.json",
        "v1-container.json",
        "v1-container-encrypted.json",
        "v1-volume.json",
    }


def test_a_field_of_a_later_version_is_passed_over() -> None:
    data, key = stored("v1-image.json")

    assert parse(changed(data, proven_at="2027-01-01T00:00:00Z"), key) == parse(data, key)


@pytest.mark.parametrize(
    "fields",
    [
        {"schema": 2},
        {"kind": "picture"},
        {"taken_at": "yesterday"},
        {"archive": None},
        {"images": [{"id": "sha256:short"}]},
    ],
)
def test_a_manifest_that_breaks_the_schema_is_called_damaged(fields: dict[str, Any]) -> None:
    data, key = stored("v1-image.json")

    with pytest.raises(DamagedBackup, match=f"manifest of backup {key.id}"):
        parse(changed(data, **fields), key)


@pytest.mark.parametrize(
    "archive",
    [
        {"size_bytes": -1},
        {"size_bytes": 2**64},
        {"sha256": "../../etc/passwd"},
        {"key": "/etc/passwd"},
        {"key": "web01/host.json"},
        {"id": "../x"},
        {"compression": "rar"},
    ],
)
def test_a_hostile_archive_record_is_refused(archive: dict[str, Any]) -> None:
    data, key = stored("v1-image.json")
    whole = json.loads(data)["archive"] | archive

    with pytest.raises(DamagedBackup):
        parse(changed(data, archive=whole), key)


def test_an_archive_tells_for_whom_it_is_encrypted() -> None:
    encrypted, clear = (
        parse(*stored(f"{name}.json")) for name in ("v1-container-encrypted", "v1-container")
    )

    assert {"age1", "ssh-"} == {one[:4] for one in encrypted.archive.recipients}
    assert frozenset() == clear.archive.recipients
    assert clear.record is not None
    assert clear.record.encryption is None


@pytest.mark.parametrize("part", ["archive", "record"])
@pytest.mark.parametrize(
    "changes",
    [
        {"encryption": None},
        {"encryption": {"format": "age", "recipients": [], "header_sha256": "0" * 64}},
        {"encryption": {"format": "rot13", "recipients": ["age1x"], "header_sha256": "0" * 64}},
        {"encryption": {"format": "age", "recipients": ["age1x\n"], "header_sha256": "0" * 64}},
        {"encryption": {"format": "age", "recipients": ["\x1b[2J"], "header_sha256": "0" * 64}},
        {"encryption": {"format": "age", "recipients": ["age1x"], "header_sha256": "short"}},
        {"encryption": {"format": "age", "recipients": ["age1x"]}},
    ],
)
def test_an_encryption_that_does_not_fit_is_refused(part: str, changes: dict[str, Any]) -> None:
    data, key = stored("v1-container-encrypted.json")
    whole = json.loads(data)[part] | changes

    with pytest.raises(DamagedBackup):
        parse(changed(data, **{part: whole}), key)


@pytest.mark.parametrize("fields", [{"name": "other:1"}, {"host": "else"}, {"job": "weekly"}])
def test_a_manifest_under_anothers_key_is_refused(fields: dict[str, Any]) -> None:
    data, key = stored("v1-image.json")

    with pytest.raises(DamagedBackup, match="copied or renamed"):
        parse(changed(data, **fields), key)


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"\xff\xfe", b"{" * 10_000])
def test_text_that_is_no_manifest_is_called_damaged(data: bytes) -> None:
    _, key = stored("v1-image.json")

    with pytest.raises(DamagedBackup):
        parse(data, key)


def test_a_manifest_is_json_that_a_person_can_read() -> None:
    data, key = stored("v1-image.json")

    text = parse(data, key).to_json().decode()

    assert json.loads(text)["schema"] == 1
    assert text.count("\n") > 20
    assert isinstance(Manifest.model_validate_json(text).taken_at, datetime)
    assert Manifest.model_validate_json(text).taken_at.tzinfo == UTC
