"""Backups in a bucket of any S3-compatible server.

The contract of `backupd.stores.Store` on top of boto3. Nothing here trusts what servers differ in:
no metadata, no conditional write, no ETag as a digest, no order across folders. Making a store asks
nothing of the network.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from backupd.errors import ObjectMissing, ObjectTooLarge, StoreError
from backupd.pace import Pace
from backupd.policy import StoreSpec
from backupd.stores import ClosableReader, Entry, Reader, Refusal
from backupd.stores.s3_client import ATTEMPTS, Connector, encryption_of, place_of
from backupd.stores.s3_delete import Deleter
from backupd.stores.s3_download import Download, length_of
from backupd.stores.s3_errors import GONE, Place, code_of, status_of, translated
from backupd.stores.s3_lock import Clock, Locks
from backupd.stores.s3_pace import send_at_a_pace
from backupd.stores.s3_patience import Patience
from backupd.stores.s3_probe import PROBE_FOLDER, probed_checksums, settled_checksums
from backupd.stores.s3_upload import (
    HELD_LIMIT_BYTES,
    MIB,
    PARTS_LIMIT,
    Source,
    UploadPlan,
    plan_upload,
    upload,
)
from backupd.stores.s3_watched import Target

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_FEWER_PARTS = {".scw.cloud": 1_000}
"""Servers that take fewer parts than S3, by the end of their name (Scaleway documentation)."""

_log = logging.getLogger(__name__)


class S3Store:
    """A bucket, or what lies below a prefix in one; safe to use from several threads."""

    def __init__(
        self,
        spec: StoreSpec,
        *,
        attempts: int = ATTEMPTS,
        first_attempts: int | None = None,
        parts_limit: int | None = None,
        clock: Clock = lambda: datetime.now(UTC),
        pace: Pace | None = None,
    ) -> None:
        """A store for `spec`; `attempts` counts the tries of each request, `clock` dates locks.

        So many as `first_attempts` are made at reading while no server has answered yet. What it
        sends keeps to `pace`.

        Raises StoreError when `spec` cannot be used on this machine (no CA file, no AWS profile).
        """
        self._spec = spec
        self._attempts = attempts
        self._base = f"{spec.prefix}/" if spec.prefix else ""
        self._connector = Connector(spec)
        reading = Patience(attempts, first_attempts=first_attempts)
        self._client = self._connector.connect("when_required", attempts=attempts, patience=reading)
        self._place = place_of(self._client, spec.bucket)
        self._locks = Locks(spec.object_lock, self._place, clock)
        self._deleter = Deleter(self._client, self._place)
        self._parts_limit = parts_limit or _parts_limit(self._place)
        self._patience = Patience(attempts)
        self._sources: dict[str, Source] = {}
        self._pace = pace
        self._writer: S3Client | None = None
        self._writer_lock = Lock()

    @property
    def url(self) -> str:
        """`s3://bucket` or `s3://bucket/prefix`."""
        return f"s3://{self._spec.bucket}/{self._base}".rstrip("/")

    def full_key(self, key: str) -> str:
        """The object's key in the bucket."""
        return self._base + key

    def put(self, key: str, reader: Reader, *, estimate_bytes: int) -> int:
        """See `Store.put`: one request below the size of a part, else a multipart upload."""
        plan = self._plan(key, estimate_bytes)
        classed = {"StorageClass": self._spec.storage_class} if self._spec.storage_class else {}
        source = Source(reader, plan)
        with self._written(key) as extra, self._under_way(key, source):
            client, where = self._writing(), self.full_key(key)
            target = Target(client, self._patience, self._spec.bucket, where)
            upload(target, source, extra | classed)
        stored_bytes = self.size(key)
        if stored_bytes is None:
            raise StoreError(
                f"cannot trust {self.url}/{key}: the server took it, and now says that it is not "
                "there; look at the server's logs"
            )
        return stored_bytes

    def give_up(self, key: str) -> None:
        """See `Store.give_up`; a request that is under way is waited for."""
        source = self._sources.get(key)
        if source is not None:
            source.give_up()

    @contextmanager
    def _under_way(self, key: str, source: Source) -> Iterator[None]:
        self._sources[key] = source
        try:
            yield
        finally:
            del self._sources[key]

    def put_bytes(self, key: str, data: bytes) -> None:
        """See `Store.put_bytes`."""
        with self._written(key) as extra:
            bucket, full_key = self._spec.bucket, self.full_key(key)
            self._writing().put_object(Bucket=bucket, Key=full_key, Body=data, **extra)

    @property
    def locked_for(self) -> timedelta:
        """See `Store.locked_for`."""
        return self._locks.span

    def extend_lock(self, key: str) -> Refusal | None:
        """See `Store.extend_lock`."""
        return self._locks.extend(self._client, key, self.full_key(key))

    def get_bytes(self, key: str, *, limit_bytes: int) -> bytes:
        """See `Store.get_bytes`."""
        stream = self._download(key)
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
        return self._download(key)

    def size(self, key: str) -> int | None:
        """See `Store.size`."""
        try:
            with self._translated("look at", key):
                answer = self._client.head_object(Bucket=self._spec.bucket, Key=self.full_key(key))
        except ObjectMissing:
            return None
        return length_of(answer, self._place, self.full_key(key))

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[Entry]:
        """See `Store.list`."""
        first = {"StartAfter": self._base + start_after} if start_after else {}
        for page in self._pages(prefix, first):
            for found in page.get("Contents", []):
                key = found["Key"].removeprefix(self._base)
                if key > start_after and not _is_foreign(key):
                    yield Entry(key, found["Size"], found["LastModified"].astimezone(UTC))

    def folders(self, prefix: str) -> Sequence[str]:
        """See `Store.folders`."""
        below = len(self._base + prefix)
        names = [
            found["Prefix"][below:].rstrip("/")
            for page in self._pages(prefix, {"Delimiter": "/"})
            for found in page.get("CommonPrefixes", [])
        ]
        return [name for name in names if prefix or name != PROBE_FOLDER]

    def delete(self, keys: Iterable[str]) -> Sequence[Refusal]:
        """See `Store.delete`; a key that is not there counts as deleted."""
        refused = self._deleter.delete(self.full_key(key) for key in keys)
        return [replace(refusal, key=refusal.key.removeprefix(self._base)) for refusal in refused]

    def abort_uploads(
        self,
        prefix: str,
        *,
        started_before: datetime,
        spare: Callable[[str], bool] = lambda key: False,
    ) -> int:
        """See `Store.abort_uploads`."""
        # Listed to the end first: aborting moves what the next page would begin with.
        stale = [
            (found["Key"], found["UploadId"])
            for found in self._uploads(prefix)
            if found["Initiated"] < started_before
            and not spare(found["Key"].removeprefix(self._base))
        ]
        return sum(self._abort(key, upload_id) for key, upload_id in stale)

    def now(self) -> datetime:
        """The server's clock, to the second: what it writes into its answers."""
        with self._translated("ask for the time at", ""):
            try:
                answer: Any = self._client.head_bucket(Bucket=self._spec.bucket)
            except ClientError as error:
                # A refusal carries the time as well, above all that for a wrong clock.
                answer = error.response
                if "date" not in answer["ResponseMetadata"].get("HTTPHeaders", {}):
                    raise
        date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        if date is None:
            raise StoreError(f"cannot tell the time at {self._place.endpoint}: it sends no Date")
        return parsedate_to_datetime(date).astimezone(UTC)

    def _download(self, key: str) -> Download:
        return Download(self._client, self._place, self.full_key(key), attempts=self._attempts)

    def _plan(self, key: str, estimate_bytes: int) -> UploadPlan:
        plan = plan_upload(
            estimate_bytes,
            part_size_bytes=self._spec.part_size,
            parallel=self._spec.uploads,
            parts_limit=self._parts_limit,
        )
        if plan.held_bytes > HELD_LIMIT_BYTES:
            _log.warning(
                "writing %s/%s takes up to %d MiB of memory: its parts must be of %d MiB",
                *(self.url, key, plan.held_bytes // MIB, plan.part_size_bytes // MIB),
            )
        return plan

    def _writing(self) -> S3Client:
        """The client for uploads; the first call finds out which checksums the server takes."""
        with self._writer_lock:
            if self._writer is None:
                settled = settled_checksums(self._spec, self._place.endpoint)
                checksums = settled or probed_checksums(self._connector)
                self._writer = self._connector.connect(
                    checksums, attempts=self._attempts, patience=self._patience
                )
                if self._pace is not None:
                    send_at_a_pace(self._writer, self._pace)
            return self._writer

    @contextmanager
    def _written(self, key: str) -> Iterator[dict[str, Any]]:
        """The arguments of an upload to `key`, whose errors are translated."""
        extra = encryption_of(self._spec) | self._locks.headers(key)
        with self._translated("write", key), self._locks.explained(extra, self.full_key(key)):
            yield extra

    def _pages(self, prefix: str, first: dict[str, Any]) -> Iterator[Any]:
        """Every page of a listing. Raises StoreError rather than end before the listing does."""
        where, asked = self._base + prefix, dict(first)
        while True:
            with self._translated("list", prefix):
                page: Any = self._client.list_objects_v2(
                    Bucket=self._spec.bucket, Prefix=where, **asked
                )
            if not page.keys() & {"IsTruncated", "KeyCount", "Name", "Contents"}:
                # A web page in well-formed XML parses as an answer in which nothing is told.
                raise StoreError(
                    f"cannot list {self.url}/{prefix}: what answers at {self._place.endpoint} is "
                    "not an S3 server; check the store's 'endpoint'"
                )
            yield page
            if not page.get("IsTruncated"):
                return
            token = page.get("NextContinuationToken")
            if not token or token == asked.get("ContinuationToken"):
                raise StoreError(
                    f"cannot list {self.url}/{prefix} to its end: the server says that there is "
                    "more, and not where it goes on"
                )
            asked["ContinuationToken"] = token

    def _uploads(self, prefix: str) -> Iterator[Any]:
        where, asked = self._base + prefix, dict[str, Any]()
        while True:
            with self._translated("list unfinished uploads below", prefix):
                page: Any = self._client.list_multipart_uploads(
                    Bucket=self._spec.bucket, Prefix=where, **asked
                )
            yield from (
                found for found in page.get("Uploads", []) if found["Key"].startswith(where)
            )
            marks = {
                "KeyMarker": page.get("NextKeyMarker"),
                "UploadIdMarker": page.get("NextUploadIdMarker"),
            }
            if not page.get("IsTruncated") or not marks["KeyMarker"] or marks == asked:
                return
            asked = {name: mark for name, mark in marks.items() if mark}

    def _abort(self, key: str, upload_id: str) -> bool:
        """Whether this call ended the upload; another may have been quicker."""
        with translated("abort the unfinished upload of", self._place, key):
            try:
                self._client.abort_multipart_upload(
                    Bucket=self._spec.bucket, Key=key, UploadId=upload_id
                )
            except ClientError as error:
                if code_of(error) not in GONE and status_of(error) != 404:
                    raise
                return False
        return True

    def _translated(self, act: str, key: str) -> AbstractContextManager[None]:
        return translated(act, self._place, self.full_key(key))


_PROBES = f"{PROBE_FOLDER}/"


def _is_foreign(key: str) -> bool:
    """Whether a listed key is no object of a store: a probe, or a console's idea of a folder."""
    return key.endswith("/") or key.startswith(_PROBES)


def _parts_limit(place: Place) -> int:
    host = urlsplit(place.endpoint).hostname or ""
    fewer = (limit for end, limit in _FEWER_PARTS.items() if host.endswith(end))
    return next(fewer, PARTS_LIMIT)
