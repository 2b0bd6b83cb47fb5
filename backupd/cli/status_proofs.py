"""How `backupd status` tells which sources were proven, and how long ago."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

if TYPE_CHECKING:
    from backupd.verbs.proofs import SourceProof

SHOWN = 20
"""Of more sources than this only those that wait for longest are shown; --json tells of all."""


def print_proofs(proofs: Sequence[SourceProof], now: datetime, zone: ZoneInfo | None) -> None:
    """Each source with its last proof, those that wait for longest first."""
    from backupd.cli.status_report import age
    from backupd.cli.table import print_table
    from backupd.text import moment

    if not proofs:
        return
    click.echo()
    if all(proof.proven_at is None for proof in proofs):
        click.echo("no backup was proven yet: 'backupd verify --data' reads them whole")
        return
    rows = [
        [
            proof.job,
            proof.kind,
            proof.name,
            moment(proof.proven_at, zone or ZoneInfo("UTC")) if proof.proven_at else "never",
            age(now - proof.proven_at) if proof.proven_at else "-",
            proof.how or "-",
        ]
        for proof in proofs[:SHOWN]
    ]
    print_table(["JOB", "KIND", "NAME", "LAST PROOF", ">AGE", "HOW"], rows)
    if len(proofs) > SHOWN:
        click.echo(f"and {len(proofs) - SHOWN} more sources, proven later than these")


def proof_rows(proofs: Sequence[SourceProof]) -> list[dict[str, Any]]:
    """The same for `--json`, of all sources."""
    return [
        {
            "job": proof.job,
            "kind": proof.kind,
            "name": proof.name,
            "proven_at": proof.proven_at and proof.proven_at.isoformat(),
            "how": proof.how,
            "backup_id": proof.backup_id,
        }
        for proof in proofs
    ]
