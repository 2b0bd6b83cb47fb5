"""What a bucket says of its versions, lock and lifecycle rules; and a lock tried out.

For `backupd check` alone: nothing else depends on rights to look at the bucket itself. Whatever the
keys may not see, or the server does not know, is unknown, which is no error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from backupd.bucket_facts import BucketFacts, LifecycleRule
from backupd.policy import ObjectLock, StoreSpec
from backupd.policy.store import UNREADABLE_CLASSES
from backupd.stores.s3_client import Connector, encryption_of, place_of
from backupd.stores.s3_errors import CONCERNS_ALL, GONE, code_of, status_of, translated
from backupd.stores.s3_lock import Locks, mode_of

_NONE_THERE = frozenset({"NoSuchLifecycleConfiguration", "ObjectLockConfigurationNotFoundError"})
_UNLOCKED = GONE | {"NoSuchObjectLockConfiguration", "NotImplemented"}
_TRIAL = timedelta(minutes=1)
ATTEMPTS = 2
"""Somebody waits at a terminal."""


@dataclass(frozen=True, slots=True)
class LockTrial:
    """How a lock of a minute or two on a small object went."""

    holds: bool
    """Whether the server shows the lock that it took."""
    extendable: bool
    """Whether these keys may make it longer."""
    bypassed: bool
    """Whether these keys removed the object in spite of it."""


class Bucket:
    """One bucket, asked about itself."""

    def __init__(self, spec: StoreSpec) -> None:
        """Raises StoreError when this machine's settings do not allow to use `spec`."""
        self._spec = spec
        self._client = Connector(spec).connect("when_required", attempts=ATTEMPTS)
        self._place = place_of(self._client, spec.bucket)
        self._unseen: list[str] = []

    def facts(self) -> BucketFacts:
        """What it tells. Raises StoreError when it cannot be reached at all."""
        client = self._client
        versions = self._asked(client.get_bucket_versioning, "s3:GetBucketVersioning")
        lock = self._asked(
            client.get_object_lock_configuration, "s3:GetBucketObjectLockConfiguration"
        )
        lifecycle = self._asked(
            client.get_bucket_lifecycle_configuration, "s3:GetLifecycleConfiguration"
        )
        locking = None if lock is None else lock.get("ObjectLockConfiguration", {})
        return BucketFacts(
            is_versioned=None if versions is None else versions.get("Status") == "Enabled",
            locks=None if locking is None else locking.get("ObjectLockEnabled") == "Enabled",
            default_lock=_default_lock(locking or {}),
            rules=None if lifecycle is None else list(_rules(lifecycle)),
            unseen=tuple(self._unseen),
        )

    def _asked(self, ask: Callable[..., Any], right: str) -> Mapping[str, Any] | None:
        """The answer, empty where there is no such thing; None where it is not to be had."""
        with translated("look at", self._place, ""):
            try:
                answer: Mapping[str, Any] = ask(Bucket=self._place.bucket)
            except ClientError as error:
                if code_of(error) in CONCERNS_ALL:
                    raise
                if code_of(error) in _NONE_THERE:
                    return {}
                self._unseen.append(right)
                return None
        return answer

    def try_lock(self, lock: ObjectLock, full_key: str, now: datetime) -> LockTrial:
        """Write a small object with a lock of a minute, extend it, and try to remove it.

        `now` is the server's time. Without a right to pass over locks, an old version of the object
        stays until the bucket's rules end it. Raises StoreError when it cannot be written.
        """
        client, mode = self._client, mode_of(lock)
        where: Any = {"Bucket": self._place.bucket, "Key": full_key}
        headers: Any = {"ObjectLockMode": mode, "ObjectLockRetainUntilDate": now + _TRIAL}
        headers |= encryption_of(self._spec)
        longer: Any = {"Mode": mode, "RetainUntilDate": now + 2 * _TRIAL}
        locks = Locks(lock, self._place, lambda: now)
        with translated("write", self._place, full_key), locks.explained(headers, full_key):
            written: Any = client.put_object(**where, Body=b"a lock is tried out", **headers)
        hidden = _refusal(lambda: client.get_object_retention(**where)) in _UNLOCKED
        extended = not _refusal(lambda: client.put_object_retention(**where, Retention=longer))
        bypassed = False
        if lock.mode == "governance" and "VersionId" in written:
            past: Any = {"VersionId": written["VersionId"], "BypassGovernanceRetention": True}
            bypassed = not _refusal(lambda: client.delete_object(**where, **past))
        if not bypassed:
            with suppress(ClientError):  # keys that may not delete leave it behind
                client.delete_object(**where)
        return LockTrial(not hidden, extended, bypassed)


def _refusal(request: Callable[[], object]) -> str:
    """With which code the server refuses; empty when it does not."""
    try:
        request()
    except ClientError as error:
        return code_of(error) if status_of(error) != 501 else "NotImplemented"
    return ""


def _default_lock(locking: Mapping[str, Any]) -> str | None:
    rule = locking.get("Rule", {}).get("DefaultRetention")
    if not rule:
        return None
    years, days = rule.get("Years"), rule.get("Days")
    return f"{str(rule.get('Mode')).lower()}, {f'{years} years' if years else f'{days} days'}"


def _rules(lifecycle: Mapping[str, Any]) -> Iterator[LifecycleRule]:
    """The rules that may concern us: in force, and for objects without tags as ours are."""
    for rule in lifecycle.get("Rules", ()):
        wanted = rule.get("Filter") or {}
        both = wanted.get("And") or {}
        if rule.get("Status") != "Enabled" or "Tag" in wanted or both.get("Tags"):
            continue
        moves = {move.get("StorageClass") for move in rule.get("Transitions", ())}
        yield LifecycleRule(
            name=str(rule.get("ID", "")),
            prefix=str(wanted.get("Prefix") or both.get("Prefix") or rule.get("Prefix") or ""),
            removes_after=_removal(rule.get("Expiration") or {}),
            removes_old_after=_days(
                (rule.get("NoncurrentVersionExpiration") or {}).get("NoncurrentDays")
            ),
            freezes=bool(moves & UNREADABLE_CLASSES),
        )


def _removal(expiration: Mapping[str, Any]) -> timedelta | None:
    return timedelta() if expiration.get("Date") else _days(expiration.get("Days"))


def _days(count: Any) -> timedelta | None:
    return timedelta(days=int(count)) if count else None
