"""What keys of a bucket must be allowed: the rights behind each request, as AWS-style statements.

`backupd iam-policy` prints them, `check --explain` tries them one by one. They are the least that
works: a test records what every verb asks of a server and compares. Names and conditions of rights
are those of the AWS service authorization reference ("Amazon S3", "AWS KMS"). Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from itertools import groupby
from typing import Any

from backupd.errors import UsageError
from backupd.layout import segment
from backupd.policy import StoreSpec
from backupd.policy.store import is_amazon

CHECKSUM_PROBE = ".backupd-probe/checksums"
"""The one object outside of the hosts' prefixes: see `backupd.stores.s3_probe`."""

ACTIONS = {
    "HeadObject": "s3:GetObject",
    "GetObject": "s3:GetObject",
    "PutObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "ListObjectsV2": "s3:ListBucket",
    "HeadBucket": "s3:ListBucket",
    "DeleteObject": "s3:DeleteObject",
    "DeleteObjects": "s3:DeleteObject",
    "PutObjectRetention": "s3:PutObjectRetention",
    "GetObjectRetention": "s3:GetObjectRetention",
    "GetObjectLockConfiguration": "s3:GetBucketObjectLockConfiguration",
    "GetBucketVersioning": "s3:GetBucketVersioning",
    "GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
}
"""Request → what must be granted for it."""


class Reach(StrEnum):
    """What a right is granted for; the value names its statement."""

    LISTING = "ListBackups"
    """The bucket, for listings below the store's prefix."""
    EVERY_HOST = "ReadBackups"
    """The objects of all hosts."""
    OWN = "WriteOwnBackups"
    """The objects of this host."""
    BUCKET = "LookAtBucket"
    """The bucket itself."""
    KEY = "UseEncryptionKey"
    """The key by which the server encrypts."""


class Scope(Enum):
    """What the keys are for; each one includes those after it."""

    EVERYTHING = 3
    NO_DELETE = 2
    """All but to delete: for a bucket where other keys, or a lifecycle rule, remove."""
    READ_ONLY = 1
    """To list, show and restore."""


@dataclass(frozen=True, slots=True)
class Right:
    """One thing that keys may be allowed."""

    action: str
    reach: Reach
    scope: Scope
    """The narrowest scope that needs it."""
    use: str
    """Which verbs need it."""


_ALWAYS = (
    Right("s3:ListBucket", Reach.LISTING, Scope.READ_ONLY, "everything"),
    Right("s3:GetObject", Reach.EVERY_HOST, Scope.READ_ONLY, "everything"),
    Right("s3:PutObject", Reach.OWN, Scope.NO_DELETE, "backup, verify, drill, pin"),
    Right("s3:AbortMultipartUpload", Reach.OWN, Scope.NO_DELETE, "backup that fails, prune"),
    Right("s3:DeleteObject", Reach.OWN, Scope.EVERYTHING, "prune, forget, unpin, check"),
    Right("s3:ListBucketMultipartUploads", Reach.BUCKET, Scope.EVERYTHING, "prune"),
)
_LOCK = (
    Right("s3:PutObjectRetention", Reach.OWN, Scope.NO_DELETE, "backup with object_lock"),
    Right("s3:GetObjectRetention", Reach.OWN, Scope.NO_DELETE, "backup with object_lock"),
    Right("s3:GetBucketObjectLockConfiguration", Reach.BUCKET, Scope.NO_DELETE, "check"),
    Right("s3:GetBucketVersioning", Reach.BUCKET, Scope.NO_DELETE, "check"),
    Right("s3:GetLifecycleConfiguration", Reach.BUCKET, Scope.NO_DELETE, "check"),
)
_KMS = (
    # To write in parts as well: they are read again to be joined (S3 user guide, "Multipart upload
    # API and permissions").
    Right("kms:Decrypt", Reach.KEY, Scope.READ_ONLY, "everything, with sse: aws:kms"),
    Right("kms:GenerateDataKey", Reach.KEY, Scope.NO_DELETE, "backup, with sse: aws:kms"),
)


_BY_ACTION = {right.action: right for right in (*_ALWAYS, *_LOCK, *_KMS)}


