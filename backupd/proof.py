"""What is proven of a source's backups, and which of them are to be proven next.

A proof is a state of the backup: a zero-byte sibling of its manifest, written anew each time, so
that a listing tells when it was. `verified` and `drilled` mean that every byte came back; `checked`
only that the objects are there, `sealed` that the stored bytes of an encrypted one are right, whose
tar nobody could look at. Pure: no clock, network or files.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from backupd.layout import CHECKED, DAMAGED, DRILLED, SEALED, SUSPECT, VERIFIED, BackupKey

_NEVER = datetime.min.replace(tzinfo=UTC)


class Depth(Enum):
    """How much of a backup a check looks at; the value is the proof that it leaves."""

    OBJECTS = CHECKED
    DATA = VERIFIED


@dataclass(frozen=True, slots=True)
class Proof:
    """That all of a backup came back once."""

    backup: BackupKey
    how: str
    """`verified` or `drilled`."""
    at: datetime


def proof_of(backup: BackupKey) -> Proof | None:
    """The last proof that all of the backup's bytes are good; None for one known as damaged."""
    if DAMAGED in backup.states:
        return None
    found = backup.marked_at
    proofs = [Proof(backup, how, found[how]) for how in (VERIFIED, DRILLED) if how in found]
    return max(proofs, key=lambda proof: proof.at, default=None)


def last_proof(backups: Iterable[BackupKey]) -> Proof | None:
    """The proof that was made last, of whichever backup."""
    proofs = [proof for proof in map(proof_of, backups) if proof is not None]
    return max(proofs, key=lambda proof: proof.at, default=None)


def shelter(backups: Iterable[BackupKey]) -> dict[str, str]:
    """The key of each source's newest proven backup → why no rule may remove it, in words.

    It is what the source can be restored from for sure; newer ones only seem to be good.
    """
    newest: dict[str, Proof] = {}
    for proof in filter(None, map(proof_of, backups)):
        known = newest.get(proof.backup.folder)
        if known is None or proof.backup.taken_at > known.backup.taken_at:
            newest[proof.backup.folder] = proof
    return {
        proof.backup.key: f"newest proven ({proof.how} {proof.at:%Y-%m-%d})"
        for proof in newest.values()
    }


def suspects(backups: Iterable[BackupKey]) -> list[str]:
    """The ids of newest backups, one of each source, that are oddly small."""
    newest: dict[str, BackupKey] = {}
    for backup in backups:
        known = newest.get(backup.folder)
        if known is None or backup.taken_at > known.taken_at:
            newest[backup.folder] = backup
    return [backup.id for backup in newest.values() if SUSPECT in backup.states]


def longest_unproven(backups: Sequence[BackupKey], percent: int, depth: Depth) -> list[BackupKey]:
    """The backups of that share of the archives which nobody has looked at for longest.

    Rounded up, so that even 1 % of few archives gets through all of them in the end. Archives that
    were never looked at come first, the newest of them at the front: it is what would be restored.
    Damaged ones, which a cheap look marks no second time, come on top of a cheap share, so that
    they take no other's place for ever. The backups come back in their order.
    """
    by_archive: dict[str, list[BackupKey]] = defaultdict(list)
    for backup in backups:
        by_archive[backup.archive_id].append(backup)

    def turn(archive_id: str) -> tuple[datetime, float, str]:
        members = by_archive[archive_id]
        newest = max(backup.taken_at for backup in members)
        return max(_seen(backup, depth) for backup in members), -newest.timestamp(), archive_id

    count = -(-len(by_archive) * percent // 100)
    known = {backup.archive_id for backup in backups if DAMAGED in backup.states}
    on_top = known if depth is Depth.OBJECTS else set()
    chosen = on_top | set(sorted(by_archive.keys() - on_top, key=turn)[:count])
    return [backup for backup in backups if backup.archive_id in chosen]


def _seen(backup: BackupKey, depth: Depth) -> datetime:
    """When the backup was last looked at in that depth, whatever came of it."""
    states = [VERIFIED, DRILLED, SEALED, DAMAGED, *([CHECKED] if depth is Depth.OBJECTS else [])]
    return max((backup.marked_at.get(state, _NEVER) for state in states), default=_NEVER)
