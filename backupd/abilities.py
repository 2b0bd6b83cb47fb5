"""What an S3 server can do, and what follows for the policy's store.

`backupd.stores.s3_abilities` finds it out by trying; here stands which of it backupd depends on,
and which lines under `store:` suit the server. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from backupd.policy import StoreSpec

SKEW_LIMIT = timedelta(minutes=15)
"""By how much a request's time may be wrong (Amazon S3 API reference, "RequestTimeTooSkewed")."""
SKEW_WARNING = timedelta(minutes=1)


class Can(StrEnum):
    """Whether the server can do something."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "cannot tell"


class Ability(StrEnum):
    """One thing that S3 servers differ in."""

    PATH = "bucket in the path"
    VIRTUAL = "bucket in the host name"
    KEYS = "keys as backupd makes them"
    EMPTY = "empty objects"
    ORDER = "listings in order"
    PAGES = "listings in pages"
    RANGES = "reading from the middle"
    PARTS = "uploads in parts"
    ABORT = "aborting an upload"
    CHECKSUMS = "uploads with a checksum"
    CHECKED = "a wrong checksum is refused"
    MD5 = "a wrong Content-MD5 is refused"
    MANY = "deleting many at once"
    ABSENT = "writing only what is absent"
    ABSENT_PARTS = "the same, in parts"
    CLASS = "the policy's storage_class"
    ENCRYPTION = "the policy's sse"
    VERSIONS = "versions are kept"
    LOCK = "object lock"
    CLOCK = "the same time as here"


NEEDED = frozenset(
    {Ability.KEYS, Ability.EMPTY, Ability.ORDER, Ability.PAGES, Ability.PARTS}
    | {Ability.CLASS, Ability.ENCRYPTION}
)
"""Without these backups fail, or are not found again."""


@dataclass(frozen=True, slots=True)
class Found:
    """What became of trying one ability."""

    ability: Ability
    can: Can
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """One line under `store:`, and why; a value of None means that the line is to go."""

    ability: Ability
    """What the server lacks, or has, that makes it needed."""
    key: str
    value: str | None
    reason: str

    def __str__(self) -> str:
        line = f"# no {self.key}" if self.value is None else f"{self.key}: {self.value}"
        return f"{line}  # {self.reason}"


def advice(spec: StoreSpec, found: Iterable[Found]) -> list[Setting]:
    """The lines to set, for what the policy says now not to fail or waste requests."""
    can = {one.ability: one.can for one in found}
    settings = [_addressing(spec, can), _checksums(spec, can)]
    if can.get(Ability.CLASS) is Can.NO:
        reason = f"the server refuses objects of the class {spec.storage_class}"
        settings.append(Setting(Ability.CLASS, "storage_class", None, reason))
    if can.get(Ability.ENCRYPTION) is Can.NO:
        reason = f"the server refuses to encrypt by {spec.sse}"
        settings.append(Setting(Ability.ENCRYPTION, "sse", None, reason))
        if spec.sse_kms_key:
            why = "it belongs to sse"
            settings.append(Setting(Ability.ENCRYPTION, "sse_kms_key", None, why))
    return [setting for setting in settings if setting is not None]


def failures(found: Iterable[Found]) -> list[Found]:
    """What the server cannot do although backups depend on it."""
    return [one for one in found if one.ability in NEEDED and one.can is Can.NO]


def _addressing(spec: StoreSpec, can: dict[Ability, Can]) -> Setting | None:
    path, virtual = can.get(Ability.PATH), can.get(Ability.VIRTUAL)
    if path is Can.NO and virtual is Can.YES and spec.addressing != "virtual":
        return Setting(
            Ability.PATH,
            "addressing",
            "virtual",
            "the server takes the bucket in the host name only",
        )
    if virtual is Can.NO and path is Can.YES and spec.addressing == "virtual":
        return Setting(
            Ability.VIRTUAL, "addressing", "path", "the server takes the bucket in the path only"
        )
    return None


def _checksums(spec: StoreSpec, can: dict[Ability, Can]) -> Setting | None:
    if can.get(Ability.CHECKSUMS) is not Can.NO or spec.checksums == "when_required":
        return None
    reason = "the server refuses uploads that carry a checksum, or damages them"
    if spec.checksums == "auto":
        reason += "; 'auto' finds that out too, with one more object each time backupd starts"
    return Setting(Ability.CHECKSUMS, "checksums", "when_required", reason)
