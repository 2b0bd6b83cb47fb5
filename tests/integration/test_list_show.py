"""`backupd list` and `show`: what they tell of a store, and that no name in it does harm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import docker
import pytest

from tests.integration.command import Command
from tests.integration.conftest import WritePolicy
from tests.integration.objects import Objects
from tests.integration.shelf import BUNDLE, IMAGE, OTHER_HOST, SECOND_TAG, Shelf, stocked
from tests.integration.trees import (
    succeeded,
)
from tests.servers.dockerd import Engine
from tests.servers.rootfs import build_image
from tests.servers.seaweedfs import SeaweedFS

FIELDS = {
    *("id", "host", "job", "kind", "name", "taken_at"),
    *("size_bytes", "stored_bytes", "archive_key"),
}


@pytest.fixture(scope="module")
def shelf(
    engine: Engine, s3: SeaweedFS, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shelf]:
    with stocked(engine, s3, tmp_path_factory.mktemp("shelf")) as filled:
        yield filled


@pytest.fixture
def objects(s3: SeaweedFS, shelf: Shelf) -> Objects:
    return Objects(s3, shelf.store)


def listed(backupd: Command, *arguments: str) -> list[dict[str, Any]]:
    """What `list --json` says."""
    rows: list[dict[str, Any]] = succeeded(backupd("list", "--json", *arguments)).json
    return rows


def test_a_listed_backup_has_every_documented_field(shelf: Shelf) -> None:
    assert [True] * 4 == [row.keys() >= FIELDS for row in shelf.rows]
    assert [
        ("testhost", "weekly", "image", IMAGE),
        ("testhost", "nightly", "image", IMAGE),
        ("testhost", "nightly", "image", SECOND_TAG),
        ("testhost", "nightly", "bundle", BUNDLE),
    ] == [(row["host"], row["job"], row["kind"], row["name"]) for row in shelf.rows]


def test_sizes_and_keys_of_a_list_are_those_of_the_bucket(shelf: Shelf, objects: Objects) -> None:
    listed_sizes = {row["archive_key"]: row["stored_bytes"] for row in shelf.rows}
    sizes = objects.sizes()

    assert listed_sizes == {key: sizes[key] for key in listed_sizes}
    assert [True] * 4 == [row["size_bytes"] > row["stored_bytes"] for row in shelf.rows]


def test_a_list_tells_oldest_first(shelf: Shelf) -> None:
    times = [row["taken_at"] for row in shelf.rows]

    assert sorted(times) == times


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([IMAGE], [0, 1]),
        ([f"docker.io/library/{SECOND_TAG}"], [2]),
        ([BUNDLE, SECOND_TAG], [2, 3]),
        (["--job", "weekly"], [0]),
        (["--kind", "bundle"], [3]),
        (["--kind", "container"], []),
        ([IMAGE, "--job", "nightly", "--kind", "image"], [1]),
        (["--job", "no-such-job"], []),
    ],
    ids=["a source", "its long name", "two sources", "a job", "a kind", "none", "all", "unknown"],
)
def test_a_list_shows_only_what_was_asked_for(
    arguments: list[str], expected: list[int], shelf: Shelf
) -> None:
    assert [shelf.rows[index] for index in expected] == listed(shelf.backupd, *arguments)


def test_a_list_shows_another_hosts_backups(shelf: Shelf) -> None:
    assert shelf.foreign_rows == listed(shelf.backupd, "--host", OTHER_HOST)


def test_a_list_shows_every_hosts_backups(shelf: Shelf) -> None:
    assert [*shelf.rows, *shelf.foreign_rows] == listed(shelf.backupd, "--host", "*")


def test_a_list_needs_no_policy(shelf: Shelf) -> None:
    assert [*shelf.rows, *shelf.foreign_rows] == listed(shelf.no_policy, *shelf.store_options)


def test_a_list_for_people_has_a_line_for_each_backup(shelf: Shelf) -> None:
    lines = succeeded(shelf.backupd("list")).stdout.splitlines()

    assert ["ID", "TAKEN", "JOB", "KIND", "NAME", "SIZE", "STORED"] == lines[0].split()
    assert [row["id"] for row in shelf.rows] == [line.split()[0] for line in lines[1:]]


def test_a_backup_whose_archive_is_missing_is_shown_as_such(shelf: Shelf, objects: Objects) -> None:
    key = shelf.foreign_rows[0]["archive_key"]
    data = objects.read(key)
    objects.remove(key)
    (row,) = listed(shelf.backupd, "--host", OTHER_HOST)
    text = shelf.backupd("list", "--host", OTHER_HOST).stdout
    objects.write(key, data)

    assert (None, None) == (row["archive_key"], row["stored_bytes"])
    assert text.rstrip().endswith("ARCHIVE MISSING")


def test_show_prints_the_manifest_as_it_is_stored(shelf: Shelf, objects: Objects) -> None:
    result = succeeded(shelf.backupd("show", shelf.rows[0]["id"], "--json"))
    (key,) = [key for key in objects.sizes() if "/backups/weekly/" in key]

    assert objects.read(key) == result.output


def test_show_for_people_names_source_archive_and_digests(shelf: Shelf) -> None:
    row = shelf.rows[0]
    facts = succeeded(shelf.backupd("show", row["id"], "--json")).json["archive"]
    text = succeeded(shelf.backupd("show", row["id"])).stdout
    shown = dict(line.split("  ", 1) for line in text.splitlines())

    assert {
        "backup": row["id"],
        "source": f"image {IMAGE}",
        "archive": row["archive_key"],
        "sha256 (tar)": facts["sha256"],
        "sha256 (stored)": facts["stored_sha256"],
        "image": f"{IMAGE} = {shelf.old.id}",
    }.items() <= {name.strip(): value.strip() for name, value in shown.items()}.items()


def test_the_first_digits_of_an_id_are_enough(shelf: Shelf) -> None:
    result = succeeded(shelf.backupd("show", shelf.rows[1]["id"][:9], "--json"))

    assert shelf.rows[1]["id"] == result.json["id"]


def test_show_needs_no_policy(shelf: Shelf) -> None:
    identity = shelf.rows[1]["id"]
    result = succeeded(shelf.no_policy("show", identity, "--json", *shelf.store_options))

    assert identity == result.json["id"]


def test_an_unknown_id_is_not_found(shelf: Shelf) -> None:
    result = shelf.backupd("show", "zzzzzzzz")

    assert (5, True) == (result.code, "cannot find backup zzzzzzzz in s3://" in result.stderr)


def test_digits_that_begin_several_ids_are_refused(
    api: docker.APIClient, policy: WritePolicy, backupd: Command
) -> None:
    # More ids than there are hex digits, so that two begin alike.
    tags = [f"backupd-test-many:{number}" for number in range(17)]
    build_image(api, *tags)
    store = {"url": f"file://{backupd.directory}/store"}
    policy({"nightly": {"images": ["backupd-test-many:*"]}}, store=store)
    succeeded(backupd("backup"))
    [(digit, _)] = Counter(row["id"][0] for row in listed(backupd)).most_common(1)
    show, restore = backupd("show", digit), backupd("restore", "image", "--id", digit)
    said = f"cannot tell which backup '{digit}' is: several begin so; write more"

    assert [(2, f"backupd: {said}\n")] * 2 == [
        (result.code, result.stderr) for result in (show, restore)
    ]


HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\r\n999999999999  forged"
QUOTED = quote(HOSTILE, safe="")


def test_names_with_control_characters_are_harmless(
    s3: SeaweedFS, bucket: dict[str, Any], shelf: Shelf, objects: Objects
) -> None:
    (key,) = [key for key in objects.sizes() if "/backups/weekly/" in key]
    hostile = key.replace("/weekly/", f"/{QUOTED}/").replace("backupd-test-shelf%3A1", QUOTED)
    Objects(s3, bucket).write(hostile, objects.read(key))
    store = ("--store", bucket["url"], *shelf.store_options[2:])
    result = succeeded(shelf.no_policy("list", *store))
    (row,) = listed(shelf.no_policy, *store)

    assert (HOSTILE, HOSTILE) == (row["job"], row["name"])
    assert 2 == len(result.stdout.splitlines())
    assert [True] * 2 == [line.isprintable() for line in result.stdout.splitlines()]


def test_a_manifest_with_control_characters_is_harmless(
    s3: SeaweedFS, bucket: dict[str, Any], shelf: Shelf, objects: Objects
) -> None:
    (key,) = [key for key in objects.sizes() if "/backups/weekly/" in key]
    warning = b'"warnings": ["harmless\\u001b[2J\\nbackup           forged"]'
    Objects(s3, bucket).write(key, objects.read(key).replace(b'"warnings": []', warning))
    store = ("--store", bucket["url"], *shelf.store_options[2:])
    lines = succeeded(shelf.no_policy("show", shelf.rows[0]["id"], *store)).stdout.splitlines()

    assert "warning          harmless\ufffd[2J backup           forged" == lines[-1]
    assert [f"backup           {shelf.rows[0]['id']}"] == [
        line for line in lines if line.startswith("backup ")
    ]
