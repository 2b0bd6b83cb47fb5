"""The client as s3transfer sees it while it sends one stream into one object.

Its requests end with the wish to go on, an end that was not heard is looked into, and an abort that
failed is remembered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from backupd.stores.s3_errors import GONE, code_of
from backupd.stores.s3_patience import Patience

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


@dataclass(frozen=True, slots=True)
class Target:
    """Where an upload goes, and how patiently."""

    client: S3Client
    patience: Patience
    bucket: str
    key: str


class WatchedClient:
    """The client as s3transfer sees it while it sends one source."""

    def __init__(self, target: Target, *, given_up: Event, sent_bytes: Callable[[], int]) -> None:
        """Once `given_up` is set no request is tried again; `sent_bytes` is asked at the end."""
        self._client = target.client
        self._patience = target.patience
        self._given_up = given_up
        self._sent_bytes = sent_bytes
        self.abort_failed = False
        """s3transfer only logs that."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if name not in _REQUESTS:
            return found

        def ask(**arguments: Any) -> Any:
            with self._patience.until(self._given_up):
                return found(**arguments)

        return ask

    def complete_multipart_upload(self, **arguments: Any) -> Any:
        """Join the parts; that an earlier attempt did so, whose answer got lost, is no failure."""
        try:
            with self._patience.until(self._given_up):
                return self._client.complete_multipart_upload(**arguments)
        except ClientError as error:
            if code_of(error) not in GONE or not self._is_there(arguments):
                raise
            return {}

    def _is_there(self, arguments: Any) -> bool:
        """Whether the whole object is: its key is new, so nothing else can be."""
        try:
            with self._patience.until(self._given_up):
                answer = self._client.head_object(Bucket=arguments["Bucket"], Key=arguments["Key"])
        except (ClientError, BotoCoreError):
            return False
        return answer.get("ContentLength") == self._sent_bytes()

    def abort_multipart_upload(self, **arguments: Any) -> object:
        """Abort, and remember when that failed."""
        try:
            with self._patience.until(self._given_up):
                return self._client.abort_multipart_upload(**arguments)
        except ClientError as error:
            self.abort_failed = code_of(error) not in GONE
            raise
        except BotoCoreError:
            self.abort_failed = True
            raise


_REQUESTS = frozenset({"put_object", "create_multipart_upload", "upload_part"})
"""What s3transfer asks for besides, to send a stream."""
