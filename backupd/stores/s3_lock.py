"""Object lock in a bucket: what an upload carries, and the retention of an object that is there.

What is locked and until when, `backupd.object_lock` decides; here it becomes requests. A lock is
never shortened, and never set on what is not to be locked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError

from backupd.errors import StoreError
from backupd.object_lock import retained_until
from backupd.policy import ObjectLock
from backupd.stores import Refusal
from backupd.stores.s3_errors import (
    CONCERNS_ALL,
    Place,
    cause_of,
    code_of,
    status_of,
    translated,
)

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_NO_LOCK = (
    "does the bucket have object lock? make one that has, or remove 'object_lock' from the policy"
)
_NO_RIGHT = "with a lock that takes s3:PutObjectRetention too"
_STEPS = {
    "InvalidRequest": _NO_LOCK,
    "ObjectLockConfigurationNotFoundError": _NO_LOCK,
    "AccessDenied": _NO_RIGHT,
}
"""What servers answer to a write with a retention → the next step."""

Clock = Callable[[], datetime]


def mode_of(lock: ObjectLock) -> Literal["GOVERNANCE", "COMPLIANCE"]:
    """The mode as S3 writes it."""
    return "GOVERNANCE" if lock.mode == "governance" else "COMPLIANCE"


class Locks:
    """The policy's lock for one bucket; with None it asks for nothing."""

    def __init__(self, lock: ObjectLock | None, place: Place, clock: Clock) -> None:
        self._lock = lock
        self._place = place
        self._clock = clock

    @property
    def span(self) -> timedelta:
        """How long a backup is locked; zero for not at all."""
        return self._lock.span if self._lock else timedelta()

    def headers(self, key: str) -> dict[str, Any]:
        """The arguments of an upload to `key`; empty for what is not locked."""
        until = retained_until(key, self.span, self._clock())
        if self._lock is None or until is None:
            return {}
        return {"ObjectLockMode": mode_of(self._lock), "ObjectLockRetainUntilDate": until}

    @contextmanager
    def explained(self, headers: dict[str, Any], full_key: str) -> Iterator[None]:
        """Say so where it may be the lock that a write failed for: servers say little more than no.

        Raises StoreError with a next step for that.
        """
        try:
            yield
        except ClientError as error:
            step = _STEPS.get(code_of(error))
            if "ObjectLockMode" not in headers or step is None:
                raise
            cause = cause_of(_answer(error), error.operation_name, self._place)
            raise StoreError(
                f"cannot write s3://{self._place.bucket}/{full_key} with a lock ({cause}): {step}"
            ) from error

    def extend(self, client: S3Client, key: str, full_key: str) -> Refusal | None:
        """Lock an object for at least as long as one that is written to `key` now.

        None when it is; else why not. Raises StoreError for what concerns more than this object.
        """
        until = retained_until(key, self.span, self._clock())
        if self._lock is None or until is None:
            return None
        with translated("lock", self._place, full_key):
            try:
                client.put_object_retention(
                    Bucket=self._place.bucket,
                    Key=full_key,
                    Retention={"Mode": mode_of(self._lock), "RetainUntilDate": until},
                )
            except ClientError as error:
                if code_of(error) in CONCERNS_ALL or _may_pass(error):
                    raise
                # Refused as well where it is locked for longer, since the policy asked for more.
                if self._holds(client, self._lock, full_key, until):
                    return None
                cause = cause_of(_answer(error), error.operation_name, self._place)
                return Refusal(key, cause)
        return None

    def _holds(self, client: S3Client, lock: ObjectLock, full_key: str, until: datetime) -> bool:
        """Whether it is locked that long already, in this mode or in the stronger one."""
        try:
            answer: Any = client.get_object_retention(Bucket=self._place.bucket, Key=full_key)
            held = answer["Retention"]
            ends_at = held["RetainUntilDate"].astimezone(UTC)
            return held["Mode"] in {mode_of(lock), "COMPLIANCE"} and ends_at >= until
        except (ClientError, KeyError):
            return False


def _may_pass(error: ClientError) -> bool:
    return status_of(error) >= 500 and status_of(error) != 501


def _answer(error: ClientError) -> dict[str, Any]:
    return {**error.response.get("Error", {}), "Code": code_of(error)}
