"""Which keys of a policy hold secrets, so that no message repeats what stands there."""

from __future__ import annotations

from backupd.policy import StoreSpec
from backupd.policy.store import Secret

SECRET_KEYS = frozenset(
    name
    for name, described in StoreSpec.model_fields.items()
    if described.annotation == Secret | None
)
"""Secret wherever they stand: people write them beside the place where they belong, too."""

_JOB = "*"
_PLACES = (("identity",), ("notify", "urls"), ("ping",), ("jobs", _JOB, "ping"))
"""A private key, and addresses of services, which carry tokens. Only here, since a job may be
called 'ping'."""

_MISTAKABLE = (("defaults", "encryption"), ("jobs", _JOB, "encryption"))
"""Where public keys stand, and where people put the private one by mistake."""


def is_secret(at: tuple[str | int, ...]) -> bool:
    """Whether the value that the path `at` leads to must never be shown."""
    return not SECRET_KEYS.isdisjoint(at) or any(_begins(at, place) for place in _PLACES)


def may_be_shown(at: tuple[str | int, ...]) -> bool:
    """Whether a problem with the value that `at` leads to may repeat it."""
    return not is_secret(at) and not any(_begins(at, place) for place in _MISTAKABLE)


def is_one_secret(at: tuple[str | int, ...]) -> bool:
    """Whether the path `at` leads to a secret that is a text, and never a list or mapping."""
    may_have_parts = any(_begins(at, place) and len(at) == len(place) for place in _PLACES)
    return is_secret(at) and not may_have_parts


def _begins(at: tuple[str | int, ...], place: tuple[str, ...]) -> bool:
    """Whether `at` is the `place` or something in it."""
    # The first step is looked at by itself: this is asked of every value of a large policy.
    return at[:1] == place[:1] and (
        len(at) >= len(place)
        and all(wanted in (step, _JOB) for wanted, step in zip(place, at, strict=False))
    )
