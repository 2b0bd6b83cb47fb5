"""Where a bucket and the policy do not fit, from what the bucket tells of itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from backupd.bucket_facts import BucketFacts, Folders, LifecycleRule, complaints
from backupd.policy import ExpiresAfter, ObjectLock

DAY = timedelta(days=1)
FOLDERS = Folders("docker/web01/backups/", "docker/web01/archives/", "docker/web01/host.json")
PLAIN = BucketFacts(is_versioned=False, locks=False, default_lock=None, rules=())
ENDS_OLD = LifecycleRule("old", "", removes_old_after=30 * DAY)
LOCKING = BucketFacts(is_versioned=True, locks=True, default_lock=None, rules=(ENDS_OLD,))
LOCK = ObjectLock(mode="governance", days=30)
EXPIRY = ExpiresAfter(backups=90 * DAY, archives=120 * DAY)


def removing(folder: str, days: int, name: str = "rule") -> LifecycleRule:
    return LifecycleRule(name, folder, removes_after=days * DAY)


def said(
    facts: BucketFacts,
    *rules: LifecycleRule,
    lock: ObjectLock | None = None,
    expiry: ExpiresAfter | None = None,
) -> Sequence[str]:
    known = replace(facts, rules=(*(facts.rules or ()), *rules))
    return complaints(known, FOLDERS, lock, expiry)


def test_a_plain_bucket_fits_a_plain_policy() -> None:
    assert [] == said(PLAIN)


def test_a_bucket_that_locks_fits_a_policy_that_asks_for_it() -> None:
    assert [] == said(LOCKING, lock=LOCK)


@pytest.mark.parametrize("facts", [PLAIN, replace(PLAIN, is_versioned=None)])
def test_a_lock_that_the_bucket_has_not_is_told(facts: BucketFacts) -> None:
    (sentence,) = said(facts, lock=LOCK)

    assert "the bucket has no object lock: nothing is protected" in sentence


def test_a_bucket_without_versions_has_no_lock() -> None:
    (sentence,) = said(replace(PLAIN, locks=None), lock=LOCK)

    assert "no versions, so no lock" in sentence


def test_a_lock_that_the_policy_does_not_ask_for_is_told() -> None:
    (sentence,) = said(LOCKING)

    assert "could lock backups and the policy does not ask for it" in sentence


def test_a_bucket_that_locks_by_itself_is_told_to_a_policy_that_does_not_know() -> None:
    (sentence,) = said(replace(LOCKING, default_lock="governance, 2 days"))

    assert "locks whatever is written (governance, 2 days)" in sentence


def test_versions_that_nothing_ends_are_told() -> None:
    (sentence,) = said(replace(LOCKING, rules=()), lock=LOCK)

    assert "NoncurrentVersionExpiration" in sentence


def test_a_rule_for_versions_elsewhere_does_not_count() -> None:
    elsewhere = replace(ENDS_OLD, prefix="other/")

    assert 1 == len(said(replace(LOCKING, rules=(elsewhere,)), lock=LOCK))


@pytest.mark.parametrize("prefix", ["", "docker/", FOLDERS.archives, FOLDERS.archives + "image/"])
def test_a_rule_that_expires_archives_is_told_to_a_policy_that_does_not_know(prefix: str) -> None:
    sentences = said(PLAIN, removing(prefix, 90))

    assert "removes archives after 90d and the policy does not know" in sentences[0]


def test_rules_that_suit_are_put_into_words_for_the_policy() -> None:
    (sentence,) = said(PLAIN, removing(FOLDERS.archives, 100), removing(FOLDERS.backups, 90))

    assert sentence.endswith("write expires_after: {backups: 90d, archives: 100d} in the store")


@pytest.mark.parametrize("prefix", ["other/", "docker/web01/backups/", "docker/web010/archives/"])
def test_a_rule_for_other_keys_expires_no_archives(prefix: str) -> None:
    assert [] == said(PLAIN, removing(prefix, 90))


def test_rules_as_the_policy_says_fit() -> None:
    rules = removing(FOLDERS.archives, 120), removing(FOLDERS.backups, 90)

    assert [] == said(PLAIN, *rules, expiry=EXPIRY)


@pytest.mark.parametrize(
    ("archives", "backups", "words"),
    [
        (119, 90, "removes archives after 119d, and the policy's expires_after says 120d"),
        (120, 91, "removes manifests below docker/web01/backups/ after 91d"),
        (120, None, "removes manifests below docker/web01/backups/ never"),
        (None, 90, "no lifecycle rule does so below docker/web01/archives/"),
    ],
)
def test_rules_other_than_the_policy_says_are_told(
    archives: int | None, backups: int | None, words: str
) -> None:
    rules = [removing(FOLDERS.archives, archives)] if archives else []
    rules += [removing(FOLDERS.backups, backups)] if backups else []

    (sentence,) = said(PLAIN, *rules, expiry=EXPIRY)

    assert words in sentence


def test_a_rule_for_a_part_of_the_manifests_leaves_the_others() -> None:
    rules = removing(FOLDERS.archives, 120), removing(FOLDERS.backups + "nightly/", 90)

    (sentence,) = said(PLAIN, *rules, expiry=EXPIRY)

    assert "removes manifests below docker/web01/backups/ never" in sentence


def test_a_rule_that_removes_who_writes_here_is_told() -> None:
    assert any(
        "removes docker/web01/host.json too" in text for text in said(PLAIN, removing("", 90))
    )


@pytest.mark.parametrize("prefix", ["", FOLDERS.archives, FOLDERS.backups + "nightly/"])
def test_a_rule_that_freezes_backups_is_told(prefix: str) -> None:
    (sentence,) = said(PLAIN, LifecycleRule("cold", prefix, freezes=True))

    assert "a class that cannot be read at once" in sentence


def test_rules_that_remove_what_the_lock_holds_are_told() -> None:
    rules = removing(FOLDERS.archives, 120), removing(FOLDERS.backups, 90)
    lock = ObjectLock(mode="compliance", days=91)

    (sentence,) = said(LOCKING, *rules, lock=lock, expiry=EXPIRY)

    assert "remove backups after 90d and object_lock holds them for 91d" in sentence


@pytest.mark.parametrize(("lock", "count"), [(LOCK, 1), (None, 0)])
def test_rules_that_cannot_be_seen_are_told_where_it_matters(
    lock: ObjectLock | None, count: int
) -> None:
    unseen = ("s3:GetLifecycleConfiguration",)
    facts = BucketFacts(None, None, None, None, unseen=unseen)

    sentences = complaints(facts, FOLDERS, lock, None)

    assert count == len(sentences)
    assert all("s3:GetLifecycleConfiguration" in text for text in sentences)
