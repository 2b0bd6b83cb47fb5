"""What a client sends to an S3 server, at a pace: where the bytes go out, block by block."""

from __future__ import annotations

from io import BytesIO
from typing import IO, TYPE_CHECKING, Any, cast

from backupd.pace import Pace
from backupd.stores.paced import BLOCK_BYTES

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest
    from mypy_boto3_s3.client import S3Client


def send_at_a_pace(client: S3Client, pace: Pace) -> None:
    """Let the bodies of all requests of `client` share `pace`, those of repeated ones too."""

    def slow_down(request: AWSPreparedRequest, **_: object) -> None:
        body: Any = request.body
        if body:
            # Signed, with its length in the headers, by now: nothing else reads it.
            file = BytesIO(body) if isinstance(body, bytes | bytearray) else body
            request.body = cast("IO[bytes]", _Body(file, pace))

    client.meta.events.register("before-send.s3", slow_down)


class _Body:
    """A request's body, read in small blocks; in all else the body itself."""

    def __init__(self, body: Any, pace: Pace) -> None:
        self._body = body
        self._pace = pace

    def read(self, *size: int) -> bytes:
        # The sender goes on until nothing comes, so that it may be given less than it asks for.
        data: bytes = self._body.read(*(min(wanted, BLOCK_BYTES) for wanted in size))
        self._pace.wait_for(len(data))
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)
