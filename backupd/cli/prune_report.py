"""How a prune looks: groups with their verdicts, what was removed, what the future would hold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from backupd.cli.session import Session, warn

if TYPE_CHECKING:
    from backupd.timeline import Candidate
    from backupd.verbs.prune import GroupPlan
    from backupd.verbs.remove import Removal


def as_json(
    plans: Sequence[GroupPlan], removal: Removal | None, *, yes: bool, would_free_bytes: int
) -> str:
    """The whole outcome as one JSON object."""
    return json.dumps(
        {
            "dry_run": removal is None,
            "would_free_bytes": would_free_bytes,
            "groups": [_group_row(plan, yes=yes) for plan in plans],
            **_removal_row(removal),
        },
        indent=2,
    )


def _group_row(plan: GroupPlan, *, yes: bool) -> dict[str, Any]:
    stays = plan.is_blocked(yes=yes)
    return {
        "job": plan.job,
        "kind": str(plan.kind),
        "name": plan.name,
        "refused": plan.objection.sentence if plan.objection else None,
        "left_alone": plan.left_alone,
        "backups": [
            {
                "id": verdict.backup.id,
                "taken_at": iso(verdict.backup.taken_at),
                "keep": stays or verdict.keep,
                "reasons": list(verdict.reasons),
                "rules": list(verdict.rules),
            }
            for verdict in plan.verdicts
        ],
    }


def _removal_row(removal: Removal | None) -> dict[str, Any]:
    if removal is None:
        return {}
    return {
        "removed": [backup.id for backup in removal.backups],
        "freed_bytes": removal.freed_bytes,
        "archives_removed": removal.archive_count,
        "uploads_dropped": removal.uploads,
        "refused": [{"key": r.key, "cause": r.cause} for r in removal.refused],
        "skipped": removal.skipped,
    }


def print_group(session: Session, plan: GroupPlan, *, yes: bool, explain: bool) -> None:
    """One group: how many stay and go, and each that goes (each of all, to explain)."""
    from backupd.cli.table import print_table
    from backupd.text import moment, shown

    stays = plan.is_blocked(yes=yes)
    going = len(plan.going(yes=yes))
    click.echo(f"{shown(plan.label)}: keep {len(plan.verdicts) - going}, remove {going}")
    if plan.left_alone:
        click.echo(f"  left alone: {shown(plan.left_alone)}")
    if plan.objection:
        click.echo(f"  {'overruled' if going else 'REFUSED'}: {shown(plan.objection.sentence)}")
    zone = session.zone
    rows = [
        [
            "  keep" if stays or verdict.keep else "  remove",
            verdict.backup.id,
            moment(verdict.backup.taken_at, zone),
            ", ".join(verdict.reasons),
        ]
        for verdict in plan.verdicts
        if explain or not (stays or verdict.keep)
    ]
    if rows:
        print_table(["", "", "", ""], rows, heads_shown=False)


def print_removal(removal: Removal) -> None:
    """What went, and what was to go and is still there."""
    from backupd.text import size

    click.echo(
        f"removed {len(removal.backups)} backups and {removal.archive_count} archives that no "
        f"backup names any more, freed {size(removal.freed_bytes)}"
    )
    if removal.uploads:
        click.echo(f"dropped {removal.uploads} unfinished uploads")
    tell(removal)


def tell(removal: Removal) -> None:
    """Warn of everything that was to go and is still there."""
    for sentence in removal.complaints:
        warn(sentence)


def forecast_json(until: datetime, left: Sequence[tuple[GroupPlan, Sequence[Candidate]]]) -> str:
    """What would be left on a later day, as one JSON object."""
    groups = [
        {
            "job": plan.job,
            "kind": str(plan.kind),
            "name": plan.name,
            "left": [iso(one.taken_at) for one in backups],
        }
        for plan, backups in left
    ]
    return json.dumps({"until": iso(until), "groups": groups}, indent=2)


def print_forecast(
    session: Session, until: datetime, left: Sequence[tuple[GroupPlan, Sequence[Candidate]]]
) -> None:
    """What would be left on a later day, for a person."""
    from backupd.cli.table import print_table
    from backupd.text import moment

    click.echo(f"left on {moment(until, session.zone)}, if the schedules go on as they are:")
    rows = [
        [plan.job, str(plan.kind), plan.name, moment(one.taken_at, session.zone)]
        for plan, backups in left
        for one in backups
    ]
    print_table(["JOB", "KIND", "NAME", "TAKEN"], rows)


def iso(moment: datetime) -> str:
    """A moment as all JSON of this program has it: UTC, milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
