"""How `backupd status` tells which sources were proven, and how long ago."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

if TYPE_CHECKING:
    from backupd.verbs.proofs import SourceProof
    from backupd.verbs.status import HostStatus

SHOWN = 20
"""Of more sources than this only those that wait for longest are shown; --json tells of all."""


def print_proofs(proofs: Sequence[SourceProof], now: datetime, zone: ZoneInfo | None) -> None:
    """Each source with its last proof, those that wait for longest first."""
    if not proofs:
        return
    if all(proof.proven_at is None for proof in proofs):
        click.echo()
        click.echo("no backup was proven yet: 'backupd verify --data' reads them whole")
        return
    _print(_HEADS, [_row(proof, now, zone or ZoneInfo("UTC")) for proof in proofs])


def print_fleet_proofs(found: Sequence[HostStatus], now: datetime, zone: ZoneInfo) -> None:
    """The same of many hosts, in one table."""
    rows = [
        (proof, [host.host, *_row(proof, now, zone)]) for host in found for proof in host.proofs
    ]
    if not rows:
        return
    # A stable sort: of those that were never proven, the stale hosts stay in front.
    rows.sort(key=lambda row: row[0].proven_at or datetime.min.replace(tzinfo=UTC))
    _print(["HOST", *_HEADS], [row for _, row in rows])


_HEADS = ["JOB", "KIND", "NAME", "LAST PROOF", ">AGE", "HOW"]


def _row(proof: SourceProof, now: datetime, zone: ZoneInfo) -> list[str]:
    from backupd.cli.status_report import age
    from backupd.text import moment

    return [
        proof.job,
        proof.kind,
        proof.name,
        moment(proof.proven_at, zone) if proof.proven_at else "never",
        age(now - proof.proven_at) if proof.proven_at else "-",
        proof.how or "-",
    ]


def _print(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from backupd.cli.table import print_table

    click.echo()
    print_table(heads, rows[:SHOWN])
    if len(rows) > SHOWN:
        click.echo(f"and {len(rows) - SHOWN} more sources, proven later than these")


def proof_rows(proofs: Sequence[SourceProof]) -> list[dict[str, Any]]:
    """The same for `--json`, of all sources."""
    from backupd.verbs.proofs import proof_to_json

    return [proof_to_json(proof) for proof in proofs]
