"""The rights that keys need, as statements that AWS takes."""

from __future__ import annotations

from typing import Any

import pytest

from backupd.errors import UsageError
from backupd.policy import StoreSpec
from backupd.rights import Scope, iam_policy, require_bucket, right_to, statements

URL = "s3://my-backups/docker"


def document(scope: Scope = Scope.EVERYTHING, *, host: str = "web01", **store: Any) -> Any:
    spec = StoreSpec.model_validate({"url": URL, **store})
    return iam_policy(spec, host, scope)


def statement(sid: str, scope: Scope = Scope.EVERYTHING, **options: Any) -> Any:
    (found,) = [one for one in document(scope, **options)["Statement"] if one["Sid"] == sid]
    return found


def actions(scope: Scope, **store: Any) -> set[str]:
    return {action for one in document(scope, **store)["Statement"] for action in one["Action"]}


def test_the_whole_policy_of_a_host() -> None:
    assert {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "ListBackups",
                "Effect": "Allow",
                "Action": ["s3:ListBucket"],
                "Resource": "arn:aws:s3:::my-backups",
                "Condition": {"StringLike": {"s3:prefix": "docker/*"}},
            },
            {
                "Sid": "ReadBackups",
                "Effect": "Allow",
                "Action": ["s3:GetObject"],
                "Resource": "arn:aws:s3:::my-backups/docker/*",
            },
            {
                "Sid": "WriteOwnBackups",
                "Effect": "Allow",
                "Action": ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:PutObject"],
                "Resource": ["arn:aws:s3:::my-backups/docker/web01/*"],
            },
            {
                "Sid": "LookAtBucket",
                "Effect": "Allow",
                "Action": ["s3:ListBucketMultipartUploads"],
                "Resource": "arn:aws:s3:::my-backups",
            },
        ],
    } == document()


def test_without_a_prefix_the_whole_bucket_is_listed() -> None:
    listing = statement("ListBackups", url="s3://my-backups")

    assert ("arn:aws:s3:::my-backups", False) == (listing["Resource"], "Condition" in listing)
    assert ["arn:aws:s3:::my-backups/web01/*"] == statement(
        "WriteOwnBackups", url="s3://my-backups"
    )["Resource"]


def test_keys_that_may_not_delete_can_still_give_up_an_upload() -> None:
    assert {
        "s3:ListBucket",
        "s3:GetObject",
        "s3:PutObject",
        "s3:AbortMultipartUpload",
    } == actions(Scope.NO_DELETE)


def test_reading_needs_two_rights() -> None:
    assert {"s3:ListBucket", "s3:GetObject"} == actions(Scope.READ_ONLY)


@pytest.mark.parametrize(
    ("host", "prefix", "resource"),
    [
        ("a*b", "x", "x/a%2Ab/*"),
        ("web01", "pre*?$x", "pre${*}${?}${$}x/web01/*"),
        ("${aws:username}", "x", "x/%24%7Baws%3Ausername%7D/*"),
    ],
)
def test_nothing_in_a_name_is_a_pattern(host: str, prefix: str, resource: str) -> None:
    own = statement("WriteOwnBackups", host=host, url=f"s3://my-backups/{prefix}")

    assert [f"arn:aws:s3:::my-backups/{resource}"] == own["Resource"]


@pytest.mark.parametrize(
    ("store", "is_there"),
    [
        ({"endpoint": "https://s3.example.com"}, True),
        ({"endpoint": "https://s3.example.com", "checksums": "when_required"}, False),
        ({"endpoint": "http://s3.example.com"}, False),
        ({"endpoint": "https://s3.eu-central-1.amazonaws.com"}, False),
        ({}, False),
    ],
)
def test_the_checksum_probe_is_allowed_where_it_is_made(
    store: dict[str, Any], is_there: bool
) -> None:
    resources = statement("WriteOwnBackups", **store)["Resource"]

    probe = "arn:aws:s3:::my-backups/docker/.backupd-probe/checksums"
    assert is_there == (probe in resources)


@pytest.mark.parametrize(
    ("region", "partition"),
    [("eu-central-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")],
)
def test_names_are_those_of_the_regions_partition(region: str, partition: str) -> None:
    assert (
        f"arn:{partition}:s3:::my-backups" == statement("LookAtBucket", region=region)["Resource"]
    )


@pytest.mark.parametrize(
    ("key", "resource", "condition"),
    [
        ("arn:aws:kms:eu-west-1:123:key/abc", "arn:aws:kms:eu-west-1:123:key/abc", None),
        ("0a1b-2c3d", "arn:aws:kms:*:*:key/0a1b-2c3d", None),
        ("alias/backups", "arn:aws:kms:*:*:key/*", "alias/backups"),
        ("arn:aws:kms:eu-west-1:123:alias/b/c", "arn:aws:kms:*:*:key/*", "alias/b/c"),
    ],
)
def test_a_kms_key_is_named_as_policies_can(key: str, resource: str, condition: str | None) -> None:
    found = statement("UseEncryptionKey", sse="aws:kms", sse_kms_key=key)

    assert (["kms:Decrypt", "kms:GenerateDataKey"], resource) == (
        found["Action"],
        found["Resource"],
    )
    named = found.get("Condition", {}).get("ForAnyValue:StringEquals", {})
    assert condition == named.get("kms:ResourceAliases")


def test_the_buckets_own_kms_key_may_be_used_by_way_of_s3_only() -> None:
    found = statement("UseEncryptionKey", sse="aws:kms")

    assert {"StringLike": {"kms:ViaService": "s3.*.amazonaws.com*"}} == found["Condition"]


def test_reading_what_kms_encrypted_takes_no_right_to_encrypt() -> None:
    found = statement("UseEncryptionKey", Scope.READ_ONLY, sse="aws:kms")

    assert ["kms:Decrypt"] == found["Action"]


def test_a_lock_needs_rights_of_its_own() -> None:
    lock = {"mode": "governance", "days": 30}

    assert {
        "s3:PutObjectRetention",
        "s3:GetObjectRetention",
        "s3:GetBucketObjectLockConfiguration",
        "s3:GetBucketVersioning",
        "s3:GetLifecycleConfiguration",
    } == actions(Scope.NO_DELETE, object_lock=lock) - actions(Scope.NO_DELETE)


def test_a_single_right_has_a_statement_of_its_own() -> None:
    (only,) = statements(StoreSpec(url=URL), "web01", [right_to("s3:GetBucketVersioning")])

    assert ("LookAtBucket", ["s3:GetBucketVersioning"]) == (only["Sid"], only["Action"])


def test_a_directory_has_no_rights() -> None:
    with pytest.raises(UsageError, match=r"cannot do it: the policy's store is a directory"):
        require_bucket(StoreSpec(url="file:///srv/store"), "cannot do it")