def require_bucket(spec: StoreSpec, what: str) -> None:
    """Raise UsageError where the store is a directory, which has no rights and no abilities."""
    if spec.scheme != "s3":
        raise UsageError(f"{what}: the policy's store is a directory ({spec.url}), not a bucket")


def right_to(action: str) -> Right:
    """The right by its name, whether or not a policy needs it."""
    return _BY_ACTION[action]


def rights(spec: StoreSpec, scope: Scope = Scope.EVERYTHING) -> list[Right]:
    """What keys need to use `spec` for `scope`."""
    wanted = [*_ALWAYS]
    if spec.object_lock is not None:
        wanted += _LOCK
    if spec.sse == "aws:kms":
        wanted += _KMS
    return [right for right in wanted if right.scope.value <= scope.value]


def probes_checksums(spec: StoreSpec) -> bool:
    """Whether `checksums: auto` is found out by writing and removing `CHECKSUM_PROBE`."""
    is_secure = (spec.endpoint or "").startswith("https://")
    return spec.checksums == "auto" and is_secure and not is_amazon(spec.endpoint)


def iam_policy(spec: StoreSpec, host: str, scope: Scope) -> dict[str, Any]:
    """The policy document that allows `rights(spec, scope)` to `host`, and nothing else.

    `spec` is a bucket.
    """
    return {
        "Version": "2012-10-17",
        "Statement": statements(spec, host, rights(spec, scope)),
    }


def statements(spec: StoreSpec, host: str, wanted: Iterable[Right]) -> list[dict[str, Any]]:
    """One statement for each reach of the wanted rights."""
    order = list(Reach)
    by_reach = sorted(wanted, key=lambda right: order.index(right.reach))
    return [
        {
            "Sid": reach.value,
            "Effect": "Allow",
            "Action": sorted({right.action for right in group}),
            **_where(reach, spec, host),
        }
        for reach, group in groupby(by_reach, key=lambda right: right.reach)
    ]


def _where(reach: Reach, spec: StoreSpec, host: str) -> dict[str, Any]:
    bucket = f"arn:{_partition(spec)}:s3:::{spec.bucket}"
    base = f"{_literal(spec.prefix)}/" if spec.prefix else ""
    match reach:
        case Reach.LISTING if base:
            # An object that is missing counts as a listing of its key: without this right the
            # answer is 403 where backupd needs the 404.
            return {"Resource": bucket, "Condition": {"StringLike": {"s3:prefix": f"{base}*"}}}
        case Reach.LISTING | Reach.BUCKET:
            # ListBucketMultipartUploads knows no condition on the prefix: one would never be met.
            return {"Resource": bucket}
        case Reach.EVERY_HOST:
            return {"Resource": f"{bucket}/{base}*"}
        case Reach.OWN:
            own = [f"{bucket}/{base}{segment(host)}/*"]
            return {"Resource": own + [f"{bucket}/{base}{key}" for key in _probes(spec)]}
        case Reach.KEY:
            return _key(spec)


def _probes(spec: StoreSpec) -> Sequence[str]:
    return (CHECKSUM_PROBE,) if probes_checksums(spec) else ()


def _key(spec: StoreSpec) -> dict[str, Any]:
    """The key as policies can name it: an alias only by a condition, others by their ARN."""
    key, partition = spec.sse_kms_key or "", _partition(spec)
    if key.startswith("arn:") and ":alias/" not in key:
        return {"Resource": key}
    any_key = f"arn:{partition}:kms:*:*:key/"
    if key and not key.startswith(("alias/", "arn:")):
        return {"Resource": f"{any_key}{key}"}
    via = {"StringLike": {"kms:ViaService": "s3.*.amazonaws.com*"}}
    if not key:
        return {"Resource": f"{any_key}*", "Condition": via}
    alias = "alias/" + key.rpartition("alias/")[2]
    named = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": alias}}
    return {"Resource": f"{any_key}*", "Condition": {**via, **named}}


def _partition(spec: StoreSpec) -> str:
    region = spec.region or ""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def _literal(text: str) -> str:
    """`text` so that IAM takes none of it for a pattern or a variable."""
    return re.sub(r"[*?$]", lambda sign: f"${{{sign[0]}}}", text)
