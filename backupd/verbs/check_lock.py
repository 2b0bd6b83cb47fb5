"""Check what the bucket does by itself: its lock, its versions, its lifecycle rules.

A part of `backupd check`. Writes one small object more where the policy asks for a lock, and locks
it for two minutes; everything else is only looked at.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import datetime
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

from backupd.bucket_facts import Folders, complaints
from backupd.errors import StoreError
from backupd.forecast import let_go
from backupd.layout import archives_folder, backups_folder, host_key, segment
from backupd.policy import Job, Policy
from backupd.site import Site

MOMENTS_LIMIT = 1000
"""As many backups of one source show whether rules and lock agree."""


def require_deletable(site: Site, policy: Policy, refused: str) -> None:
    """Raise StoreError where objects are to be deleted and `refused` says why they cannot be."""
    if refused and policy.prune.when != "never":
        raise StoreError(
            f"cannot remove objects from {site.store.url}: {refused}; if these keys are not to "
            "delete, set `prune: never` (see docs/security.md)"
        )


def bucket_warnings(site: Site, policy: Policy) -> list[str]:
    """What does not fit between policy and bucket; nothing for a directory.

    Raises StoreError when a lock is asked for and nothing can be written with one.
    """
    spec, store = policy.store, site.store
    if spec.scheme != "s3":
        return []
    # Imported on demand, as stores are: boto3 costs half a second.
    from backupd.stores.s3_bucket import Bucket

    bucket, found = Bucket(spec), list[str]()
    if spec.object_lock is not None:
        key = store.full_key(f"{segment(site.host)}/probe/{secrets.token_hex(8)}")
        trial = bucket.try_lock(spec.object_lock, key, store.now())
        if not trial.holds:
            found.append(
                "the server takes objects with a lock and then shows none: it protects nothing; "
                "check that the bucket has object lock"
            )
        if not trial.extendable:
            found.append(
                "these keys may not extend a lock (s3:PutObjectRetention): an image that has not "
                "changed is uploaded anew each time; grant it"
            )
        if trial.bypassed:
            found.append(
                "these keys may remove what is locked in governance mode "
                "(s3:BypassGovernanceRetention), and so may a thief of them; use keys without that "
                "right, or mode: compliance"
            )
    folders = Folders(
        backups=store.full_key(backups_folder(site.host)),
        archives=store.full_key(archives_folder(site.host)),
        host_file=store.full_key(host_key(site.host)),
    )
    found += complaints(bucket.facts(), folders, spec.object_lock, spec.expires_after)
    return [*found, *_rules_against_lock(policy, site.now())]


def _rules_against_lock(policy: Policy, now: datetime) -> Iterator[str]:
    """A sentence for each job whose rules would remove what the lock still holds."""
    lock = policy.store.object_lock
    if lock is None or policy.prune.when == "never":
        return
    for name, job in policy.jobs.items():
        made = _moments(policy, job, now - lock.span, now)
        retention = policy.retention_of(job)
        if retention is None or not made:
            continue
        held = let_go(retention.rules(), ZoneInfo(policy.zone_of(job)), made)
        if held:
            yield (
                f"job {name}: its retention rules would let {held} of {len(made)} backups of each "
                f"source go that object_lock holds for {lock.days} days: they stay, and are paid "
                "for, until it ends; lower 'days' or keep more if that is not meant"
            )


def _moments(policy: Policy, job: Job, begin: datetime, end: datetime) -> list[datetime]:
    """When the job was due in that time; none for one that runs by hand."""
    schedule = policy.schedule_of(job)
    if schedule is None:
        return []

    def due() -> Iterator[datetime]:
        moment = begin
        while True:
            moment = schedule.next_after(moment)
            yield moment

    return list(takewhile(lambda moment: moment <= end, islice(due(), MOMENTS_LIMIT)))
