"""What a real server tells of a bucket: versions, lock and the lifecycle rules that matter."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from backupd.bucket_facts import LifecycleRule
from backupd.errors import StoreError
from backupd.stores.s3_bucket import Bucket, LockTrial
from tests.contract.conftest import s3_spec
from tests.contract.locking import locking_at
from tests.servers.seaweedfs import LOCKER, NO_DELETE, SeaweedFS

DAY = timedelta(days=1)
LIFECYCLE_BUCKET = "contract-lifecycle"
RULES: list[dict[str, Any]] = [
    {"ID": "old", "Filter": {"Prefix": ""}, "NoncurrentVersionExpiration": {"NoncurrentDays": 30}},
    {"ID": "archives", "Filter": {"Prefix": "docker/web01/archives/"}, "Expiration": {"Days": 90}},
    {"ID": "tagged", "Filter": {"Tag": {"Key": "a", "Value": "b"}}, "Expiration": {"Days": 1}},
    {"ID": "off", "Status": "Disabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}},
]


@pytest.fixture(scope="module")
def ruled(seaweed: SeaweedFS) -> SeaweedFS:
    """The server, with a bucket that has lifecycle rules and locks by itself."""
    client = seaweed.client()
    seaweed.make_bucket(LIFECYCLE_BUCKET, locks=True)
    rules: Any = {"Rules": [{"Status": "Enabled", **rule} for rule in RULES]}
    client.put_bucket_lifecycle_configuration(Bucket=LIFECYCLE_BUCKET, LifecycleConfiguration=rules)
    lock: Any = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 2}}
    client.put_object_lock_configuration(
        Bucket=LIFECYCLE_BUCKET,
        ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": lock},
    )
    return seaweed


def test_a_bucket_tells_its_versions_its_lock_and_the_rules_that_concern_us(
    ruled: SeaweedFS,
) -> None:
    facts = Bucket(s3_spec(ruled, bucket=LIFECYCLE_BUCKET)).facts()

    assert (True, True, "governance, 2 days", ()) == (
        facts.is_versioned,
        facts.locks,
        facts.default_lock,
        facts.unseen,
    )
    assert [
        LifecycleRule("old", "", removes_old_after=30 * DAY),
        LifecycleRule("archives", "docker/web01/archives/", removes_after=90 * DAY),
    ] == facts.rules


def test_a_plain_bucket_has_neither_versions_nor_lock_nor_rules(seaweed: SeaweedFS) -> None:
    facts = Bucket(s3_spec(seaweed)).facts()

    assert (False, False, None, []) == (
        facts.is_versioned,
        facts.locks,
        facts.default_lock,
        facts.rules,
    )


def test_what_keys_may_not_see_is_unknown_and_the_right_is_named(seaweed: SeaweedFS) -> None:
    facts = Bucket(s3_spec(seaweed, identity=NO_DELETE)).facts()

    assert (None, ("s3:GetBucketObjectLockConfiguration",)) == (facts.locks, facts.unseen)


def test_a_bucket_that_is_not_there_is_an_error(seaweed: SeaweedFS) -> None:
    with pytest.raises(StoreError, match="has no bucket 'nowhere'"):
        Bucket(s3_spec(seaweed, bucket="nowhere")).facts()


@pytest.mark.parametrize(
    ("mode", "limited", "trial"),
    [
        ("governance", False, LockTrial(holds=True, extendable=True, bypassed=True)),
        ("governance", True, LockTrial(holds=True, extendable=True, bypassed=False)),
        ("compliance", False, LockTrial(holds=True, extendable=True, bypassed=False)),
    ],
)
def test_a_lock_that_is_tried_tells_what_these_keys_may(
    locking: SeaweedFS, mode: str, limited: bool, trial: LockTrial
) -> None:
    bucket = locking_at(locking, mode)
    spec = (bucket.as_identity(LOCKER) if limited else bucket).spec
    assert spec.object_lock is not None
    now = bucket.store().now()

    tried = Bucket(spec).try_lock(spec.object_lock, f"{spec.prefix}/web01/probe/1", now)

    assert trial == tried
    assert limited is (bucket.store().size("web01/probe/1") is not None)
