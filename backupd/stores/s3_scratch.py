"""What a trial leaves in a bucket on its way, and its removal, however the trial ends.

Keys are new ones below the host's own prefix, beside those of `backupd check`: nothing that is
there is overwritten, and no listing of backups shows them.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from backupd.layout import segment
from backupd.policy import StoreSpec

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


class Scratch:
    """Keys and uploads that a trial made, by their full keys in the bucket."""

    def __init__(self, client: S3Client, spec: StoreSpec, host: str) -> None:
        base = f"{spec.prefix}/" if spec.prefix else ""
        self.folder = f"{base}{segment(host)}/probe/{secrets.token_hex(8)}/"
        """The prefix of all keys of this trial."""
        self.left: list[str] = []
        """After the end: keys of objects and uploads that the server would not give up."""
        self._client = client
        self._bucket = spec.bucket
        self._keys: dict[str, None] = {}
        self._uploads: dict[tuple[str, str], None] = {}

    def key(self, name: str) -> str:
        """The full key for `name`, which is deleted at the end."""
        return self.remember(self.folder + name)

    def remember(self, key: str) -> str:
        """`key` itself, a full one, which is deleted at the end."""
        self._keys[key] = None
        return key

    def removes(self, key: str) -> bool:
        """Whether the key is deleted at the end."""
        return key in self._keys

    def begin_upload(self, key: str, **extra: Any) -> str:
        """The id of a new upload in parts, aborted at the end. Raises boto3's exceptions."""
        answer = self._client.create_multipart_upload(Bucket=self._bucket, Key=key, **extra)
        self._uploads[key, answer["UploadId"]] = None
        return answer["UploadId"]

    def upload_ended(self, key: str, upload_id: str) -> None:
        """Remember that nothing of the upload is left to abort."""
        self._uploads.pop((key, upload_id), None)

    @contextmanager
    def removed_at_the_end(self) -> Iterator[None]:
        """Remove everything when the block is left; what stayed is in `left` then."""
        try:
            yield
        finally:
            self.left = [*self._abort_all(), *self._delete_all()]

    def _abort_all(self) -> Iterator[str]:
        for key, upload_id in self._uploads:
            try:
                self._client.abort_multipart_upload(
                    Bucket=self._bucket, Key=key, UploadId=upload_id
                )
            except (ClientError, BotoCoreError):
                yield f"{key} (unfinished upload)"

    def _delete_all(self) -> Iterator[str]:
        for key in self._keys:
            try:
                self._client.delete_object(Bucket=self._bucket, Key=key)
            except (ClientError, BotoCoreError):
                yield key
