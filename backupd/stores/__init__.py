"""Where backups live: the contract that every store keeps, and the table of stores.

Keys are relative to the store's own root, `/`-separated, made by `backupd.layout`. A store never
overwrites by itself, never lists what is only half written, and reports a deletion as done only
when it was accepted. Errors are `StoreError` and its children, never a library's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol, assert_never

from backupd.pace import Pace

if TYPE_CHECKING:
    from backupd.policy import Limits, StoreSpec


_FEW_ATTEMPTS = 2


class Reader(Protocol):
    """A one-way stream of known discipline: what `put` consumes and `open` returns."""

    def read(self, size: int, /) -> bytes:
        """The next bytes: exactly `size` of them until the end, fewer only there, then `b""`."""


class ClosableReader(Reader, Protocol):
    """A `Reader` that holds a connection or a file until it is closed."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a listing."""

    key: str
    size_bytes: int
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class Refusal:
    """One key that could not be deleted or locked, and why."""

    key: str
    cause: str


class Store(Protocol):
    """A place for objects that are written once and read whole."""

    @property
    def url(self) -> str:
        """The store as a person writes it, without secrets; the prefix of every key."""

    def full_key(self, key: str) -> str:
        """`key` as other tools need it: in the bucket (or below the directory), prefix included."""

    def put(self, key: str, reader: Reader, *, estimate_bytes: int) -> int:
        """Stream `reader` to its end into `key`; the size that the store then says it holds.

        Constant memory whatever the size. `estimate_bytes` is an upper guess of the size, for the
        choice of part sizes. If `reader.read` raises, that exception comes out unchanged and
        neither an object nor an unfinished upload is left. Raises `PartsExhausted` when more came
        than the estimate left room for: the caller may try again with a larger one.
        """

    def give_up(self, key: str) -> None:
        """Let a `put` of that key, in another thread, fail soon: it may wait for the store.

        From any thread, also a signal's; nothing happens where none is under way.
        """

    def put_bytes(self, key: str, data: bytes) -> None:
        """Write a small object whole, replacing what was there."""

    @property
    def locked_for(self) -> timedelta:
        """How long a backup cannot be removed once it was taken; zero where nothing is locked."""

    def extend_lock(self, key: str) -> Refusal | None:
        """Lock an archive or record that is there at least as long as one that is written now.

        None when it is, or where nothing is locked; else why it is not. A lock never gets shorter.
        """

    def get_bytes(self, key: str, *, limit_bytes: int) -> bytes:
        """A small object whole. Raises `ObjectMissing`; `ObjectTooLarge` above the limit."""

    def open(self, key: str) -> ClosableReader:
        """The object as a stream, taken up again where it broke off. Raises `ObjectMissing`."""

    def size(self, key: str) -> int | None:
        """The object's size in bytes as the store tells it now; None where there is none."""

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[Entry]:
        """Every object whose key begins with `prefix`, lazily, a request for each 1,000.

        Siblings come in the order of their keys; nothing is promised across folders.
        """

    def folders(self, prefix: str) -> Sequence[str]:
        """The names of the folders directly below `prefix` (empty, or ending in `/`)."""

    def delete(self, keys: Iterable[str]) -> Sequence[Refusal]:
        """Delete the keys, as many as possible with each request; what was refused."""

    def abort_uploads(
        self,
        prefix: str,
        *,
        started_before: datetime,
        spare: Callable[[str], bool] = lambda key: False,
    ) -> int:
        """Drop unfinished uploads below `prefix` begun before that moment; how many went.

        `spare` is asked for each one's key, and keeps it.
        """

    def now(self) -> datetime:
        """The store's own clock, aware UTC."""


def open_store(
    spec: StoreSpec,
    *,
    is_patient: bool = True,
    is_awaited: bool = False,
    limits: Limits | None = None,
) -> Store:
    """The store that `spec` describes; nothing is asked of it yet.

    A patient one retries for about half a minute what may pass. A person who waits at a terminal
    for what is read wants to hear of a wrong endpoint sooner: an awaited one is patient only once
    its server has answered. All that goes through it shares `limits`. Raises
    StoreError when this machine's settings do not allow to use it.
    """
    upload = _pace(limits.upload if limits else None)
    download = _pace(limits.download if limits else None)
    # Imported on demand: boto3 costs half a second, and `backupd --help` needs no store.
    match spec.scheme:
        case "s3":
            from backupd.stores.s3 import S3Store
            from backupd.stores.s3_client import ATTEMPTS

            attempts = ATTEMPTS if is_patient else _FEW_ATTEMPTS
            first_attempts = _FEW_ATTEMPTS if is_awaited else None
            s3 = S3Store(spec, attempts=attempts, first_attempts=first_attempts, pace=upload)
            return _paced(s3, None, download)
        case "file":
            from backupd.stores.directory import DirectoryStore

            return _paced(DirectoryStore(spec.path), upload, download)
        case _:
            assert_never(spec.scheme)


def _pace(bytes_a_second: int | None) -> Pace | None:
    return None if bytes_a_second is None else Pace(bytes_a_second)


def _paced(store: Store, upload: Pace | None, download: Pace | None) -> Store:
    if upload is None and download is None:
        return store
    from backupd.stores.paced import PacedStore

    return PacedStore(store, upload=upload, download=download)
