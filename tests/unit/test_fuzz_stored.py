"""Whatever somebody puts into a bucket: it is ours and usable, or is said not to be."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backupd.catalog import Catalog, HostFacts, listed
from backupd.errors import DamagedBackup, StoreError
from backupd.layout import (
    BackupKey,
    Kind,
    StateKey,
    backup_key,
    host_key,
    moment_of,
    parse_archive_key,
    parse_backup_key,
    segment,
    status_key,
)
from backupd.manifest import Manifest, parse
from backupd.sources.container_image import Record, changes, image_config, read_record
from backupd.stores import Entry
from backupd.stores.directory import DirectoryStore
from backupd.text import moment, size
from backupd.verbs.status import host_status
from tests.unit.fuzzing import HOSTILE_TEXTS, fuzzed, spoiled

FIXTURES = Path(__file__).parent / "manifests"
MANIFESTS = {path.name: json.loads(path.read_bytes()) for path in sorted(FIXTURES.glob("*.json"))}
ZONES = [ZoneInfo(name) for name in ("UTC", "Pacific/Kiritimati", "Pacific/Niue")]
NOW = datetime(2026, 11, 26, tzinfo=UTC)
DEEP = b"[" * 100_000 + b"]" * 100_000

pieces = st.one_of(
    st.sampled_from(
        [
            *("web01", "backups", "archives", "nightly", "image", "container", "..", ".", ""),
            *("%2F", "%00", "%ED%A0%80", "%ff", "~", "a~" + "0" * 40, "app%3A1", "\u0661", "٣"),
            *("20261126T120000.000Z", "00010101T000000.000Z", "99991231T235959.999Z"),
            *("0123456789abcdef-0123456789ab", "12", "012", "-1", "9" * 20, "json", "pinned"),
            *("20261126T120000.000Z.0123456789abcdef-0123456789ab.12.json",),
            *("00010101T000000.000Z.0123456789abcdef-0123456789ab.12.json",),
            *("99991231T235959.999Z.0123456789abcdef-0123456789ab.007.json",),
            *("20261126T120000.000Z.0123456789abcdef-0123456789ab.٣.json",),
            *("20261126T120000.000Z.0123456789abcdef-0123456789ab.damaged",),
            *("0123456789abcdef-0123456789ab.tar.zst", "record.json", "tar"),
        ]
    ),
    st.text(max_size=6),
)
keys = st.builds(
    lambda parts, signs: "".join(a + b for a, b in zip(parts, [*signs, ""], strict=False)),
    st.lists(pieces, min_size=1, max_size=8),
    st.lists(st.sampled_from(["/", "/", "/", "/", ".", ""]), min_size=8, max_size=8),
)
near_keys = st.builds(
    lambda host, job, kind, name, last: f"{host}/backups/{job}/{kind}/{name}/{last}",
    *(st.one_of(pieces, st.just("x")) for _ in range(2)),
    st.sampled_from(["image", "bundle", "container", "volume", "Image", ""]),
    st.one_of(pieces, st.just("x")),
    pieces,
)


@fuzzed(500)
@given(st.one_of(keys, near_keys))
def test_a_key_is_ours_to_the_letter_or_not_at_all(key: str) -> None:
    found = parse_backup_key(key)

    if isinstance(found, StateKey):
        assert f"{found.stem}.{found.state}" == key
    elif found is not None:
        assert found.key == key
        assert len(found.id) == 12
        # What a list prints of it, for a person anywhere on Earth.
        assert all(moment(found.taken_at, zone) and size(found.size_bytes) for zone in ZONES)
    parse_archive_key(key)


@fuzzed(150)
@given(
    st.text(min_size=1, max_size=300),
    st.text(min_size=1, max_size=300),
    st.sampled_from(Kind),
    st.text(min_size=1, max_size=300),
    st.integers(1, 220_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    st.integers(0, 2**63),
)
def test_every_name_makes_a_key_of_its_own(
    host: str, job: str, kind: Kind, name: str, at: datetime, size_bytes: int
) -> None:
    archive_id = "0123456789abcdef-0123456789ab"
    key = backup_key(
        host, job, kind, name, taken_at=at, archive_id=archive_id, size_bytes=size_bytes
    ).key

    parsed = parse_backup_key(key)

    assert isinstance(parsed, BackupKey)
    assert (segment(host), segment(job), segment(name)) == tuple(
        key.split("/")[place] for place in (0, 2, 4)
    )
    assert not {"", ".", ".."} & set(key.split("/"))
    assert key.isascii()
    assert key.isprintable()


@fuzzed(400)
@given(st.data())
def test_a_manifest_is_usable_or_said_to_be_damaged(data: st.DataObject) -> None:
    whole = MANIFESTS[data.draw(st.sampled_from(sorted(MANIFESTS)))]
    key = parse_backup_key(whole["key_for_the_test"])
    assert isinstance(key, BackupKey)
    text = json.dumps(data.draw(spoiled(whole))).encode()

    try:
        manifest = parse(text, key)
    except DamagedBackup:
        return

    assert manifest.key.key == key.key
    assert parse(manifest.to_json(), key) == manifest
    _use(manifest)


@fuzzed(150)
@given(st.one_of(st.binary(max_size=60), st.sampled_from([DEEP, b"\xff\xfe", b"null", b'""'])))
def test_garbage_is_no_manifest(data: bytes) -> None:
    key = parse_backup_key(MANIFESTS["v1-image.json"]["key_for_the_test"])
    assert isinstance(key, BackupKey)

    with pytest.raises(DamagedBackup):
        parse(data, key)


def _use(manifest: Manifest) -> None:
    """What `show` and a restore do with a manifest before they touch anything."""
    for zone in ZONES:
        moment(manifest.taken_at, zone)
        moment(manifest.archive.made_at, zone)
    assert 0 <= manifest.archive.stored_bytes < 2**63
    places = [manifest.archive.key, *([manifest.record.key] if manifest.record else [])]
    for place in places:
        assert parse_archive_key(place) is not None
        assert not {"", ".", ".."} & set(place.split("/"))


RECORD: dict[str, Any] = {
    "schema": 1,
    "machine": "x86_64",
    "container": {
        "Id": "ab" * 32,
        "Name": "/web",
        "Platform": "linux",
        "Config": {
            "User": "www",
            "Env": ["A=1", "B=two words"],
            "Cmd": ["sleep", "1"],
            "Entrypoint": ["/init"],
            "Labels": {"a": "b"},
            "ExposedPorts": {"80/tcp": {}},
            "Volumes": {"/data": {}},
            "WorkingDir": "/srv",
            "StopSignal": "SIGTERM",
            "Shell": ["/bin/sh", "-c"],
            "OnBuild": ["RUN true"],
            "Healthcheck": {
                "Test": ["CMD-SHELL", "true"],
                "Interval": 1,
                "Timeout": 1,
                "StartPeriod": 1,
                "StartInterval": 1,
                "Retries": 3,
            },
        },
    },
    "image": {"Architecture": "amd64", "Variant": "v8", "Os": "linux", "Author": "me",
              "Config": {"Shell": ["sh"]}},
    "networks": {},
    "volumes": {},
    "lenders": {},
}  # fmt: skip


def as_changes(record: Record) -> None:
    given_, lost = changes(record)

    assert all(isinstance(text, str) for text in [*given_, *lost])
    # Each line would be an instruction to the engine.
    assert not any("\n" in text for text in given_)


def as_image(record: Record) -> None:
    json.loads(image_config(record, diff_id="sha256:" + "0" * 64, taken_at=NOW, comment=""))


@fuzzed(400)
@given(spoiled(RECORD))
def test_a_record_becomes_an_image_or_is_said_to_be_damaged(record: Any) -> None:
    try:
        found = read_record(json.dumps(record).encode())
    except DamagedBackup:
        return

    for use in (as_changes, as_image):
        with suppress(DamagedBackup):
            use(found)


@pytest.mark.parametrize("data", [DEEP, b"[]", b"null", b"\xff", b"{", b'{"container": {}}'])
def test_garbage_is_no_record(data: bytes) -> None:
    with pytest.raises(DamagedBackup):
        read_record(data)


@fuzzed(150)
@given(st.data())
def test_who_writes_here_is_known_or_said_not_to_be(tmp_path: Path, data: st.DataObject) -> None:
    facts = {"host": "web01", "since": "x", "machine_id": "m", "adopted": ["a"], "adopted_by": None}
    text = json.dumps(data.draw(spoiled(facts))).encode()
    store = DirectoryStore(tmp_path / "store")
    store.put_bytes(host_key("web01"), data.draw(st.sampled_from([text, DEEP, b"\xff", b"7"])))
    catalog = Catalog(store, "web01")

    try:
        found = catalog.facts()
        catalog.stored()
    except StoreError:
        return

    assert isinstance(found, HostFacts)
    assert all(found.adopted)


@fuzzed(150)
@given(st.data())
def test_the_status_of_another_host_is_told_or_said_to_be_unreadable(
    tmp_path: Path, data: st.DataObject
) -> None:
    facts = {
        "schema": 1,
        "host": "web01",
        "written_at": "2026-11-26T00:00:00+00:00",
        "jobs": {
            "nightly": {
                "schedule": "0 3 * * *",
                "timezone": "UTC",
                "delay_seconds": 0,
                "promised_since": "2026-11-26T00:00:00+00:00",
                "last_started_at": None,
                "last_ended_at": None,
                "last_state": "good",
                "last_note": "",
                "last_success_started_at": None,
                "last_success_ended_at": None,
                "skipped": 0,
            }
        },
    }
    text = json.dumps(data.draw(spoiled(facts))).encode()
    store = DirectoryStore(tmp_path / "store")
    store.put_bytes(status_key("web01"), data.draw(st.sampled_from([text, text, text, DEEP])))

    assert "web01" == host_status(store, "web01", NOW).host


@pytest.mark.parametrize("text", [*HOSTILE_TEXTS, "00010101T000000.000Z", "99991231T235959.999Z"])
def test_what_no_clock_shows_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError, match="no moment"):
        moment_of(text)


@fuzzed(200)
@example(["web01/backups/n/image/x/00010101T000000.000Z.0123456789abcdef-0123456789ab.1.json"])
@given(st.lists(near_keys, max_size=8))
def test_a_listing_passes_over_what_is_foreign(foreign: list[str]) -> None:
    class Listing:
        url = "s3://b"

        def list(self, prefix: str, **_: object) -> Any:
            return [Entry(key, 0, NOW) for key in foreign]

    found = listed(Listing(), "web01/backups/")  # type: ignore[arg-type]

    assert all(backup.key in foreign for backup in found)
