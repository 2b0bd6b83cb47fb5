"""What S3 servers and the way to them refuse, in sentences for the person who must act.

The one place where boto3's exceptions become ours. Nothing of a request is repeated but its bucket,
its key and the server's address: no key, no token, no signed address.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from backupd.errors import ObjectMissing, StoreError
from backupd.rights import ACTIONS
from backupd.shortage import remedy, shortage


@dataclass(frozen=True, slots=True)
class Place:
    """The bucket that sentences speak of, and where it is asked for."""

    bucket: str
    endpoint: str
    region: str
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What no sentence may repeat, though a server or what stands before it may."""


_DENIED = "{endpoint} does not allow these keys {action} there; grant it, or use other keys"
_WRONG_REGION = "the bucket is not in region '{region}'; set the store's 'region'{right_region}"
_FULL = "the server has no space left for it (or a quota is used up); free some, then run again"
_BUSY = "{endpoint} is too busy, after several attempts; try later, or lower the store's 'uploads'"
_FAILED = (
    "{endpoint} failed inside, after several attempts; look at the server's logs, or try later"
)
_MISSING = "no such object"
_NO_TRAILERS = (
    "{endpoint} does not take uploads with a checksum; set 'checksums: when_required' in the store"
)
_CHANGED = "the bytes that arrived are not those that were sent; try again, and check the network"
_PARTS_DIFFER = (
    "the parts that {endpoint} holds are not those that it acknowledged; run again, and look at "
    "the server's logs"
)
_TOKEN = "the session token is not valid or has expired; renew the store's 'session_token'"  # noqa: S105 (a sentence)

_CAUSES = {
    "NoSuchBucket": (
        "{endpoint} has no bucket '{bucket}'; create it, or correct the bucket in the store's 'url'"
    ),
    "InvalidBucketName": "{endpoint} does not take '{bucket}' for the name of a bucket",
    "InvalidAccessKeyId": (
        "{endpoint} does not know the access key; check the store's 'access_key', "
        "or the AWS credentials in use"
    ),
    "SignatureDoesNotMatch": (
        "the secret key does not belong to the access key; check the store's 'secret_key'"
    ),
    "AccessDenied": _DENIED,
    "AllAccessDisabled": _DENIED,
    "Forbidden": _DENIED,
    "403": _DENIED,
    "ExpiredToken": _TOKEN,
    "InvalidToken": _TOKEN,
    "PermanentRedirect": _WRONG_REGION,
    "AuthorizationHeaderMalformed": _WRONG_REGION,
    "IllegalLocationConstraintException": _WRONG_REGION,
    "301": _WRONG_REGION,
    "RequestTimeTooSkewed": (
        "this machine's clock is wrong: it differs from the server's{server_time} by more than "
        "the server accepts; set the clock"
    ),
    "EntityTooLarge": (
        "it is larger than {endpoint} accepts in one request{size_limit}; lower the store's "
        "'part_size'"
    ),
    "413": "it is larger than {endpoint} accepts in one request; lower the store's 'part_size'",
    "InsufficientStorage": _FULL,
    "QuotaExceeded": _FULL,
    "XMinioStorageFull": _FULL,
    "507": _FULL,
    "SlowDown": _BUSY,
    "ServiceUnavailable": _BUSY,
    "Throttling": _BUSY,
    "TooManyRequests": _BUSY,
    "429": _BUSY,
    "503": _BUSY,
    "InternalError": _FAILED,
    "500": _FAILED,
    "502": _FAILED,
    "504": _FAILED,
    "EntityTooSmall": (
        "a part of it is smaller than {endpoint} accepts; raise the store's 'part_size'"
    ),
    "InvalidPart": _PARTS_DIFFER,
    "InvalidPartOrder": _PARTS_DIFFER,
    "MissingContentLength": _NO_TRAILERS,
    "411": _NO_TRAILERS,
    "BadDigest": _CHANGED,
    "InvalidDigest": _CHANGED,
    "XAmzContentChecksumMismatch": _CHANGED,
    "NoSuchKey": _MISSING,
    "404": _MISSING,
    "NotFound": _MISSING,
    "NoSuchUpload": "its unfinished upload is gone: someone aborted it; run again",
}
"""Server's error code (or bare HTTP status, as HEAD has no body) → cause and next step."""

_MISSING_CODES = frozenset(code for code, cause in _CAUSES.items() if cause == _MISSING)

GONE = _MISSING_CODES | {"NoSuchUpload"}
"""What servers answer when there is nothing (any more) to delete or abort."""

CONCERNS_ALL = frozenset(
    {"NoSuchBucket", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}
    | {"RequestTimeTooSkewed", "PermanentRedirect", "AuthorizationHeaderMalformed"}
)
"""Refusals of one request that every other one would meet too."""


def code_of(error: boto.ClientError) -> str:
    """The server's error code; the HTTP status where it gave none."""
    answer: dict[str, Any] = error.response.get("Error", {})  # type: ignore[assignment]
    return str(answer.get("Code") or status_of(error))


