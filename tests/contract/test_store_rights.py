"""What the keys may do, tried at a server that grants to the letter what a policy document says."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

import pytest
from pydantic import SecretStr

from backupd.errors import StoreError, UsageError
from backupd.policy import ObjectLock, Policy, StoreSpec
from backupd.rights import Scope, iam_policy
from backupd.stores.s3_trial import Answer
from backupd.verbs.explain import Explanation, explain
from tests.contract.conftest import s3_spec
from tests.contract.shelves import policy_of
from tests.contract.test_store_odd_servers import odd_spec
from tests.servers.odd_s3 import Oddity, OddS3
from tests.servers.seaweedfs import FULL, GRANTED, NO_DELETE, READ_ONLY, SCOPED, SeaweedFS

HOST = "web01"


_numbers = count(1)


class Bucket:
    """A new bucket, and the keys that may do there what `grant` was told last."""

    def __init__(self, server: SeaweedFS) -> None:
        self.name = f"rights-{next(_numbers)}"
        self.server = server
        server.client().create_bucket(Bucket=self.name)
        self.spec = s3_spec(server, identity=GRANTED, bucket=self.name, prefix="docker")

    def document(self, scope: Scope = Scope.EVERYTHING) -> dict[str, Any]:
        return iam_policy(self.spec, HOST, scope)

    def grant(self, document: Mapping[str, Any]) -> None:
        self.server.grant(self.name, document)

    def explained(self, **sections: Any) -> Explanation:
        return explain(policy(self.spec, **sections), HOST)

    def left(self) -> list[str]:
        """Every object and unfinished upload."""
        client = self.server.client()
        objects = client.list_objects_v2(Bucket=self.name).get("Contents", [])
        uploads = client.list_multipart_uploads(Bucket=self.name).get("Uploads", [])
        return [each["Key"] for each in objects] + [each["Key"] for each in uploads]


@pytest.fixture
def bucket(seaweed: SeaweedFS) -> Bucket:
    return Bucket(seaweed)


def policy(spec: StoreSpec, **sections: Any) -> Policy:
    return policy_of(store=spec, **sections)


def answers(explanation: Explanation) -> dict[str, set[str]]:
    """Right → what became of the requests that need it."""
    found: dict[str, set[str]] = {}
    for row in explanation.rows:
        found.setdefault(row.tried.action, set()).add(str(row.tried.answer))
    return found


def without(document: Mapping[str, Any], action: str) -> dict[str, Any]:
    """The document with one right less."""
    lessened = [
        {**one, "Action": [each for each in one["Action"] if each != action]}
        for one in document["Statement"]
    ]
    return {**document, "Statement": [one for one in lessened if one["Action"]]}


ACTIONS = sorted(
    action
    for one in iam_policy(StoreSpec(url="s3://any"), HOST, Scope.EVERYTHING)["Statement"]
    for action in one["Action"]
)
IMPLIED = {"s3:AbortMultipartUpload"}
"""What SeaweedFS grants with s3:PutObject; Amazon does not."""


def test_what_is_printed_is_enough(bucket: Bucket) -> None:
    bucket.grant(bucket.document())

    found = bucket.explained()

    assert ([], (), ()) == (found.missing, found.statements, found.left)
    assert {"ok"} == {answer for action in ACTIONS for answer in answers(found)[action]}
    assert [] == bucket.left()


@pytest.mark.parametrize("action", sorted({*ACTIONS} - IMPLIED))
def test_a_right_that_is_missing_is_named_with_the_statement_that_grants_it(
    bucket: Bucket, action: str
) -> None:
    lessened = without(bucket.document(), action)
    bucket.grant(lessened)

    found = bucket.explained()
    told = {each for one in found.statements for each in one["Action"]}
    grants = [*lessened["Statement"], *found.statements]
    bucket.grant({"Version": "2012-10-17", "Statement": grants})

    assert ([action], {action}, []) == (found.missing, told, bucket.explained().missing)


def test_keys_without_any_right_lack_all_of_them(bucket: Bucket) -> None:
    found = bucket.explained()

    assert "s3:ListBucket" in found.missing
    assert {"cannot tell"} == answers(found)["s3:GetObject"]
    assert "without s3:ListBucket both are answered alike" in "".join(
        row.tried.cause for row in found.rows
    )


def test_keys_that_may_only_read_are_found_out_and_write_nothing(bucket: Bucket) -> None:
    bucket.grant(bucket.document(Scope.READ_ONLY))

    found = bucket.explained()

    assert ({"ok"}, {"ok"}) == (answers(found)["s3:ListBucket"], answers(found)["s3:GetObject"])
    assert set(ACTIONS) - {"s3:ListBucket", "s3:GetObject"} == set(found.missing)
    assert [] == bucket.left()


def test_keys_that_may_not_delete_leave_one_object_however_often_they_are_tried(
    bucket: Bucket,
) -> None:
    bucket.grant(bucket.document(Scope.NO_DELETE))

    found = [bucket.explained() for _ in range(3)]

    assert ["docker/web01/probe/right"] == bucket.left() == list(found[0].left)


def test_a_policy_that_never_prunes_needs_no_right_to_delete(bucket: Bucket) -> None:
    bucket.grant(bucket.document(Scope.NO_DELETE))

    assert (["s3:ListBucketMultipartUploads", "s3:DeleteObject"], []) == (
        bucket.explained().missing,
        bucket.explained(prune="never").missing,
    )


def test_what_is_there_is_not_touched(bucket: Bucket) -> None:
    client = bucket.server.client()
    client.put_object(Bucket=bucket.name, Key="docker/web01/host.json", Body=b"{}")
    bucket.grant(bucket.document())

    bucket.explained()

    assert ["docker/web01/host.json"] == bucket.left()


def test_over_https_the_checksum_probe_is_tried_too(seaweed: SeaweedFS) -> None:
    spec = s3_spec(seaweed, scheme="https")

    acts = {row.tried.act for row in explain(policy(spec), HOST).rows}

    assert "find out checksums" in acts


@pytest.mark.parametrize("identity", [READ_ONLY, NO_DELETE], ids=lambda identity: identity.name)
def test_a_servers_own_kind_of_rights_is_tried_all_the_same(
    seaweed: SeaweedFS, identity: Any
) -> None:
    spec = s3_spec(seaweed, identity=identity)

    assert {str(Answer.REFUSED)} == answers(explain(policy(spec), HOST))["s3:DeleteObject"]


def test_a_key_that_may_not_be_used_is_told_from_an_object_that_may_not_be_written() -> None:
    with OddS3(Oddity.REFUSES_KMS) as server:
        spec = odd_spec(server, sse="aws:kms", sse_kms_key="alias/backups")
        found = explain(policy(spec), HOST)

    assert ["kms:GenerateDataKey"] == found.missing
    assert "UseEncryptionKey" == found.statements[0]["Sid"]


def test_an_upload_that_cannot_be_aborted_is_told_and_named() -> None:
    with OddS3(Oddity.REFUSES_ABORT) as server:
        found = explain(policy(odd_spec(server)), HOST)

    assert ["s3:AbortMultipartUpload"] == found.missing
    assert [True] == [one.endswith("/right (unfinished upload)") for one in found.left]


def test_the_right_to_lock_is_tried_without_locking_anything(seaweed: SeaweedFS) -> None:
    seaweed.client().create_bucket(Bucket="locking", ObjectLockEnabledForBucket=True)
    lock = ObjectLock(mode="governance", days=30)
    plain = s3_spec(seaweed, identity=GRANTED, bucket="locking", prefix="docker")
    spec = plain.model_copy(update={"object_lock": lock})
    document = iam_policy(spec, HOST, Scope.EVERYTHING)

    seaweed.grant("locking", document)
    enough = explain(policy(spec), HOST)
    seaweed.grant("locking", without(document, "s3:PutObjectRetention"))

    assert ([], ["s3:PutObjectRetention"]) == (
        enough.missing,
        explain(policy(spec), HOST).missing,
    )


def test_seaweedfs_own_words_for_the_same_rights_are_enough(seaweed: SeaweedFS) -> None:
    seaweed.client().create_bucket(Bucket="scoped")
    spec = s3_spec(seaweed, identity=SCOPED, bucket="scoped", prefix="docker")

    own, others = explain(policy(spec), HOST), explain(policy(spec), "web02")

    needed = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:DeleteObject"]
    assert ([], needed) == (own.missing, others.missing)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"secret_key": SecretStr("not-the-secret")}, "the secret key does not belong"),
        ({"access_key": SecretStr("nobody")}, "does not know the access key"),
        ({"url": "s3://nowhere"}, "has no bucket 'nowhere'; create it"),
        ({"endpoint": "http://127.0.0.1:9"}, "refuses connections"),
    ],
    ids=["secret", "access", "bucket", "down"],
)
def test_where_nothing_can_be_asked_one_sentence_says_why(
    seaweed: SeaweedFS, change: dict[str, Any], words: str
) -> None:
    spec = s3_spec(seaweed, identity=FULL).model_copy(update=change)

    with pytest.raises(StoreError, match=words):
        explain(policy(spec), HOST)


def test_a_directory_has_no_rights_to_explain() -> None:
    with pytest.raises(UsageError, match="the policy's store is a directory"):
        explain(policy(StoreSpec(url="file:///srv/store")), HOST)
