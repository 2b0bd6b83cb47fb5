"""Which checksums an S3 server takes: found out by one small object, once for each store.

Over https boto3 sends a checksum behind the body (an `aws-chunked` trailer). Ceph RGW, OpenStack
Swift, rclone and JuiceFS refuse such requests; s3rver stores the trailer inside the object. Over
plain http the checksum is a header, which every server measured so far accepts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from backupd.policy import StoreSpec
from backupd.policy.store import is_amazon
from backupd.rights import CHECKSUM_PROBE
from backupd.stores.s3_client import Checksums, Connector

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

PROBE_FOLDER = CHECKSUM_PROBE.partition("/")[0]
_PROBE_BODY = b"backupd wrote this to learn which checksums the server takes; it may be deleted\n"


def settled_checksums(spec: StoreSpec, endpoint_url: str) -> Checksums | None:
    """The checksums that need no probe: those of the policy, or of a known kind of server."""
    if spec.checksums != "auto":
        return spec.checksums
    # Amazon takes every checksum.
    if is_amazon(endpoint_url) or not endpoint_url.startswith("https://"):
        return "when_supported"
    return None


def probed_checksums(connector: Connector) -> Checksums:
    """What the server takes: a probe is written with a trailer, read back and deleted.

    Any doubt gives `when_required`, which every server takes; the real request then says what is
    wrong. Raises boto3's exceptions when the server cannot be reached at all.
    """
    spec = connector.spec
    client = connector.connect("when_supported", attempts=2)
    key = f"{spec.prefix}/{CHECKSUM_PROBE}" if spec.prefix else CHECKSUM_PROBE
    try:
        client.put_object(Bucket=spec.bucket, Key=key, Body=_PROBE_BODY)
        # One byte more than was sent: a trailer inside the object must show.
        answer = client.get_object(Bucket=spec.bucket, Key=key)
        kept = answer["Body"].read(len(_PROBE_BODY) + 1) == _PROBE_BODY
    except (ClientError, ConnectionClosedError, ReadTimeoutError):
        # Some refuse the trailer in words, some servers and proxies by hanging up, or never answer.
        return "when_required"
    _remove(client, spec.bucket, key)
    return "when_supported" if kept else "when_required"


def _remove(client: S3Client, bucket: str, key: str) -> None:
    try:
        client.delete_object(Bucket=bucket, Key=key)
    except ClientError:
        # Keys that may not delete leave the one probe behind; each next one replaces it.
        return
