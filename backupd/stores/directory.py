"""Backups in a directory of this machine: the store that needs no server and no account.

Keys are paths below the root. What is being written lies below `.partial/`, as the same path, and
is moved to its place whole and flushed, so a crash leaves no half object where objects are. No key
and no symbolic link leads out of the root.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from io import FileIO
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from backupd.errors import ObjectMissing, ObjectTooLarge, StoreError
from backupd.stores import ClosableReader, Entry, Reader, Refusal
from backupd.stores import directory_tree as tree

PARTIAL = ".partial"
BLOCK_BYTES = 1 << 20

_NOT_THERE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)

_CAUSES = {
    errno.ENOSPC: "the disk is full; free some space, then run again",
    errno.EDQUOT: "the quota is used up; free some space, then run again",
    errno.EROFS: "the file system is read-only; mount it for writing",
    errno.EACCES: "this user may not; give it the directory, or run as its owner",
    errno.EPERM: "this user may not; give it the directory, or run as its owner",
    errno.ENOTDIR: "a part of that path is a file; name another directory, or move that file",
    errno.EISDIR: "a directory is in that place",
    errno.EEXIST: "it is there already, and nothing is overwritten",
    errno.ENAMETOOLONG: "the name is longer than the file system allows",
    errno.EIO: "the disk reports an error; look at the kernel's log",
}


def cause_of(error: OSError) -> str:
    """Why the file system refused, and the next step."""
    known = _CAUSES.get(error.errno or 0)
    return known or (error.strerror or type(error).__name__).lower()


class DirectoryStore:
    """All files below one directory; it is made when the first object is written."""

    def __init__(self, path: Path) -> None:
        """A store below `path`, which must be absolute."""
        self._root = path
        self._partials = path / PARTIAL

    @property
    def url(self) -> str:
        """`file:///…`."""
        return self._root.as_uri()

    def full_key(self, key: str) -> str:
        """The object's path below the directory: the key itself."""
        return key

    def put(self, key: str, reader: Reader, *, estimate_bytes: int) -> int:
        """See `Store.put`; refuses a key that is there."""

        def copy(file: FileIO) -> None:
            while data := reader.read(BLOCK_BYTES):
                # Only our own writing is translated: the reader's errors pass unchanged.
                with self._translated("write", key):
                    _write_all(file, data)

        return self._write(key, copy, tree.place_new)

    def give_up(self, key: str) -> None:
        """See `Store.give_up`; a disk is not waited for."""

    def put_bytes(self, key: str, data: bytes) -> None:
        """See `Store.put_bytes`."""

        def copy(file: FileIO) -> None:
            with self._translated("write", key):
                _write_all(file, data)

        self._write(key, copy, lambda partial, final: partial.replace(final))

    @property
    def locked_for(self) -> timedelta:
        """See `Store.locked_for`: a directory locks nothing."""
        return timedelta()

    def extend_lock(self, key: str) -> Refusal | None:
        """See `Store.extend_lock`: nothing to do."""
        return None

    def get_bytes(self, key: str, *, limit_bytes: int) -> bytes:
        """See `Store.get_bytes`."""
        stream = self._open(key)
        try:
            if stream.size_bytes > limit_bytes:
                raise ObjectTooLarge(
                    f"cannot read {self.url}/{key}: it has {stream.size_bytes} bytes where at most "
                    f"{limit_bytes} belong; it is not one of ours"
                )
            return stream.read(stream.size_bytes)
        finally:
            stream.close()

    def open(self, key: str) -> ClosableReader:
        """See `Store.open`."""
        return self._open(key)

    def size(self, key: str) -> int | None:
        """See `Store.size`."""
        path = self._path(key)
        with self._translated("look at", key):
            try:
                status = path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return None if path.is_dir() else status.st_size

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[Entry]:
        """See `Store.list`; the order is that of the keys' bytes, across folders too."""
        self._check_folder(prefix)
        with self._translated("list", prefix):
            yield from tree.walk(self._root, prefix, start_after=start_after, without=f"{PARTIAL}/")

    def folders(self, prefix: str) -> Sequence[str]:
        """See `Store.folders`."""
        self._check_folder(prefix)
        with self._translated("list", prefix):
            found = tree.children(self._root, prefix)
        names = [child.key[len(prefix) : -1] for child in found if child.key.endswith("/")]
        return [name for name in names if prefix or name != PARTIAL]

    def delete(self, keys: Iterable[str]) -> Sequence[Refusal]:
        """See `Store.delete`; folders that become empty go too."""
        refused: dict[str, str] = {}
        touched: set[Path] = set()
        for key in keys:
            try:
                path = self._path(key)
                with suppress(*_NOT_THERE):
                    path.unlink()
                    touched.add(path.parent)
            except StoreError as error:
                refused[key] = str(error)
            except OSError as error:
                refused[key] = cause_of(error)
        for folder in touched:
            # Flushed before the caller goes on: manifests must be gone before their archives are.
            with self._translated("delete from", ""):
                tree.flush_folders(folder, folder)
            tree.remove_empty(folder, self._root)
        return [Refusal(key, cause) for key, cause in refused.items()]

    def abort_uploads(
        self,
        prefix: str,
        *,
        started_before: datetime,
        spare: Callable[[str], bool] = lambda key: False,
    ) -> int:
        """See `Store.abort_uploads`; what is still being written counts as begun just now."""
        aborted = 0
        with self._translated("clean up below", prefix):
            for entry in tuple(tree.walk(self._partials, prefix)):
                # The mark of this one writing stands behind the key (see `_partial`).
                key = entry.key.rpartition(".")[0]
                if entry.modified_at < started_before and not spare(key):
                    path = self._partials / entry.key
                    with suppress(FileNotFoundError):
                        path.unlink()
                        aborted += 1
                    tree.remove_empty(path.parent, self._partials)
        return aborted

    def now(self) -> datetime:
        """This machine's clock."""
        return datetime.now(UTC)

    def _open(self, key: str) -> _FileReader:
        path = self._path(key)
        with self._translated("read", key):
            try:
                handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                return _FileReader(os.fdopen(handle, "rb"), f"{self.url}/{key}")
            except _NOT_THERE as error:
                raise ObjectMissing(f"cannot read {self.url}/{key}: no such object") from error

    def _write(
        self, key: str, copy: Callable[[FileIO], None], place: Callable[[Path, Path], object]
    ) -> int:
        final = self._path(key)
        with self._partial(key) as partial:
            with self._translated("write", key):
                file = tree.in_folder(partial, lambda: _create(partial))
            with file:
                copy(file)
                with self._translated("write", key):
                    os.fsync(file.fileno())
            with self._translated("write", key):
                size_bytes = partial.stat().st_size
                tree.in_folder(final, lambda: place(partial, final))
                tree.flush_folders(final.parent, self._root)
        return size_bytes

    @contextmanager
    def _partial(self, key: str) -> Iterator[Path]:
        """A path for what is being written; whatever happens, nothing stays there."""
        partial = self._partials / f"{key}.{token_hex(4)}"
        try:
            yield partial
        except BaseException as error:
            try:
                with suppress(*_NOT_THERE):
                    partial.unlink()
            except OSError as second:
                error.add_note(f"what was written so far stays in {partial}: {cause_of(second)}")
            raise
        else:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
        finally:
            tree.remove_empty(partial.parent, self._partials)

    def _path(self, key: str) -> Path:
        """Where the object lies. Raises StoreError for a key that could lead out of the root."""
        segments = key.split("/")
        if segments[0] == PARTIAL or any(
            segment in {"", ".", ".."} or "\0" in segment for segment in segments
        ):
            raise StoreError(f"cannot use {key!r} as a key in {self.url}: it is not a plain path")
        path = self._root
        for segment in segments:
            path = path / segment
            with self._translated("use", key):
                is_link = path.is_symlink()
            if is_link:
                raise StoreError(
                    f"cannot use {self.url}/{key}: {path} is a symbolic link, which may lead out "
                    "of the store; replace it by what it points to"
                )
        return path

    def _check_folder(self, prefix: str) -> None:
        folder = prefix.rpartition("/")[0]
        if folder:
            self._path(folder)

    @contextmanager
    def _translated(self, act: str, key: str) -> Iterator[None]:
        """Turn an OSError inside into a StoreError that says what could not be done, and why."""
        try:
            yield
        except OSError as error:
            raise StoreError(f"cannot {act} {self.url}/{key}: {cause_of(error)}") from error


class _FileReader:
    """A `ClosableReader` over one file, which must not become shorter while it is read."""

    def __init__(self, file: BinaryIO, what: str) -> None:
        self._file = file
        self._what = what
        self._position = 0
        self.size_bytes = os.fstat(file.fileno()).st_size

    def read(self, size: int, /) -> bytes:
        """Exactly `size` bytes, fewer only at the end. Raises StoreError."""
        wanted = min(size, self.size_bytes - self._position)
        try:
            data = self._file.read(wanted)
        except ValueError as error:
            raise StoreError(f"cannot read {self._what}: it was closed in the middle") from error
        except OSError as error:
            raise StoreError(f"cannot read {self._what}: {cause_of(error)}") from error
        self._position += len(data)
        if len(data) < wanted:
            raise StoreError(
                f"cannot read {self._what}: it ends after {self._position} of {self.size_bytes} "
                "bytes: something cut the file while it was read"
            )
        return data

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _create(path: Path) -> FileIO:
    """A new file without a buffer: nothing is left to fail when it is closed."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file = FileIO(os.open(path, flags, tree.FILE_MODE), "wb")
    tree.hand_over(path)
    return file


def _write_all(file: FileIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