def status_of(error: boto.ClientError) -> int:
    """The answer's HTTP status, 0 where unknown."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def cause_of(
    answer: dict[str, Any], operation: str, place: Place, *, headers: dict[str, str] | None = None
) -> str:
    """Why the server refused, and the next step. `answer` holds its Code and Message."""
    code, found = str(answer.get("Code", "")), headers or {}
    region = answer.get("Region") or found.get("x-amz-bucket-region")
    server_time = answer.get("ServerTime") or found.get("date")
    limit = answer.get("MaxSizeAllowed")
    template = _CAUSES.get(code)
    if template is None:
        said = _told(answer.get("Message", ""), place)
        return f"{place.endpoint} answered {_told(code, place)}: {said}"
    return template.format(
        bucket=place.bucket,
        endpoint=place.endpoint,
        region=place.region,
        action=ACTIONS.get(operation, operation),
        right_region=f" to '{_told(region, place)}'" if region else "",
        server_time=f" ({_told(server_time, place)})" if server_time else "",
        size_limit=f" ({_told(limit, place)} bytes)" if limit else "",
    )


def _told(value: object, place: Place) -> str:
    """A server's words as `plain` has them, without what it was told in confidence."""
    text = str(value)
    for secret in place.secrets:
        text = text.replace(secret, "…")
    return plain(text)


def plain(text: str) -> str:
    """A server's or library's words on one short line, without what an address may carry."""
    line = " ".join(re.sub(r"\?\S+", "", re.sub(r"//[^/@\s]*@", "//", text)).split())
    return line[:200].rstrip(". ") or "no reason given"


@contextmanager
def translated(act: str, place: Place, key: str) -> Iterator[None]:
    """Turn what boto3 raises inside into a StoreError that says what could not be done, and why.

    `act` completes "cannot …"; `key` is the full key in the bucket, or a prefix. Anything that is
    not boto3's own passes unchanged. Raises ObjectMissing where the server says so.
    """
    what = f"cannot {act} s3://{place.bucket}/{key}"
    try:
        yield
    except boto.ClientError as error:
        answer: dict[str, Any] = dict(error.response.get("Error", {}))
        answer["Code"] = code_of(error)
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        cause = cause_of(answer, error.operation_name, place, headers=headers)
        kind = ObjectMissing if code_of(error) in _MISSING_CODES else StoreError
        raise kind(f"{what}: {cause}") from error
    except ResponseParserError as error:
        raise StoreError(
            f"{what}: what answers at {place.endpoint} is not an S3 server; "
            "check the store's 'endpoint'"
        ) from error
    except boto.BotoCoreError as error:
        raise StoreError(f"{what}: {_way_blocked(error, place)}") from error


def _way_blocked(error: boto.BotoCoreError, place: Place) -> str:
    """Why no answer came: the cause lies on this machine or on the way to the server."""
    ours = shortage(error)
    if ours is not None:
        return f"{ours.strerror}; {remedy(ours)}"
    for kind, explain in _TRANSPORT:
        if isinstance(error, kind):
            return explain(error, place)
    return _told(error, place)


def _credentials(error: boto.BotoCoreError, place: Place) -> str:
    return (
        "no credentials were found; set the store's 'access_key' and 'secret_key', or give AWS's "
        "own (environment, ~/.aws, the machine's role)"
    )


def _tls(error: boto.BotoCoreError, place: Place) -> str:
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text or "certificate verify failed" in text:
        reason = re.search(r"certificate verify failed: ([^(]+)", text)
        why = f" ({plain(reason[1])})" if reason else ""
        return (
            f"the certificate of {place.endpoint} is not trusted{why}; set the store's "
            "'ca_bundle' to the PEM file of the authority that signed it"
        )
    if re.search(r"WRONG_VERSION_NUMBER|RECORD_LAYER|wrong version number", text):
        return f"{place.endpoint} does not speak TLS; write http:// if that is meant"
    return (
        f"no secure connection to {place.endpoint}: {plain(text.rpartition(': ')[2])}; "
        "check the store's 'endpoint' and 'ca_bundle'"
    )


def _no_answer(error: boto.BotoCoreError, place: Place) -> str:
    return (
        f"nothing answers at {place.endpoint} in time; check the store's 'endpoint' and the "
        "firewalls on the way"
    )


def _silence(error: boto.BotoCoreError, place: Place) -> str:
    return f"{place.endpoint} fell silent, after several attempts; check the server, then run again"


def _cut(error: boto.BotoCoreError, place: Place) -> str:
    return (
        f"{place.endpoint} closed the connection, after several attempts; check the server, and "
        "whether the store's 'endpoint' should be https"
    )


def _proxy(error: boto.BotoCoreError, place: Place) -> str:
    return f"the proxy on the way to {place.endpoint} refused; check HTTPS_PROXY and NO_PROXY"


def _unreachable(error: boto.BotoCoreError, place: Place) -> str:
    text = str(getattr(error, "kwargs", {}).get("error", error))
    if re.search(r"resolve|Name or service|getaddrinfo|Temporary failure in name", text):
        return f"the name in {place.endpoint} cannot be resolved; check the store's 'endpoint', DNS"
    if "refused" in text:
        return (
            f"{place.endpoint} refuses connections; check that the server runs, and the port in "
            "the store's 'endpoint'"
        )
    return f"there is no way to {place.endpoint}; check the network, and the store's 'endpoint'"


_TRANSPORT: list[tuple[type[boto.BotoCoreError], Callable[[boto.BotoCoreError, Place], str]]] = [
    (boto.NoCredentialsError, _credentials),
    (boto.PartialCredentialsError, _credentials),
    (boto.SSLError, _tls),
    (boto.ProxyConnectionError, _proxy),
    (boto.ConnectTimeoutError, _no_answer),
    (boto.ReadTimeoutError, _silence),
    (boto.ConnectionClosedError, _cut),
    (boto.EndpointConnectionError, _unreachable),
]
"""The first row that fits explains: special kinds stand before those that they descend from."""
