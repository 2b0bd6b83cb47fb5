"""A bucket that locks, expires or lets nothing be deleted, through the command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import docker
import pytest

from tests.integration.aftermath import names_listed, refuse_secrets, the_sentence
from tests.integration.command import Command
from tests.integration.conftest import WritePolicy, leaving_no_trace, store_section
from tests.integration.objects import Objects
from tests.integration.trees import lose, make_image, succeeded
from tests.servers.dockerd import Engine
from tests.servers.seaweedfs import LOCKER, NO_DELETE, Identity, SeaweedFS

IMAGE = "backupd-test-locked:1"
LOCK = {"mode": "governance", "days": 30}
JOB = {"images": [IMAGE], "schedule": "0 3 * * *"}
ARCHIVES, BACKUPS = "docker/testhost/archives/", "docker/testhost/backups/"


@pytest.fixture(scope="module", autouse=True)
def image(engine: Engine) -> Iterator[str]:
    with leaving_no_trace(engine) as client:
        make_image(client, IMAGE)
        yield IMAGE


@pytest.fixture
def locking(s3: SeaweedFS) -> dict[str, Any]:
    """A new bucket that locks and ends old versions, as a `store` that asks for it."""
    section = store_section(s3, locks=True)
    old = {"NoncurrentVersionExpiration": {"NoncurrentDays": 30}, "Filter": {"Prefix": ""}}
    set_rules(s3, section, [{"ID": "old", **old}])
    return {**section, "object_lock": LOCK}


def set_rules(s3: SeaweedFS, store: dict[str, Any], rules: Sequence[Any]) -> None:
    """Give the bucket these lifecycle rules."""
    configuration: Any = {"Rules": [{"Status": "Enabled", **rule} for rule in rules]}
    s3.client().put_bucket_lifecycle_configuration(
        Bucket=urlsplit(store["url"]).netloc, LifecycleConfiguration=configuration
    )


def expiring(prefix: str, days: int) -> dict[str, Any]:
    return {"ID": f"end of {prefix}", "Filter": {"Prefix": prefix}, "Expiration": {"Days": days}}


def keys_of(identity: Identity) -> dict[str, str]:
    return {"access_key": identity.access_key, "secret_key": identity.secret_key}


def retentions(s3: SeaweedFS, store: dict[str, Any]) -> dict[str, bool]:
    """The last part of each key below archives/ and backups/ → whether the object is locked."""
    bucket, found = urlsplit(store["url"]).netloc, {}
    for key in Objects(s3, store).sizes():
        head: Any = s3.client().head_object(Bucket=bucket, Key=key)
        found[key] = "ObjectLockMode" in head
    return found


def warnings(backupd: Command, *, code: int = 0) -> list[str]:
    result = backupd("check", "--json")
    assert code == result.code, result.stderr
    refuse_secrets(result)
    return list(result.json["warnings"])


def test_a_backup_is_locked_waits_for_its_end_and_comes_back(
    s3: SeaweedFS,
    locking: dict[str, Any],
    api: docker.APIClient,
    policy: WritePolicy,
    backupd: Command,
) -> None:
    store = {**locking, **keys_of(LOCKER)}
    policy({"nightly": {**JOB, "retention": {"keep_last": 1}}}, store=store, prune="never")
    for _ in range(2):
        succeeded(backupd("backup"))

    locked = retentions(s3, locking)
    assert {True} == {held for key, held in locked.items() if key.startswith((ARCHIVES, BACKUPS))}
    assert locked["docker/testhost/host.json"] is False
    before = Objects(s3, locking).sizes()
    rows = succeeded(backupd("prune", "--json")).json["groups"][0]["backups"]
    assert [True, True] == [row["keep"] for row in rows]
    assert [["keep_last", "minimum"], ["locked"]] == [row["rules"] for row in rows]
    explained = succeeded(backupd("prune", "--dry-run", "--explain")).stdout
    assert rows[1]["reasons"][0].startswith("locked until 20")
    assert rows[1]["reasons"][0] in explained
    refusal = backupd("forget", "--yes", rows[1]["id"])
    assert 2 == refusal.code
    assert "it is locked until" in the_sentence(refusal)
    assert before == Objects(s3, locking).sizes()
    lose(api, IMAGE)
    succeeded(backupd("restore", "image", IMAGE))
    assert [IMAGE, IMAGE] == names_listed(backupd)


def test_check_is_content_with_a_bucket_and_keys_that_are_as_they_should_be(
    locking: dict[str, Any], policy: WritePolicy, backupd: Command
) -> None:
    policy({"nightly": JOB}, store={**locking, **keys_of(LOCKER)}, prune="never")

    assert [] == warnings(backupd)
    assert "can be written, read, listed, and not deleted from" in backupd("check").stdout


def test_check_tells_that_keys_may_pass_over_a_lock(
    locking: dict[str, Any], policy: WritePolicy, backupd: Command
) -> None:
    policy({"nightly": JOB}, store=locking)

    (sentence,) = warnings(backupd)
    assert "s3:BypassGovernanceRetention" in sentence


def test_check_tells_that_rules_would_remove_what_the_lock_holds(
    locking: dict[str, Any], policy: WritePolicy, backupd: Command
) -> None:
    job = {**JOB, "retention": {"keep_daily": 7}}
    policy({"nightly": job}, store={**locking, "object_lock": {**LOCK, "mode": "compliance"}})

    (sentence,) = warnings(backupd)
    assert "would let 23 of 30 backups of each source go" in sentence


def test_a_lock_that_the_bucket_has_not_stops_check_and_backup_with_a_sentence(
    s3: SeaweedFS, bucket: dict[str, Any], policy: WritePolicy, backupd: Command
) -> None:
    policy({"nightly": JOB}, store={**bucket, "object_lock": LOCK})

    checked, made = backupd("check"), backupd("backup")

    assert (4, 1) == (checked.code, made.code)
    for result in (checked, made):
        assert "does the bucket have object lock?" in result.stderr
        assert "Traceback" not in result.stderr
    assert {"docker/testhost/host.json"} == set(Objects(s3, bucket).sizes())


def test_check_tells_of_a_lock_that_the_policy_does_not_ask_for(
    locking: dict[str, Any], policy: WritePolicy, backupd: Command
) -> None:
    policy({"nightly": JOB}, store={key: locking[key] for key in locking if key != "object_lock"})

    (sentence,) = warnings(backupd)
    assert "could lock backups" in sentence


def test_check_compares_the_buckets_rules_with_the_policy(
    s3: SeaweedFS, bucket: dict[str, Any], policy: WritePolicy, backupd: Command
) -> None:
    set_rules(s3, bucket, [expiring(ARCHIVES, 100), expiring(BACKUPS, 90)])
    policy({"nightly": JOB}, store=bucket, prune="never")
    (sentence,) = warnings(backupd)
    assert "write expires_after: {backups: 90d, archives: 100d} in the store" in sentence

    expiry = {"backups": "90d", "archives": "100d"}
    policy({"nightly": JOB}, store={**bucket, "expires_after": expiry}, prune="never")
    assert [] == warnings(backupd)


@pytest.mark.parametrize(("archives", "is_reused"), [("93d", False), ("100d", True)])
def test_an_archive_that_would_expire_first_is_not_reused(
    s3: SeaweedFS,
    bucket: dict[str, Any],
    policy: WritePolicy,
    backupd: Command,
    archives: str,
    is_reused: bool,
) -> None:
    expiry = {"backups": "90d", "archives": archives}
    policy({"nightly": JOB}, store={**bucket, "expires_after": expiry}, prune="never")
    for _ in range(2):
        succeeded(backupd("backup"))

    assert (1 if is_reused else 2) == len(Objects(s3, bucket).archives())


def test_a_backup_whose_archive_a_rule_removed_is_shown_as_missing(
    s3: SeaweedFS, bucket: dict[str, Any], policy: WritePolicy, backupd: Command
) -> None:
    policy({"nightly": JOB}, store=bucket, prune="never")
    succeeded(backupd("backup"))
    Objects(s3, bucket).remove_archives()

    assert "ARCHIVE MISSING" in succeeded(backupd("list")).stdout


def test_keys_that_cannot_delete_back_up_wholly_without_a_word_of_it(
    s3: SeaweedFS,
    bucket: dict[str, Any],
    api: docker.APIClient,
    policy: WritePolicy,
    backupd: Command,
) -> None:
    store = {**bucket, **keys_of(NO_DELETE)}
    policy({"nightly": JOB}, store=store, prune="never")
    assert [] == warnings(backupd)
    for _ in range(2):
        result = succeeded(backupd("backup"))
        assert "warning" not in result.stderr
    succeeded(backupd("verify", "--data"))
    lose(api, IMAGE)
    succeeded(backupd("restore", "image", IMAGE))
    assert 2 == len(names_listed(backupd))


def test_check_says_what_to_set_where_keys_cannot_delete(
    bucket: dict[str, Any], policy: WritePolicy, backupd: Command
) -> None:
    policy({"nightly": JOB}, store={**bucket, **keys_of(NO_DELETE)})
    result = backupd("check")

    assert 4 == result.code
    assert "if these keys are not to delete, set `prune: never`" in the_sentence(result)


def test_a_lock_of_no_days_is_a_mistake_with_its_line(
    bucket: dict[str, Any], policy: WritePolicy, backupd: Command
) -> None:
    policy({"nightly": JOB}, store={**bucket, "object_lock": {**LOCK, "days": 0}})
    result = backupd("check")

    assert 2 == result.code
    assert "store.object_lock.days" in result.stderr
