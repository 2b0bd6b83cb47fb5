"""One stream of unknown length into one object, in constant memory, by s3transfer.

s3transfer asks for a part in a thread of its own; the answer is read in the thread that called, so
that Ctrl-C breaks a read that blocks. Whatever goes wrong comes out as the very object that was
raised, and the unfinished upload is aborted. Invariant: no more than `UploadPlan.held_bytes` of
parts exist at a time, and all parts but the last have one size, which some servers insist on.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from queue import SimpleQueue
from threading import Event
from typing import IO, TYPE_CHECKING, Any, cast

from s3transfer.futures import TransferFuture
from s3transfer.manager import TransferConfig, TransferManager
from s3transfer.subscribers import BaseSubscriber

from backupd.errors import PartsExhausted, StoreError
from backupd.stores import Reader
from backupd.stores.s3_watched import Target, WatchedClient

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

MIB = 1 << 20
SMALLEST_PART_BYTES = 16 * MIB
LARGEST_PART_BYTES = 5 << 30
PARTS_LIMIT = 10_000
"""S3's limits of one upload (Amazon S3 user guide, "Multipart upload limits")."""

HELD_LIMIT_BYTES = 80 * MIB
"""What parts may take of the process's 200 MiB, as long as the server's limits allow it."""

_BLOCK_BYTES = MIB
_M_MMAP_THRESHOLD = -3
"""The parameter's number in glibc's malloc.h."""

_SPARE_PARTS = 50
"""One part in so many stays unplanned: the caller's estimate has its own room to spare."""


@dataclass(frozen=True, slots=True)
class UploadPlan:
    """How one stream is cut: what is smaller than one part goes in a single request."""

    part_size_bytes: int
    parallel: int
    parts_limit: int = PARTS_LIMIT

    @property
    def limit_bytes(self) -> int:
        """The longest stream that the parts can carry."""
        return self.part_size_bytes * self.parts_limit

    @property
    def held_bytes(self) -> int:
        """The most that is in memory: the parts in flight, and the one being read."""
        return self.part_size_bytes * (self.parallel + 1)


