"""What only a directory can get wrong: paths, links, rights, races, full disks."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from backupd.errors import ObjectMissing, StoreError
from backupd.stores.directory import DirectoryStore, cause_of
from tests.contract.streams import noise, reader_of

OUTSIDE_KEYS = [
    "",
    "..",
    "../x",
    "a/../../x",
    "/etc/x",
    "a//x",
    "a/",
    "./x",
    "a/./x",
    "a\0b",
    ".partial/x",
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "below" / "store"


@pytest.fixture
def store(root: Path) -> DirectoryStore:
    return DirectoryStore(root)


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("key", OUTSIDE_KEYS)
def test_a_key_that_is_no_plain_path_is_never_written(
    store: DirectoryStore, tmp_path: Path, key: str
) -> None:
    with pytest.raises(StoreError, match="is not a plain path"):
        store.put_bytes(key, b"content")
    with pytest.raises(StoreError, match="is not a plain path"):
        store.put(key, reader_of(b"content"), estimate_bytes=1)

    assert [] == files_below(tmp_path)


@pytest.mark.parametrize("key", OUTSIDE_KEYS)
def test_a_key_that_is_no_plain_path_is_not_deleted(
    store: DirectoryStore, root: Path, key: str
) -> None:
    store.put_bytes("x", b"")
    (root.parent / "x").touch()

    refused = store.delete([key])

    assert ([key], ["store/x", "x"]) == ([each.key for each in refused], files_below(root.parent))


def test_a_link_that_leads_out_is_neither_written_read_nor_listed(
    store: DirectoryStore, root: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    store.put_bytes("a/b", b"")
    (root / "host").symlink_to(outside)
    (root / "a" / "link").symlink_to(outside / "secret")

    with pytest.raises(StoreError, match="is a symbolic link"):
        store.put_bytes("host/x", b"content")
    with pytest.raises(StoreError, match="is a symbolic link"):
        store.open("a/link")
    with pytest.raises(StoreError, match="is a symbolic link"):
        list(store.list("host/"))
    assert ["host/secret"] == [each.key for each in store.delete(["host/secret"])]

    assert (["secret"], ["a/b"], ["a"]) == (
        files_below(outside),
        [entry.key for entry in store.list("")],
        store.folders(""),
    )


def test_a_root_that_is_a_link_is_the_admins_choice(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "disk")
    store = DirectoryStore(tmp_path / "store")

    store.put_bytes("a/b", b"")

    assert ["a/b"] == [entry.key for entry in store.list("")]


def test_odd_names_are_passed_over(store: DirectoryStore, root: Path) -> None:
    store.put_bytes("a/b", b"")
    Path(os.fsdecode(os.fsencode(root / "a") + b"/\xff\xfe")).touch()
    os.mkfifo(root / "a" / "pipe")

    assert ["a/b"] == [entry.key for entry in store.list("")]


def test_an_object_is_never_overwritten_by_a_stream(store: DirectoryStore, root: Path) -> None:
    store.put("a/b", reader_of(b"first"), estimate_bytes=1)

    with pytest.raises(StoreError, match="/a/b: it is there already, and nothing is overwritten"):
        store.put("a/b", reader_of(b"second"), estimate_bytes=1)

    assert (b"first", ["a/b"]) == (store.get_bytes("a/b", limit_bytes=10), files_below(root))


def test_a_link_at_the_place_of_an_object_is_not_written_through(
    store: DirectoryStore, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "precious").write_text("precious")
    store.put_bytes("a/other", b"")
    (root / "a" / "b").symlink_to(tmp_path / "precious")

    with pytest.raises(StoreError, match="is a symbolic link"):
        store.put_bytes("a/b", b"overwritten")

    assert (tmp_path / "precious").read_text() == "precious"


def test_files_and_folders_are_closed_to_others(store: DirectoryStore, root: Path) -> None:
    store.put("a/b/c", reader_of(b""), estimate_bytes=1)

    modes = [stat.S_IMODE((root / name).stat().st_mode) for name in ("", "a", "a/b", "a/b/c")]
    assert [0o750, 0o750, 0o750, 0o640] == modes


def test_what_root_writes_belongs_to_the_owner_of_the_folder_above_the_store(
    store: DirectoryStore, root: Path
) -> None:
    root.parent.mkdir()
    if os.geteuid() == 0:  # anybody else owns what he makes anyway
        os.chown(root.parent, 4711, 4712)

    store.put_bytes("a/b/bytes", b"x")
    store.put("c/d/stream", reader_of(b"x"), estimate_bytes=1)

    above = root.parent.stat()
    owners = {(path.stat().st_uid, path.stat().st_gid) for path in [root, *root.rglob("*")]}
    assert {(above.st_uid, above.st_gid)} == owners


def test_deleting_the_last_object_removes_its_folders(store: DirectoryStore, root: Path) -> None:
    store.put_bytes("a/b/c", b"")
    store.put_bytes("a/d", b"")

    store.delete(["a/b/c"])
    remaining = store.folders("a/")
    store.delete(["a/d"])

    assert ([], []) == (remaining, store.folders(""))
    assert root.is_dir()


def test_writing_and_deleting_side_by_side_lose_nothing(store: DirectoryStore) -> None:
    def work(name: int) -> None:
        for number in range(60):
            store.put("a/b/" + f"{name}-{number}", reader_of(b"1"), estimate_bytes=1)
            assert [] == store.delete([f"a/b/{name}-{number}"])
        store.put(f"a/b/kept-{name}", reader_of(b"1"), estimate_bytes=1)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))

    assert [f"a/b/kept-{name}" for name in range(4)] == [entry.key for entry in store.list("")]


@contextmanager
def limited_to(size_bytes: int) -> Iterator[None]:
    """Let this process write no file beyond that size: the kernel then refuses as a disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_a_file_that_cannot_be_written_to_its_end_is_not_kept(
    store: DirectoryStore, root: Path
) -> None:
    with (
        limited_to(2_000_000),
        pytest.raises(StoreError, match=r"cannot write file://.*/a/b: file too large"),
    ):
        store.put("a/b", reader_of(noise(3_000_000)), estimate_bytes=1)

    assert [] == files_below(root)


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (errno.ENOSPC, "the disk is full; free some space, then run again"),
        (errno.EDQUOT, "the quota is used up; free some space, then run again"),
        (errno.EROFS, "the file system is read-only; mount it for writing"),
        (errno.EACCES, "this user may not; give it the directory, or run as its owner"),
        (errno.EIO, "the disk reports an error; look at the kernel's log"),
        (errno.ESTALE, "stale file handle"),
    ],
)
def test_each_refusal_of_the_file_system_says_its_cause(number: int, cause: str) -> None:
    assert cause == cause_of(OSError(number, os.strerror(number)))


