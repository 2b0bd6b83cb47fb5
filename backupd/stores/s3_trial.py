"""Which rights the keys have: each request that backupd makes, tried once, and what was answered.

Whether keys may delete is asked first, by deleting what is not there: for keys that may not, it is
always the same object that is written, so that no number of trials leaves more than one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from backupd.layout import segment
from backupd.policy import StoreSpec
from backupd.rights import CHECKSUM_PROBE, probes_checksums
from backupd.stores.s3_client import Connector, place_of
from backupd.stores.s3_errors import CONCERNS_ALL, GONE, cause_of, code_of, status_of, translated
from backupd.stores.s3_scratch import Scratch

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_BODY = b"backupd wrote this to learn what its keys may do; it may be deleted\n"
_NO_SUCH_SETTING = frozenset(
    {"ObjectLockConfigurationNotFoundError", "NoSuchLifecycleConfiguration"}
)
"""Answers that say: you may ask, and there is none."""
_NO_UPLOAD = "none"
"""The id of no upload: to abort it needs the same right."""
_LOOKS_THE_SAME = "nothing is there to be read, and without s3:ListBucket both are answered alike"
_NEEDS_KMS = re.compile(r"not authorized to perform: (kms:\w+)")
"""How Amazon tells that it is the key's right that is missing."""


class Answer(StrEnum):
    """What became of one request."""

    OK = "ok"
    REFUSED = "refused"
    UNKNOWN = "cannot tell"


@dataclass(frozen=True, slots=True)
class Tried:
    """One request, as far as it says something about a right."""

    act: str
    action: str
    answer: Answer
    cause: str = ""
    """Why it cannot be told, or what was refused; empty if all is well."""
    extra_for: str = ""
    """What alone needs it, where backups are made and kept without; else empty."""


@dataclass(frozen=True, slots=True)
class Trial:
    """All that was tried, and the full keys of what could not be removed again."""

    tried: tuple[Tried, ...]
    left: tuple[str, ...]


def try_rights(spec: StoreSpec, host: str) -> Trial:
    """What the keys may do where `host` writes. Raises StoreError where nothing can be asked.

    Writes small objects and one small part below the host's prefix, and removes them.
    """
    client = Connector(spec).connect("when_required", attempts=2)
    trying = _Trying(client, spec, host)
    with trying.scratch.removed_at_the_end():
        tried = tuple(trying.everything())
    return Trial(tried, (*trying.stays, *trying.scratch.left))


