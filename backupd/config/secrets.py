"""Which keys of a policy hold secrets, so that no message repeats what stands there."""

from __future__ import annotations

from backupd.policy import StoreSpec
from backupd.policy.store import Secret

SECRET_KEYS = frozenset(
    name
    for name, described in StoreSpec.model_fields.items()
    if described.annotation == Secret | None
)


def is_secret(at: tuple[str | int, ...]) -> bool:
    """Whether the value that the path `at` leads to must never be shown."""
    return any(is_secret_key(step) for step in at)


def is_secret_key(key: object) -> bool:
    """Whether the value under `key` must never be shown."""
    return key in SECRET_KEYS
