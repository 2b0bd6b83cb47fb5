"""What a prune asks of a server: listings and few deletions, and nothing for each backup."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from backupd.layout import Kind, archive_key, backup_key
from backupd.policy import StoreSpec
from backupd.stores.s3 import S3Store
from tests.contract.shelves import DAY, HOST, JOB, NOW, Shelf, policy_of, prune
from tests.servers.odd_s3 import BUCKET, Oddity, OddS3

SOURCES, DAYS = 6, 250
PAGES = 2
"""How many requests list the 1,500 manifests once, or the archives."""


@pytest.fixture
def server() -> Iterator[OddS3]:
    with OddS3() as started:
        fill(started)
        yield started


def fill(server: OddS3) -> None:
    """A bucket of 1,500 backups whose manifests hold nothing that could be read."""
    for number in range(SOURCES * DAYS):
        name = f"app:{number % SOURCES}"
        archive_id = f"{number:016x}-0123456789ab"
        key = backup_key(
            HOST,
            JOB,
            Kind.IMAGE,
            name,
            taken_at=NOW - DAY * (number // SOURCES),
            archive_id=archive_id,
            size_bytes=4,
        )
        server.objects[f"p/{key.key}"] = b""
        server.objects[f"p/{archive_key(HOST, Kind.IMAGE, name, archive_id, '.zst')}"] = b"tar"


def shelf_at(server: OddS3, directory: Path) -> Shelf:
    spec = StoreSpec(
        url=f"s3://{BUCKET}/p",
        endpoint=server.endpoint,
        access_key=SecretStr("key"),
        secret_key=SecretStr("secret"),
    )
    return Shelf(S3Store(spec, attempts=2), directory)


def counted(server: OddS3) -> Counter[str]:
    """How often each sort of request was made; single objects are told apart by their folder."""
    return Counter(
        request if "?" in request else "/".join(request.split("/")[:4])
        for request in server.requests
    )


def test_a_prune_that_removes_nothing_lists_manifests_and_archives_once(
    server: OddS3, tmp_path: Path
) -> None:
    prune(shelf_at(server, tmp_path), policy_of({"keep_daily": "all"}))

    listings = {"GET /?list-type": 2 * PAGES, "GET /?uploads": 1}
    assert listings | {"GET /p/web01/host.json": 2} == counted(server)


def test_a_prune_lists_six_times_and_deletes_a_thousand_with_each_request(
    server: OddS3, tmp_path: Path
) -> None:
    pruned = prune(shelf_at(server, tmp_path), policy_of({"keep_last": 10}), yes=True)

    counts = counted(server)
    assert 1440 == len(pruned.removed) == pruned.removal.archive_count
    assert 2 * 60 == len(server.objects)
    # Afterwards one page holds what is left.
    assert {"GET /?list-type": 4 * PAGES + 2, "POST /?delete": 4, "GET /?uploads": 1} == {
        request: count for request, count in counts.items() if "?" in request
    }
    assert {"GET /p/web01/host.json"} == {request for request in counts if "?" not in request}


def test_the_sources_of_a_label_cost_one_manifest_each(server: OddS3, tmp_path: Path) -> None:
    prune(shelf_at(server, tmp_path), policy_of({"keep_daily": 1}, images=[{"label": "keep"}]))

    manifests = {
        request: count
        for request, count in counted(server).items()
        if request.startswith("GET /p/web01/backups")
    }
    assert {"GET /p/web01/backups": SOURCES} == manifests


@pytest.mark.parametrize("oddity", [Oddity.NO_MULTI_DELETE, Oddity.NEEDS_CONTENT_MD5])
def test_servers_with_their_own_ideas_of_deleting_are_pruned_too(
    oddity: Oddity, tmp_path: Path
) -> None:
    with OddS3(oddity) as server:
        fill(server)
        pruned = prune(shelf_at(server, tmp_path), policy_of({"keep_last": 240}))

    assert (60, 60, []) == (
        len(pruned.removed),
        pruned.removal.archive_count,
        pruned.removal.refused,
    )
    assert 2 * SOURCES * 240 == len(server.objects)