class _Trying:
    def __init__(self, client: S3Client, spec: StoreSpec, host: str) -> None:
        self.scratch = Scratch(client, spec, host)
        self._client = client
        self._spec = spec
        self._place = place_of(client, spec.bucket)
        self._base = f"{spec.prefix}/" if spec.prefix else ""
        self._own = f"{self._base}{segment(host)}/"
        self._where: dict[str, Any] = {"Bucket": spec.bucket}
        wanted = {"ServerSideEncryption": spec.sse, "SSEKMSKeyId": spec.sse_kms_key}
        self._encryption: dict[str, Any] = {name: value for name, value in wanted.items() if value}
        self.stays: list[str] = []
        """What was written where nothing can be deleted."""

    def everything(self) -> Iterator[Tried]:
        listed = self._list("list backups", self._own)
        yield listed
        yield replace(self._list("list hosts", self._base, Delimiter="/"), extra_for="--host '*'")
        delete = self._ask("delete objects", "s3:DeleteObject", self._delete_nothing)
        key = self._key(delete)
        written = self._write("write objects", key)
        yield written
        is_there = written.answer is Answer.OK
        may_list = listed.answer is Answer.OK
        for act, request in (
            ("read objects", self._client.get_object),
            ("look at objects", self._client.head_object),
        ):
            read = self._ask(act, "s3:GetObject", request, Key=key, missing_is_fine=not is_there)
            if read.answer is Answer.REFUSED and not is_there and not may_list:
                read = replace(read, answer=Answer.UNKNOWN, cause=_LOOKS_THE_SAME)
            yield read
        yield from self._parts(key)
        yield delete
        if probes_checksums(self._spec):
            self._key(delete, CHECKSUM_PROBE)
            found_out = self._write("find out checksums", self._base + CHECKSUM_PROBE)
            yield replace(found_out, extra_for="checksums: auto")
        if self._spec.object_lock is not None:
            yield self._ask("lock objects", "s3:PutObjectRetention", self._lock_nothing)
            yield self._ask("read locks", "s3:GetObjectRetention", self._read_no_lock)
        yield from self._settings()

    def _key(self, delete: Tried, fixed: str = "") -> str:
        """A key to write to: a new one if it can be deleted again, else always the same."""
        if delete.answer is Answer.OK:
            return self.scratch.remember(self._base + fixed) if fixed else self.scratch.key("right")
        return self._base + fixed if fixed else f"{self._own}probe/right"

    def _delete_nothing(self, **where: Any) -> None:
        self._client.delete_object(**where, Key=f"{self.scratch.folder}nothing")

    def _read_no_lock(self, **where: Any) -> None:
        self._client.get_object_retention(**where, Key=f"{self.scratch.folder}nothing")

    def _lock_nothing(self, **where: Any) -> None:
        """Lock what is not there: anything else could not be removed again."""
        self._client.put_object_retention(
            **where,
            Key=f"{self.scratch.folder}nothing",
            Retention={
                "Mode": "GOVERNANCE",
                "RetainUntilDate": datetime.now(UTC) + timedelta(days=1),
            },
        )

    def _list(self, act: str, prefix: str, **more: Any) -> Tried:
        return self._ask(
            act, "s3:ListBucket", self._client.list_objects_v2, Prefix=prefix, MaxKeys=1, **more
        )

    def _write(self, act: str, key: str) -> Tried:
        tried = self._ask(
            act, "s3:PutObject", self._client.put_object, Key=key, Body=_BODY, **self._encryption
        )
        if tried.answer is Answer.OK and not self.scratch.removes(key):
            self.stays.append(key)
        return tried

    def _parts(self, key: str) -> Iterator[Tried]:
        """An upload in parts, begun, seen and aborted."""
        act, upload_id = "upload in parts", ""

        def send(**where: Any) -> None:
            nonlocal upload_id
            upload_id = self.scratch.begin_upload(key, **self._encryption)
            self._client.upload_part(**where, Key=key, UploadId=upload_id, PartNumber=1, Body=_BODY)

        yield self._ask(act, "s3:PutObject", send)
        yield self._ask(
            "list unfinished uploads",
            "s3:ListBucketMultipartUploads",
            self._client.list_multipart_uploads,
            Prefix=self._own,
        )
        abort, right = "abort an upload", "s3:AbortMultipartUpload"
        aborted = self._ask(
            abort,
            right,
            self._client.abort_multipart_upload,
            Key=key,
            UploadId=upload_id or _NO_UPLOAD,
        )
        if upload_id and aborted.answer is Answer.OK:
            self.scratch.upload_ended(key, upload_id)
        yield aborted

    def _settings(self) -> Iterator[Tried]:
        """Looks at the bucket's own settings, without which backupd works."""
        client = self._client
        for act, action, request in (
            ("look for versions", "s3:GetBucketVersioning", client.get_bucket_versioning),
            (
                "look for a lock",
                "s3:GetBucketObjectLockConfiguration",
                client.get_object_lock_configuration,
            ),
            (
                "look for a lifecycle",
                "s3:GetLifecycleConfiguration",
                client.get_bucket_lifecycle_configuration,
            ),
        ):
            yield self._ask(act, action, request)

    def _ask(
        self,
        act: str,
        action: str,
        request: Callable[..., object],
        *,
        missing_is_fine: bool = True,
        **more: Any,
    ) -> Tried:
        """What the request says about the right. Raises StoreError for what all would meet."""
        with translated(f"{act} in", self._place, self._base):
            try:
                request(**self._where, **more)
            except ClientError as error:
                code = code_of(error)
                if code in CONCERNS_ALL:
                    raise
                if code in _NO_SUCH_SETTING or (missing_is_fine and code in GONE):
                    return Tried(act, action, Answer.OK)
                answer: dict[str, Any] = {**error.response.get("Error", {}), "Code": code}
                cause = cause_of(answer, error.operation_name, self._place)
                kms = _NEEDS_KMS.search(str(answer.get("Message", "")))
                refused = Answer.REFUSED if status_of(error) == 403 else Answer.UNKNOWN
                return Tried(act, kms[1] if kms else action, refused, cause)
        return Tried(act, action, Answer.OK)
