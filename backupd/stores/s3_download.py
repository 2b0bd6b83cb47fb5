"""One object as a stream that takes itself up again where the connection broke off.

It ends when, and only when, as many bytes came as the server promised in its first answer: a body
that is cut short raises, however politely it ended. Whether the bytes are the right ones is for the
archive's own SHA-256 to say.
"""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO
from threading import Event
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError
from urllib3.exceptions import HTTPError

from backupd.errors import StoreError
from backupd.stores.s3_errors import Place, plain, translated

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3.client import S3Client

BLOCK_BYTES = 1 << 20
_FIRST_PAUSE_SECONDS = 0.25

_Broken = (BotoCoreError, HTTPError, OSError)
"""What reading a body raises when the connection breaks: botocore wraps only some of urllib3's."""


def length_of(answer: Any, place: Place, key: str) -> int:
    """The object's size in bytes by its answer to GET or HEAD. Raises StoreError without one."""
    length: int | None = answer.get("ContentLength")
    if length is None:
        raise StoreError(
            f"cannot trust s3://{place.bucket}/{key}: {place.endpoint} does not say how long it is;"
            " check that the store's 'endpoint' is that of an S3 server"
        )
    return length


class Download:
    """A `ClosableReader` over one object; may be closed from another thread."""

    def __init__(self, client: S3Client, place: Place, key: str, *, attempts: int) -> None:
        """Open the object; `attempts` breaks in a row without a byte in between are the end.

        Raises ObjectMissing, StoreError.
        """
        self._attempts = attempts
        self._client = client
        self._place = place
        self._key = key
        self._position = 0
        self._breaks = 0
        self._closed = Event()
        answer = self._request({})
        self._etag = answer.get("ETag")
        self.size_bytes = length_of(answer, place, key)
        self._body: StreamingBody = answer["Body"]

    def read(self, size: int, /) -> bytes:
        """Exactly `size` bytes, fewer only at the end. Raises StoreError."""
        wanted = min(size, self.size_bytes - self._position)
        if wanted <= BLOCK_BYTES:
            first = self._some(wanted) if wanted else b""
            if len(first) == wanted:
                return first
        else:
            first = b""
        gathered = BytesIO()
        gathered.write(first)
        while missing := wanted - gathered.tell():
            gathered.write(self._some(min(missing, BLOCK_BYTES)))
        return gathered.getvalue()

    def close(self) -> None:
        """Drop the connection; a `read` that waits in another thread fails then."""
        self._closed.set()
        self._drop()

    def _some(self, size: int) -> bytes:
        """At least one byte, at most `size`; resumes as often as that helps."""
        while True:
            if self._closed.is_set():
                raise StoreError(f"cannot read {self._what}: it was closed in the middle")
            try:
                data = self._body.read(size)
            except _Broken as error:
                self._resume(error)
                continue
            if data:
                self._position += len(data)
                self._breaks = 0
                return data
            self._resume(None)

    def _resume(self, error: Exception | None) -> None:
        self._drop()
        self._breaks += 1
        reason = "the connection ended early" if error is None else plain(str(error))
        if self._breaks >= self._attempts:
            raise StoreError(
                f"cannot read {self._what}: broken off after {self._position} of "
                f"{self.size_bytes} bytes, {self._breaks} times in a row ({reason}); check the "
                "server and the network, then run again"
            ) from error
        # The first new attempt is at once: most breaks are a server's idle or life time limit.
        self._closed.wait(_FIRST_PAUSE_SECONDS * (2 ** (self._breaks - 1) - 1))
        if self._closed.is_set():
            return
        answer = self._request({"Range": f"bytes={self._position}-"} if self._position else {})
        self._body = answer["Body"]
        self._check_same(answer)

    def _check_same(self, answer: Any) -> None:
        """Raise StoreError unless the new answer goes on with the object that was begun.

        Compared here rather than asked for with If-Match: Ceph RGW 16 wants that without quotes.
        """
        answered_range = str(answer.get("ContentRange", ""))
        total = answered_range.rpartition("/")[2]
        if answer.get("ETag") != self._etag or total not in {"", "*", str(self.size_bytes)}:
            raise StoreError(f"cannot read {self._what}: it was replaced while it was read")
        if self._position and not answered_range.startswith(f"bytes {self._position}-"):
            raise StoreError(
                f"cannot read {self._what}: the connection broke after {self._position} bytes and "
                "the server cannot go on from there (it ignores ranges); run again"
            )

    def _request(self, extra: dict[str, Any]) -> Any:
        with translated("read", self._place, self._key):
            return self._client.get_object(Bucket=self._place.bucket, Key=self._key, **extra)

    def _drop(self) -> None:
        with suppress(*_Broken, AttributeError, ValueError, RuntimeError):
            # Closing alone wakes no thread that waits for bytes. Raises once all bytes were read.
            self._body._raw_stream.shutdown()  # type: ignore[attr-defined]
        with suppress(*_Broken, AttributeError):
            self._body.close()

    @property
    def _what(self) -> str:
        return f"s3://{self._place.bucket}/{self._key}"
