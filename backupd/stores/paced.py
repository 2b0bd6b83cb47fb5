"""A store that is read, and where it has no line of its own written, no faster than is allowed.

A decorator around any store: it changes when bytes pass, and nothing else. What goes to an S3
server is paced where it leaves, in `s3_client`: a part of 16 MiB that was read slowly would go out
as fast as the line takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from backupd.pace import Pace
from backupd.stores import ClosableReader, Entry, Reader, Refusal, Store

BLOCK_BYTES = 64 << 10
"""What passes at once: a line shared by many feels no more."""


class PacedStore:
    """`store`, with archives coming and going at a pace; None is as fast as can be.

    Small objects pass as they are.
    """

    def __init__(self, store: Store, *, upload: Pace | None, download: Pace | None) -> None:
        self._store = store
        self._upload = upload
        self._download = download

    @property
    def url(self) -> str:
        """See `Store.url`."""
        return self._store.url

    def full_key(self, key: str) -> str:
        """See `Store.full_key`."""
        return self._store.full_key(key)

    def put(self, key: str, reader: Reader, *, estimate_bytes: int) -> int:
        """See `Store.put`."""
        source = reader if self._upload is None else _Paced(reader, self._upload)
        return self._store.put(key, source, estimate_bytes=estimate_bytes)

    def give_up(self, key: str) -> None:
        """See `Store.give_up`."""
        self._store.give_up(key)

    @property
    def locked_for(self) -> timedelta:
        """See `Store.locked_for`."""
        return self._store.locked_for

    def extend_lock(self, key: str) -> Refusal | None:
        """See `Store.extend_lock`."""
        return self._store.extend_lock(key)

    def put_bytes(self, key: str, data: bytes) -> None:
        """See `Store.put_bytes`."""
        self._store.put_bytes(key, data)

    def get_bytes(self, key: str, *, limit_bytes: int) -> bytes:
        """See `Store.get_bytes`."""
        return self._store.get_bytes(key, limit_bytes=limit_bytes)

    def open(self, key: str) -> ClosableReader:
        """See `Store.open`."""
        opened = self._store.open(key)
        return opened if self._download is None else _PacedDownload(opened, self._download)

    def size(self, key: str) -> int | None:
        """See `Store.size`."""
        return self._store.size(key)

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[Entry]:
        """See `Store.list`."""
        return self._store.list(prefix, start_after=start_after)

    def folders(self, prefix: str) -> Sequence[str]:
        """See `Store.folders`."""
        return self._store.folders(prefix)

    def delete(self, keys: Iterable[str]) -> Sequence[Refusal]:
        """See `Store.delete`."""
        return self._store.delete(keys)

    def abort_uploads(
        self,
        prefix: str,
        *,
        started_before: datetime,
        spare: Callable[[str], bool] = lambda key: False,
    ) -> int:
        """See `Store.abort_uploads`."""
        return self._store.abort_uploads(prefix, started_before=started_before, spare=spare)

    def now(self) -> datetime:
        """See `Store.now`."""
        return self._store.now()


class _Paced:
    """A `Reader` whose bytes come at a pace."""

    def __init__(self, reader: Reader, pace: Pace) -> None:
        self._reader = reader
        self._pace = pace

    def read(self, size: int, /) -> bytes:
        """As the reader's own, exactly `size` bytes until the end."""
        pieces = []
        while size > 0:
            wanted = min(size, BLOCK_BYTES)
            piece = self._reader.read(wanted)
            self._pace.wait_for(len(piece))
            pieces.append(piece)
            size -= wanted
            if len(piece) < wanted:
                break
        return b"".join(pieces)


class _PacedDownload(_Paced):
    def __init__(self, opened: ClosableReader, pace: Pace) -> None:
        super().__init__(opened, pace)
        self._opened = opened

    def close(self) -> None:
        """Close what was opened."""
        self._opened.close()
