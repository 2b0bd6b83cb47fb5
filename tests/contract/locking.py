"""A bucket that locks: its store, and a look at it that does not go through the store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pydantic import SecretStr

from backupd.policy import StoreSpec
from backupd.stores.s3 import S3Store
from tests.contract.conftest import LOCKING_BUCKET, s3_spec
from tests.contract.shelves import NOW
from tests.servers.seaweedfs import Identity, SeaweedFS

DAYS = 30


@dataclass(frozen=True)
class Locking:
    """A store that locks, and a look at the bucket that does not go through it."""

    server: SeaweedFS
    spec: StoreSpec

    def store(self, *, days: int = DAYS, now: datetime = NOW, **changes: Any) -> S3Store:
        """The store of a policy with these days, at that moment."""
        lock = self.spec.object_lock and self.spec.object_lock.model_copy(update={"days": days})
        spec = self.spec.model_copy(update={"object_lock": lock, **changes})
        return S3Store(spec, clock=lambda: now)

    def as_identity(self, identity: Identity) -> Locking:
        """The same with other keys."""
        keys = {
            "access_key": SecretStr(identity.access_key),
            "secret_key": SecretStr(identity.secret_key),
        }
        return replace(self, spec=self.spec.model_copy(update=keys))

    def retention(self, key: str) -> tuple[str, datetime] | None:
        """Mode and end of the lock on the object; None where it has none."""
        found: Any = self.server.client().head_object(Bucket=self.spec.bucket, Key=self._full(key))
        if "ObjectLockMode" not in found:
            return None
        return found["ObjectLockMode"], found["ObjectLockRetainUntilDate"].astimezone(UTC)

    def versions(self, key: str) -> list[str]:
        """The ids of all the versions of an object."""
        found = self.server.client().list_object_versions(
            Bucket=self.spec.bucket, Prefix=self._full(key)
        )
        return [version["VersionId"] for version in found.get("Versions", [])]

    def remove_version(self, key: str, *, bypassing: bool = False) -> None:
        """Remove the one version that there is, as someone with all rights could."""
        (version,) = self.versions(key)
        past: Any = {"BypassGovernanceRetention": True} if bypassing else {}
        self.server.client().delete_object(
            Bucket=self.spec.bucket, Key=self._full(key), VersionId=version, **past
        )

    def _full(self, key: str) -> str:
        return f"{self.spec.prefix}/{key}"


def locking_at(server: SeaweedFS, mode: str = "governance", **where: Any) -> Locking:
    """A bucket of the server below a new prefix, with a lock of `DAYS` days in its policy."""
    spec = s3_spec(server, **{"bucket": LOCKING_BUCKET, **where})
    lock = {"mode": mode, "days": DAYS}
    return Locking(server, StoreSpec.model_validate({**dict(spec), "object_lock": lock}))
