"""The newest backup of a source is found by few requests, and is the newest whatever they were."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from pydantic import SecretStr

from backupd.errors import NotFound, UsageError
from backupd.layout import CHECKED, Kind, backup_key
from backupd.policy import StoreSpec
from backupd.stores import Store
from backupd.stores.s3 import S3Store
from backupd.verbs.choose import ALL_HOSTS, Wish, choose
from tests.contract.shelves import DAY, HOST, JOB, NAME, NOW, Shelf
from tests.servers.odd_s3 import BUCKET, Oddity, OddS3

HOURS = 10_000
IMAGE = Wish(host=HOST, kind=Kind.IMAGE, name=NAME)


@pytest.fixture
def shelf(store: Store, tmp_path: Path) -> Shelf:
    return Shelf(store, tmp_path)


@pytest.fixture(params=[(), (Oddity.IGNORES_START,)], ids=["plain", "ignores-start"])
def crowded(request: pytest.FixtureRequest) -> Iterator[OddS3]:
    """Ten thousand hourly backups of one source before the newest, each with its proof."""
    with OddS3(*request.param) as server:
        for hour in range(1, HOURS):
            key = backup_key(
                HOST,
                JOB,
                Kind.IMAGE,
                NAME,
                taken_at=NOW - timedelta(hours=hour),
                archive_id=f"{hour:016x}-0123456789ab",
                size_bytes=4,
            )
            server.objects[key.key] = b"nothing that could be read"
            server.objects[key.state_key(CHECKED)] = b""
        yield server


def at(server: OddS3, directory: Path) -> Shelf:
    spec = StoreSpec(
        url=f"s3://{BUCKET}",
        endpoint=server.endpoint,
        access_key=SecretStr("key"),
        secret_key=SecretStr("secret"),
    )
    return Shelf(S3Store(spec, attempts=2), directory)


@pytest.mark.parametrize("host", [None, HOST])
def test_the_newest_of_ten_thousand_is_found_by_three_listings(
    crowded: OddS3, tmp_path: Path, host: str | None
) -> None:
    shelf = at(crowded, tmp_path)
    newest = shelf.add()
    crowded.requests.clear()

    _, manifest = choose(shelf.store, replace(IMAGE, host=host), NOW)

    assert newest == manifest
    if Oddity.IGNORES_START not in crowded.oddities:
        assert crowded.count("GET /?list-type") <= 3


def test_one_of_a_year_ago_is_found_without_what_came_after(tmp_path: Path) -> None:
    with OddS3() as server:
        shelf = at(server, tmp_path)
        wanted = shelf.add(DAY * 365)
        for day in range(3_000):
            key = backup_key(
                HOST,
                JOB,
                Kind.IMAGE,
                NAME,
                taken_at=NOW - timedelta(hours=2 * day + 1),
                archive_id=f"{day:016x}-0123456789ab",
                size_bytes=4,
            )
            server.objects[key.key] = b"nothing that could be read"
        server.requests.clear()

        _, manifest = choose(shelf.store, replace(IMAGE, at=NOW - DAY * 364.5), NOW)

    assert wanted == manifest
    assert server.count("GET /?list-type") <= 2


@pytest.mark.parametrize("age", [timedelta(), DAY / 2, DAY * 2, DAY * 30, DAY * 900, -DAY])
def test_the_newest_is_found_however_old_it_is_and_whatever_the_clock_says(
    shelf: Shelf, age: timedelta
) -> None:
    shelf.add(age + DAY * 400)
    newest = shelf.add(age, states=["checked"])
    shelf.add(age - DAY, name="app:10")
    shelf.add(age - DAY, kind=Kind.CONTAINER)

    found = [
        choose(shelf.store, IMAGE, now)[1]
        for now in (NOW, NOW - DAY * 4000, NOW + DAY * 4000, datetime.min.replace(tzinfo=UTC))
    ]

    assert [newest] * 4 == found


def test_a_moment_decides_which_one_is_the_newest(shelf: Shelf) -> None:
    made = [shelf.add(DAY * age) for age in (0, 1, 3, 40, 400)]

    for manifest in made:
        wish = replace(IMAGE, at=manifest.taken_at)
        assert manifest == choose(shelf.store, wish, NOW)[1]
        elsewhere = manifest.taken_at.astimezone(timezone(timedelta(hours=5)))
        assert manifest == choose(shelf.store, replace(IMAGE, at=elsewhere), NOW)[1]
    with pytest.raises(NotFound, match="its oldest backup is from"):
        choose(shelf.store, replace(IMAGE, at=made[-1].taken_at - DAY), NOW)
    with pytest.raises(NotFound, match="its oldest backup is from"):
        choose(shelf.store, replace(IMAGE, at=datetime.min.replace(tzinfo=UTC)), NOW)


def test_the_newest_of_all_jobs_is_taken_unless_one_is_named(shelf: Shelf) -> None:
    other = shelf.add(DAY / 24, job="weekly: on/sundays")
    older = shelf.add(DAY)
    long_name = shelf.add(DAY * 2, job="j" * 300)

    assert other == choose(shelf.store, IMAGE, NOW)[1]
    assert older == choose(shelf.store, replace(IMAGE, job=JOB), NOW)[1]
    assert long_name == choose(shelf.store, replace(IMAGE, job="j" * 300), NOW)[1]


def test_a_host_whose_backup_is_old_is_seen_beside_one_whose_is_new(shelf: Shelf) -> None:
    shelf.add()
    old = replace(shelf, host="web02").add(DAY * 500)

    with pytest.raises(UsageError, match="web01, web02 have one"):
        choose(shelf.store, replace(IMAGE, host=ALL_HOSTS), NOW)
    assert old == choose(shelf.store, replace(IMAGE, host="web02"), NOW)[1]


def test_what_was_never_backed_up_is_not_found(shelf: Shelf) -> None:
    shelf.add()

    for wish in (
        replace(IMAGE, name="app"),
        replace(IMAGE, kind=Kind.VOLUME),
        replace(IMAGE, job="night"),
        replace(IMAGE, host="web"),
    ):
        with pytest.raises(NotFound):
            choose(shelf.store, wish, NOW)
