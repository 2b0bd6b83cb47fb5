"""What an S3 server can do, found out by trying it on objects that are removed again.

Nothing that is there is overwritten: all keys are new, below the host's own prefix. It takes less
than a hundred requests and sends 5 MiB, the smallest upload in two parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from backupd.abilities import Ability, Found
from backupd.errors import StoreError
from backupd.policy import StoreSpec
from backupd.stores.s3_ability import bucket, objects, uploads
from backupd.stores.s3_ability.bench import Bench
from backupd.stores.s3_errors import status_of, translated

_Probe = Callable[[Bench], Found]

_PROBES: tuple[tuple[Ability, _Probe], ...] = (
    (Ability.CLOCK, bucket.clock),
    (Ability.VERSIONS, bucket.versions),
    (Ability.LOCK, bucket.lock),
    (Ability.KEYS, objects.keys),
    (Ability.EMPTY, objects.empty),
    (Ability.ORDER, objects.order),
    (Ability.PAGES, objects.pages),
    (Ability.RANGES, objects.ranges),
    (Ability.CHECKSUMS, objects.checksums),
    (Ability.CHECKED, objects.checked),
    (Ability.MD5, objects.md5),
    (Ability.PARTS, uploads.parts),
    (Ability.ABORT, uploads.abort),
    (Ability.MANY, objects.many),
    (Ability.ABSENT, objects.absent),
    (Ability.ABSENT_PARTS, uploads.absent),
)
"""In this order: what was found out about checksums decides how parts are sent."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What was found, and the full keys of what the server would not give up."""

    found: tuple[Found, ...]
    left: tuple[str, ...]


def probe_abilities(spec: StoreSpec, host: str) -> Probed:
    """What the server of the bucket can do. Raises StoreError where it cannot be tried."""
    reached, addressing = bucket.addressed(spec)
    bench = Bench.of(reached, host)
    _require_deleting(bench)
    with bench.scratch.removed_at_the_end():
        found = (*addressing, *(bench.tried(ability, probe) for ability, probe in _probes(spec)))
    return Probed(found, tuple(bench.scratch.left))


def _probes(spec: StoreSpec) -> Iterator[tuple[Ability, _Probe]]:
    yield from _PROBES
    if spec.storage_class:
        yield Ability.CLASS, objects.storage_class
    if spec.sse:
        yield Ability.ENCRYPTION, objects.encryption


def _require_deleting(bench: Bench) -> None:
    """Delete what is not there, before anything is written. Raises StoreError."""
    key = f"{bench.scratch.folder}nothing"
    with translated("try to delete", bench.place, key):
        refusal = bench.refusal(
            lambda: bench.client.delete_object(Bucket=bench.spec.bucket, Key=key)
        )
    if refusal is not None and status_of(refusal) == 403:
        raise StoreError(
            f"cannot probe {bench.spec.url}: these keys may not delete there, so what a probe "
            "writes would stay; use keys that may, once, or do without"
        )