def plan_upload(
    estimate_bytes: int,
    *,
    part_size_bytes: int | None = None,
    parallel: int = 3,
    parts_limit: int = PARTS_LIMIT,
) -> UploadPlan:
    """Part size and parts in flight for a stream of up to about `estimate_bytes`.

    `part_size_bytes` overrides the choice. Above `HELD_LIMIT_BYTES` only where two parts, the
    fewest that work, are larger than that.
    """
    size = part_size_bytes or _part_size(estimate_bytes, parts_limit)
    return UploadPlan(size, max(1, min(parallel, HELD_LIMIT_BYTES // size - 1)), parts_limit)


def _part_size(estimate_bytes: int, parts_limit: int) -> int:
    planned_parts = parts_limit - parts_limit // _SPARE_PARTS
    needed = -(-estimate_bytes // planned_parts)
    rounded = -(-needed // MIB) * MIB
    return min(max(rounded, SMALLEST_PART_BYTES), LARGEST_PART_BYTES)


def transfer_config(plan: UploadPlan) -> TransferConfig:
    """s3transfer's settings for `plan`; by default it would hold eleven parts and more."""
    config = TransferConfig(
        # At the threshold s3transfer already holds that much: as large as a part it costs nothing.
        multipart_threshold=plan.part_size_bytes,
        multipart_chunksize=plan.part_size_bytes,
        max_request_concurrency=plan.parallel,
    )
    config.max_in_memory_upload_chunks = plan.parallel
    config.max_submission_concurrency = 1
    return config


def upload(target: Target, source: Source, extra: dict[str, Any]) -> None:
    """Send all of `source` to the target; `extra` are the request's further arguments.

    Raises what reading raised, PartsExhausted, StoreError once the source was given up, or boto3's
    exceptions; in each case the unfinished upload was aborted, or a note on the exception says that
    it was not.
    """
    _keep_parts_off_the_heap()
    bucket, key = target.bucket, target.key
    watched = WatchedClient(target, given_up=source.given_up, sent_bytes=lambda: source.taken_bytes)
    try:
        with TransferManager(cast("S3Client", watched), transfer_config(source.plan)) as transfers:
            with source.released_on_error():
                transfer = transfers.upload(
                    cast("IO[Any]", source), bucket, key, extra, [_AtEnd(source)]
                )
                source.serve(transfer)
            transfer.result()
    except BaseException as error:
        if watched.abort_failed:
            error.add_note(
                f"the unfinished upload of s3://{bucket}/{key} could not be aborted; it costs "
                "space until it is cleaned up"
            )
        raise


class Source:
    """A `Reader` as s3transfer wants it, read in the thread that calls `serve`."""

    def __init__(self, reader: Reader, plan: UploadPlan) -> None:
        self.plan = plan
        self._reader = reader
        self.taken_bytes = 0
        """How many bytes were read so far."""
        self.given_up = Event()
        self._questions: SimpleQueue[int | None] = SimpleQueue()
        self._answers: SimpleQueue[bytes | BaseException] = SimpleQueue()

    def read(self, size: int = -1) -> bytes:
        """The next part; called by s3transfer, in its thread."""
        self._questions.put(size)
        answer = self._answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    @contextmanager
    def released_on_error(self) -> Iterator[None]:
        """Let a waiting `read` fail too: s3transfer joins its thread before an error gets out."""
        try:
            yield
        except BaseException as error:
            self._answers.put(error)
            raise

    def give_up(self) -> None:
        """Let the upload fail soon, from any thread: no request of it is tried again."""
        self.given_up.set()
        self._questions.put(0)  # who waits for a question looks up

    def end(self) -> None:
        """Let `serve` return: the transfer is over, for better or worse."""
        self._questions.put(None)

    def serve(self, transfer: TransferFuture) -> None:
        """Read what `transfer` asks for until it is over. Raises what reading raised."""
        failure: BaseException | None = None
        while True:
            try:
                size = self._questions.get()
                if size is None:
                    break
                if transfer.done():
                    # A part failed: without this s3transfer would read on to the stream's end.
                    raise _TransferOver
                if self.given_up.is_set():
                    raise StoreError("cannot go on with an upload that was given up")
                self._answers.put(self._next(size))
            except BaseException as error:  # Ctrl-C too: everything waits for an answer
                failure = failure or error
                transfer.cancel()
                self._answers.put(error)
        if failure is not None and not isinstance(failure, _TransferOver):
            raise failure

    def _next(self, size: int) -> bytes:
        # s3transfer trusts one read, and asks for "all the rest" only behind the end.
        data = exactly(self._reader, size if size >= 0 else self.plan.part_size_bytes)
        self.taken_bytes += len(data)
        if self.taken_bytes > self.plan.limit_bytes:
            raise PartsExhausted(
                f"more than {self.plan.limit_bytes} bytes came, which {self.plan.parts_limit} "
                f"parts of {self.plan.part_size_bytes} bytes cannot carry; the estimate, or the "
                "store's 'part_size', was too small"
            )
        return data


def exactly(reader: Reader, size: int) -> bytes:
    """`size` bytes, fewer only at the end, whatever the reader makes of one `read`.

    Gathered block by block in a buffer that is then handed out without a copy: a part is in memory
    once, not once more in pieces.
    """
    gathered = BytesIO()
    while missing := size - gathered.tell():
        piece = reader.read(min(missing, _BLOCK_BYTES))
        if not piece:
            break
        gathered.write(piece)
    return gathered.getvalue()


def _keep_parts_off_the_heap() -> None:
    """Have glibc map and unmap the memory of each part by itself.

    Left alone it soon takes parts from heaps that fragment: 35 MiB more at the peak were measured.
    C libraries without mallopt are left as they are.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 2 * MIB)


class _TransferOver(Exception):
    """Answers s3transfer when the transfer has failed already; never seen outside."""


class _AtEnd(BaseSubscriber):
    """Told by s3transfer when all is done, cleaning up included."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def on_done(self, future: TransferFuture, **_: object) -> None:
        self._source.end()
