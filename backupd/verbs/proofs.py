"""When each source was last proven, kept in the state directory so that `status` needs no store.

The truth is in the store, beside the manifests. Whoever has listed a host's backups anyway tells it
to this file, which can be lost: the next run or verify writes it anew.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from backupd.errors import UsageError
from backupd.layout import BackupKey
from backupd.proof import last_proof
from backupd.state import StateDir

_FILE = "proofs.json"
_LAST_YEAR = 9000
"""Later ones cannot be told in every time zone."""


@dataclass(frozen=True, slots=True)
class SourceProof:
    """The last proof of one source in one job."""

    job: str
    kind: str
    name: str
    proven_at: datetime | None = None
    """None for a source of which no backup was ever proven."""
    how: str | None = None
    """`verified` or `drilled`."""
    backup_id: str | None = None


def remember(state: StateDir, backups: Iterable[BackupKey]) -> None:
    """Keep what a listing of all backups of this host tells; that it cannot be kept is no harm."""
    with suppress(UsageError, OSError), state.lock_proofs():
        rows = [proof_to_json(proof) for proof in proofs_of(backups)]
        state.write(_FILE, json.dumps(rows, indent=1).encode())


def proofs_of(backups: Iterable[BackupKey]) -> list[SourceProof]:
    """The last proof of each source among the backups, those waiting for longest first."""
    sources: dict[tuple[str, str, str], list[BackupKey]] = defaultdict(list)
    for backup in backups:
        sources[backup.job, str(backup.kind), backup.name].append(backup)
    return waiting_first(
        SourceProof(*source, proof.at, proof.how, proof.backup.id)
        if (proof := last_proof(members))
        else SourceProof(*source)
        for source, members in sources.items()
    )


def known_proofs(state: StateDir) -> list[SourceProof]:
    """What was kept last, those waiting for longest first; nothing where the file is not ours."""
    try:
        rows = json.loads((state.path / _FILE).read_bytes())
        return waiting_first(map(proof_from_json, rows))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def waiting_first(proofs: Iterable[SourceProof]) -> list[SourceProof]:
    """The proofs in the order in which they are told: the source that waits for longest first."""

    def turn(proof: SourceProof) -> tuple[float, str, str, str]:
        since = proof.proven_at.timestamp() if proof.proven_at else float("-inf")
        return since, proof.job, proof.kind, proof.name

    return sorted(proofs, key=turn)


def proof_to_json(proof: SourceProof) -> dict[str, Any]:
    """A proof as files and `--json` have it; its time as ISO 8601, null for never."""
    return {**asdict(proof), "proven_at": proof.proven_at and proof.proven_at.isoformat()}


def proof_from_json(row: Mapping[str, Any]) -> SourceProof:
    """The proof that `proof_to_json` told; raises ValueError, KeyError or TypeError for none."""
    moment = row["proven_at"] and datetime.fromisoformat(row["proven_at"])
    if moment is not None and (moment.tzinfo is None or not 1970 <= moment.year <= _LAST_YEAR):
        raise ValueError("a moment needs its time zone, and a year that a clock may show")
    names, more = (row["job"], row["kind"], row["name"]), (row["how"], row["backup_id"])
    if not all(isinstance(one, str) for one in names):
        raise TypeError("a name is a text")
    if not all(isinstance(one, str | None) for one in more):
        raise TypeError("what is told of a proof is a text")
    return SourceProof(*names, moment or None, *more)
