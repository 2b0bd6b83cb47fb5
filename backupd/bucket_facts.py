"""What a bucket does by itself, and where that does not fit what the policy says of it.

`backupd.stores.s3_bucket` reads the facts; here they are judged, for `backupd check`. Each
complaint is a sentence that says what would happen and what to do. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from backupd.policy import ExpiresAfter, ObjectLock
from backupd.policy.bucket_rules import EXPIRY_MARGIN
from backupd.policy.section import span_text


@dataclass(frozen=True, slots=True)
class LifecycleRule:
    """One rule that is in force and may concern what we write."""

    name: str
    prefix: str
    """Of the keys that it concerns, as they stand in the bucket; empty for all."""
    removes_after: timedelta | None = None
    """Age at which it removes objects; nothing for those of a fixed date."""
    removes_old_after: timedelta | None = None
    """How long after it was replaced or removed an old version goes."""
    freezes: bool = False
    """Whether it moves objects to a class that cannot be read at once."""

    def touches(self, folder: str) -> bool:
        """Whether it concerns anything below `folder`."""
        return self.covers(folder) or self.prefix.startswith(folder)

    def covers(self, folder: str) -> bool:
        """Whether it concerns all that is below `folder`."""
        return folder.startswith(self.prefix)


@dataclass(frozen=True, slots=True)
class BucketFacts:
    """What a bucket told of itself; None for what these keys may not see, or no server tells."""

    is_versioned: bool | None
    locks: bool | None
    """Whether it can lock objects."""
    default_lock: str | None
    """The lock that it sets on whatever is written, in words; None for none."""
    rules: Sequence[LifecycleRule] | None
    unseen: Sequence[str] = ()
    """The rights that would have shown the rest."""


@dataclass(frozen=True, slots=True)
class Folders:
    """Where one host's objects lie in the bucket, prefix included."""

    backups: str
    archives: str
    host_file: str


def complaints(
    facts: BucketFacts, folders: Folders, lock: ObjectLock | None, expiry: ExpiresAfter | None
) -> list[str]:
    """What does not fit, as sentences for whoever can change policy or bucket."""
    found = [*_of_lock(facts, lock, expiry)]
    if facts.rules is None:
        if lock or expiry:
            rights = ", ".join(facts.unseen)
            found.append(
                f"the bucket does not show these keys its lifecycle rules ({rights}); compare them "
                "by hand with the policy, as docs/security.md says"
            )
        return found
    found += _of_expiry(facts.rules, folders, expiry)
    found += _of_harm(facts.rules, folders)
    old = [rule for rule in facts.rules if rule.removes_old_after is not None]
    if facts.is_versioned and not any(rule.covers(folders.archives) for rule in old):
        found.append(
            "the bucket keeps versions and no lifecycle rule ends them: what is pruned or "
            "overwritten stays as an old version and is paid for; add a rule with "
            "NoncurrentVersionExpiration"
        )
    return found


def _of_lock(
    facts: BucketFacts, lock: ObjectLock | None, expiry: ExpiresAfter | None
) -> Iterator[str]:
    if lock is None:
        if facts.default_lock:
            yield (
                f"the bucket locks whatever is written ({facts.default_lock}) and the policy does "
                "not say so: prune would remove what stays and is paid for; write the same under "
                "store.object_lock"
            )
        elif facts.locks:
            yield (
                "the bucket could lock backups and the policy does not ask for it; write "
                "object_lock: {mode: governance, days: 30} in the store if thieves of its keys are "
                "not to remove them"
            )
        return
    if facts.is_versioned is False or facts.locks is False:
        what = "no object lock" if facts.locks is False else "no versions, so no lock"
        yield (
            f"object_lock is asked for and the bucket has {what}: nothing is protected; make a "
            "bucket that has (aws s3api create-bucket --object-lock-enabled-for-bucket)"
        )
    if expiry is not None and expiry.backups < lock.span:
        yield (
            f"the bucket's rules remove backups after {span_text(expiry.backups)} and object_lock "
            f"holds them for {lock.days}d: they are no longer listed and are paid for until then; "
            "let one of them be the shorter that you mean"
        )


def _of_expiry(
    rules: Sequence[LifecycleRule], folders: Folders, expiry: ExpiresAfter | None
) -> Iterator[str]:
    removing = [rule for rule in rules if rule.removes_after is not None]
    of_archives = _soonest(rule for rule in removing if rule.touches(folders.archives))
    of_backups = _soonest(rule for rule in removing if rule.covers(folders.backups))
    if of_archives is None or of_archives.removes_after is None:
        if expiry is not None:
            yield (
                "the policy's expires_after says that the bucket removes old archives, and no "
                f"lifecycle rule does so below {folders.archives}; add it, or remove expires_after"
            )
        return
    archives = span_text(of_archives.removes_after)
    rule = f"lifecycle rule {of_archives.name!r} of the bucket removes archives after {archives}"
    if expiry is None:
        yield f"{rule} and the policy does not know: {_advice(of_archives, of_backups)}"
    elif of_archives.removes_after < expiry.archives:
        yield (
            f"{rule}, and the policy's expires_after says {span_text(expiry.archives)}: backups "
            "would be listed whose archives are gone; correct one of them"
        )
    if expiry is None:
        return
    stay = None if of_backups is None else of_backups.removes_after
    if stay is None or stay > expiry.backups:
        how_long = "never" if stay is None else f"after {span_text(stay)}"
        yield (
            f"the bucket removes manifests below {folders.backups} {how_long}, and the policy's "
            f"expires_after says {span_text(expiry.backups)}: backups would be listed whose "
            "archives are gone; correct one of them"
        )


def _advice(of_archives: LifecycleRule, of_backups: LifecycleRule | None) -> str:
    danger = "a backup that reuses an older archive would be listed when that is gone; "
    archives = of_archives.removes_after or timedelta()
    backups = of_backups.removes_after if of_backups else None
    if backups is not None and archives >= backups + EXPIRY_MARGIN:
        return (
            f"{danger}write expires_after: {{backups: {span_text(backups)}, archives: "
            f"{span_text(archives)}}} in the store"
        )
    return (
        f"{danger}let archives last at least three days longer than what lies below backups/, in "
        "rules of their own, and write both as expires_after in the store"
    )


def _of_harm(rules: Sequence[LifecycleRule], folders: Folders) -> Iterator[str]:
    for rule in rules:
        if rule.freezes and (rule.touches(folders.archives) or rule.touches(folders.backups)):
            yield (
                f"lifecycle rule {rule.name!r} of the bucket moves backups to a class that cannot "
                "be read at once: they could not be restored; use GLACIER_IR or STANDARD_IA"
            )
        if rule.removes_after is not None and rule.covers(folders.host_file):
            yield (
                f"lifecycle rule {rule.name!r} of the bucket removes {folders.host_file} too, "
                "which keeps other machines of this name away; limit it to what lies below "
                f"{folders.backups} and {folders.archives}"
            )


def _soonest(rules: Iterator[LifecycleRule]) -> LifecycleRule | None:
    return min(rules, key=lambda rule: rule.removes_after or timedelta(), default=None)