def test_a_root_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "store").touch()

    with pytest.raises(StoreError, match="a part of that path is a file"):
        DirectoryStore(tmp_path / "store").put_bytes("a/b", b"")


def test_a_name_that_is_too_long_is_named(store: DirectoryStore) -> None:
    with pytest.raises(StoreError, match="the name is longer than the file system allows"):
        store.put_bytes("a" * 300, b"")


def test_a_folder_is_no_object(store: DirectoryStore) -> None:
    store.put_bytes("a/b", b"")

    with pytest.raises(ObjectMissing):
        store.get_bytes("a", limit_bytes=10)
    assert (None, [], ["a/b"]) == (
        store.size("a"),
        store.delete(["a"]),
        [entry.key for entry in store.list("")],
    )


def test_a_file_that_gets_shorter_while_it_is_read_is_no_whole_object(
    store: DirectoryStore, root: Path
) -> None:
    store.put_bytes("a/b", noise(1_000_000))

    with closing(store.open("a/b")) as reader:
        reader.read(500_000)
        os.truncate(root / "a" / "b", 600_000)
        with pytest.raises(StoreError, match="it ends after 600000 of 1000000 bytes"):
            reader.read(500_000)


def test_a_listing_is_in_byte_order_across_folders(store: DirectoryStore) -> None:
    keys = ["a", "a-/x", "a.b", "a0/x", "b/c/d", "b/c-d", "é"]
    for key in keys:
        store.put_bytes(key, b"")

    assert sorted(keys, key=str.encode) == [entry.key for entry in store.list("")]


def test_a_listing_can_start_anywhere(store: DirectoryStore) -> None:
    keys = sorted(["a/b/c", "a/b/d", "a/c", "a-x", "b"], key=str.encode)
    for key in keys:
        store.put_bytes(key, b"")

    for start in [*keys, "", "a/", "a/b", "a/b/", "a/bz", "zzz"]:
        found = [entry.key for entry in store.list("", start_after=start)]
        assert [key for key in keys if key.encode() > start.encode()] == found
