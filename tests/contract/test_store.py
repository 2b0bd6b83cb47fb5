"""What every store promises, whichever it is."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from backupd.errors import ObjectMissing, StoreError
from backupd.stores import Store, open_store
from tests.contract.conftest import PART_BYTES, Bench, directory_bench, s3_spec
from tests.contract.streams import (
    MIB,
    Failing,
    Piecemeal,
    digest_of,
    noise,
    pieces_of,
    reader_of,
)
from tests.servers.seaweedfs import SeaweedFS

KEY = "host/archives/image/web%3A1/0123.tar.zst"
AWKWARD_KEYS = [
    "a/localhost%3A5000%2Fapp%3A1.json",
    "a/%2Ehidden",
    "a/with space +plus &and =is ;semi",
    "a/quotes'\"<>`$!*()[]{}|^~#?@,",
    "a/ünï€😀",
    "a/" + "x" * 200,
    "a/ends.with.",
]


@pytest.fixture
def store(bench: Bench) -> Store:
    """Every store, with a pace and without."""
    return bench.store


def put(store: Store, key: str, data: bytes) -> int:
    return store.put(key, reader_of(data), estimate_bytes=len(data))


def read_back(store: Store, key: str) -> bytes:
    with closing(store.open(key)) as reader:
        return b"".join(pieces_of(reader, MIB))


@pytest.mark.parametrize(
    "size_bytes",
    [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES],
    ids=["empty", "one byte", "a part less one", "one part", "a part and one", "two parts"],
)
def test_what_was_put_comes_back(store: Store, size_bytes: int) -> None:
    data = noise(size_bytes)

    stored_bytes = put(store, KEY, data)

    assert (size_bytes, data) == (stored_bytes, read_back(store, KEY))


def test_a_stream_of_many_parts_comes_back(store: Store) -> None:
    data = noise(40 * MIB)

    put(store, KEY, data)

    with closing(store.open(KEY)) as reader:
        assert hashlib.sha256(data).hexdigest() == digest_of(reader)


def test_a_reader_that_gives_less_than_asked_is_read_to_its_end(store: Store) -> None:
    data = noise(2 * PART_BYTES + 12_345)

    store.put(KEY, Piecemeal(data, 70_001), estimate_bytes=len(data))

    assert data == read_back(store, KEY)


@pytest.mark.parametrize("after_bytes", [0, 1 * MIB, 3 * PART_BYTES + 1])
@pytest.mark.parametrize("error", [OSError("the source broke"), KeyboardInterrupt()], ids=repr)
def test_a_source_that_fails_leaves_nothing_and_its_error_unchanged(
    bench: Bench, after_bytes: int, error: BaseException
) -> None:
    with pytest.raises(type(error)) as caught:
        bench.store.put(KEY, Failing(after_bytes, error), estimate_bytes=10 * MIB)

    assert error is caught.value
    assert ([], []) == (bench.objects(), bench.unfinished())


def test_an_upload_leaves_its_object_and_nothing_else(bench: Bench) -> None:
    put(bench.store, KEY, noise(PART_BYTES + 1))

    assert ([KEY], []) == (bench.objects(), bench.unfinished())


def test_the_size_is_that_of_the_object(store: Store) -> None:
    put(store, KEY, b"12345")

    assert store.size(KEY) == 5


def test_what_is_not_there_has_no_size(store: Store) -> None:
    put(store, KEY, b"12345")

    assert [None, None, None] == [store.size(key) for key in ("x", f"{KEY}/x", "host/archives")]


def test_reading_what_is_not_there_says_so(store: Store) -> None:
    with pytest.raises(ObjectMissing, match=f"cannot read {store.url}/some/thing: no such object"):
        store.open("some/thing")


def test_getting_what_is_not_there_says_so(store: Store) -> None:
    with pytest.raises(ObjectMissing, match=f"cannot read {store.url}/some/thing: no such object"):
        store.get_bytes("some/thing", limit_bytes=10)


def test_small_objects_come_back_whole(store: Store) -> None:
    store.put_bytes("host/host.json", b"{}")

    assert store.get_bytes("host/host.json", limit_bytes=2) == b"{}"


def test_put_bytes_replaces(bench: Bench) -> None:
    bench.store.put_bytes("status.json", b"first")
    bench.store.put_bytes("status.json", b"second")

    assert bench.store.get_bytes("status.json", limit_bytes=100) == b"second"
    assert (["status.json"], []) == (bench.objects(), bench.unfinished())


def test_an_object_above_the_limit_is_not_read(store: Store) -> None:
    store.put_bytes("status.json", bytes(101))

    with pytest.raises(StoreError, match="101 bytes where at most 100 belong"):
        store.get_bytes("status.json", limit_bytes=100)


def test_reads_are_exact(store: Store) -> None:
    put(store, KEY, noise(3 * MIB + 8))

    with closing(store.open(KEY)) as reader:
        lengths = [len(piece) for piece in pieces_of(reader, MIB + 1)]

    assert [MIB + 1, MIB + 1, MIB + 1, 5] == lengths


def test_a_closed_stream_does_not_look_like_its_end(store: Store) -> None:
    put(store, KEY, noise(2 * MIB))
    reader = store.open(KEY)
    reader.read(10)

    reader.close()

    with pytest.raises(StoreError, match="closed in the middle"):
        reader.read(2 * MIB)


@pytest.mark.parametrize("key", AWKWARD_KEYS)
def test_awkward_keys_are_kept_to_the_letter(bench: Bench, key: str) -> None:
    bench.store.put_bytes(key, b"content")

    assert [key] == [entry.key for entry in bench.store.list("a/")] == bench.objects()
    assert (7, b"content") == (
        bench.store.size(key),
        bench.store.get_bytes(key, limit_bytes=7),
    )
    assert ([], []) == (bench.store.delete([key]), bench.objects())


def test_a_listing_tells_sizes_and_times(store: Store) -> None:
    store.put_bytes("a/one", b"1")
    store.put_bytes("a/three", b"333")

    entries = list(store.list("a/"))

    assert [("a/one", 1), ("a/three", 3)] == [(entry.key, entry.size_bytes) for entry in entries]
    for entry in entries:
        assert abs(entry.modified_at - datetime.now(UTC)) < timedelta(minutes=10)


def test_a_prefix_meets_only_its_own(store: Store) -> None:
    for key in ("db/1", "db/2/3", "db2/1", "d"):
        store.put_bytes(key, b"")

    assert {"db/1", "db/2/3"} == {entry.key for entry in store.list("db/")}


def test_a_prefix_may_end_within_a_name(store: Store) -> None:
    for key in ("b/20260101.json", "b/20260102.json", "b/20270101.json", "c/20260103.json"):
        store.put_bytes(key, b"")

    assert ["b/20260101.json", "b/20260102.json"] == [entry.key for entry in store.list("b/2026")]


def test_an_empty_store_lists_nothing(store: Store) -> None:
    assert ([], []) == (list(store.list("")), list(store.folders("")))


def test_siblings_come_in_the_order_of_their_bytes(store: Store) -> None:
    names = ["Z", "a", "a.b", "a0", "b", "é", "€", "😀"]
    for name in reversed(names):
        store.put_bytes(f"x/{name}", b"")

    assert [f"x/{name}" for name in names] == [entry.key for entry in store.list("x/")]


def test_a_listing_starts_after_what_it_was_told(store: Store) -> None:
    for name in ("1.json", "2.json", "3.json"):
        store.put_bytes(f"x/{name}", b"")

    assert ["x/3.json"] == [entry.key for entry in store.list("x/", start_after="x/2.json")]
    assert ["x/2.json", "x/3.json"] == [
        entry.key for entry in store.list("x/", start_after="x/1.json0")
    ]


def test_folders_are_those_directly_below(store: Store) -> None:
    for key in ("web01/host.json", "web01/backups/a/b", "web%3A02/host.json", "top"):
        store.put_bytes(key, b"")

    assert (["web%3A02", "web01"], ["backups"]) == (
        sorted(store.folders("")),
        list(store.folders("web01/")),
    )


@pytest.fixture(scope="module")
def crowded_prefix(seaweed: SeaweedFS) -> str:
    """A prefix with 1,500 objects, which takes more than one page to list."""
    store = open_store(s3_spec(seaweed, prefix="crowded"))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.put_bytes(key, b""), CROWD))
    return "crowded"


CROWD = [f"many/{number:05d}" for number in range(1500)]


@pytest.fixture(params=["directory", "http", "https"])
def crowded(request: pytest.FixtureRequest) -> Store:
    if request.param == "directory":
        store = directory_bench(request.getfixturevalue("tmp_path")).store
        for key in CROWD:
            path = request.getfixturevalue("tmp_path") / key
            path.parent.mkdir(exist_ok=True)
            path.touch()
        return store
    prefix = request.getfixturevalue("crowded_prefix")
    seaweed = request.getfixturevalue("seaweed")
    return open_store(s3_spec(seaweed, scheme=request.param, prefix=prefix))


def test_a_long_listing_is_whole(crowded: Store) -> None:
    assert CROWD == [entry.key for entry in crowded.list("many/")]


def test_a_long_listing_can_start_in_the_middle(crowded: Store) -> None:
    found = [entry.key for entry in crowded.list("many/", start_after=CROWD[299])]

    assert CROWD[300:] == found


def test_many_are_deleted_and_what_is_not_there_is_no_refusal(bench: Bench) -> None:
    keys = [f"x/{number:04d}" for number in range(1200)]
    there = [keys[0], keys[1], keys[600], keys[998], keys[999], keys[1000], keys[1199]]
    for key in [*there, "x/kept", "y/0000"]:
        bench.store.put_bytes(key, b"")

    refused = bench.store.delete(iter(keys))

    assert ([], ["x/kept", "y/0000"]) == (list(refused), bench.objects())


def test_nothing_to_delete_is_no_error(store: Store) -> None:
    assert list(store.delete([])) == []


def test_stale_uploads_are_aborted(bench: Bench) -> None:
    bench.begin_upload("host/archives/image/a/1.tar")
    bench.begin_upload("host/archives/image/a/2.tar")

    went = bench.store.abort_uploads("host/", started_before=datetime.now(UTC) + timedelta(hours=1))

    assert (2, []) == (went, bench.unfinished())


def test_fresh_uploads_go_on(timely: Bench) -> None:
    timely.begin_upload("host/archives/image/a/1.tar")
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)

    went = timely.store.abort_uploads("host/", started_before=an_hour_ago)

    assert (0, 1) == (went, len(timely.unfinished()))


def test_uploads_of_another_host_go_on(bench: Bench) -> None:
    bench.begin_upload("web2/archives/image/a/1.tar")

    went = bench.store.abort_uploads("web/", started_before=datetime.now(UTC) + timedelta(hours=1))

    assert (0, 1) == (went, len(bench.unfinished()))


def test_an_unfinished_upload_is_not_listed(bench: Bench) -> None:
    bench.begin_upload("host/1.tar")

    assert ([], []) == (list(bench.store.list("")), list(bench.store.folders("")))


def test_the_clock_of_the_store_is_aware_and_right(store: Store) -> None:
    assert abs(store.now() - datetime.now(UTC)) < timedelta(minutes=10)
    assert timedelta(0) == store.now().utcoffset()


def test_the_url_and_the_full_key_name_the_object(bench: Bench) -> None:
    bench.store.put_bytes("a/b", b"")

    assert f"{bench.store.url}/a/b".endswith(bench.store.full_key("a/b"))
