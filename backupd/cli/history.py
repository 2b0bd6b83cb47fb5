"""`backupd history`: the runs of the past and how they ended."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from backupd.cli.session import Session, config_option

if TYPE_CHECKING:
    from backupd.run_record import RunRecord


@click.command()
@click.argument("job", required=False)
@click.option(
    "-n", "count", type=click.IntRange(1, 100_000), default=20, help="How many runs; default 20."
)
@click.option("--json", "as_json", is_flag=True, help="An array of objects, the newest run first.")
@config_option
@click.pass_obj
def history(session: Session, *, job: str | None, count: int, as_json: bool) -> None:
    """Show the runs of all jobs, or of JOB, the newest first.

    A scheduled prune stands under the job @prune, a scheduled verify under @verify.

    \b
    Examples: backupd history
              backupd history nightly -n 3 --json
    """
    from backupd.cli.session import warn
    from backupd.errors import NotFound
    from backupd.history import History
    from backupd.run_record import CHORES

    runs = History.open(session.state, warn).recent(job, count)
    if not runs and job is not None and job not in (*session.policy.jobs, *CHORES):
        raise NotFound(f"cannot find job {job!r}: neither in the policy nor in the history")
    if as_json:
        click.echo(json.dumps([_row(run) for run in runs], indent=2))
    elif runs:
        _print(session, runs)
    else:
        click.echo("no run is known yet", err=True)


def _row(run: RunRecord) -> dict[str, Any]:
    from dataclasses import asdict

    row = asdict(run)
    row["started_at"] = _text(run.started_at)
    row["ended_at"] = _text(run.ended_at) if run.ended_at else None
    return row


def _text(moment: Any) -> str:
    return str(moment.isoformat()).replace("+00:00", "Z")


def _print(session: Session, runs: list[RunRecord]) -> None:
    from backupd.cli.table import print_table
    from backupd.text import moment, size, span

    rows = []
    for run in runs:
        stored = sum(source.stored_bytes or 0 for source in run.sources if source.state == "saved")
        rows.append(
            [
                moment(run.started_at, session.zone),
                run.job,
                run.state.upper() if run.state in ("failed", "interrupted") else run.state,
                span(run.ended_at - run.started_at) if run.ended_at else "-",
                str(sum(source.state in ("saved", "unchanged") for source in run.sources)),
                str(sum(source.state in ("failed", "missing") for source in run.sources)),
                size(stored),
                _note(run),
            ]
        )
    heads = ["BEGAN", "JOB", "STATE", ">TOOK", ">GOOD", ">FAILED", ">STORED", "NOTE"]
    print_table(heads, rows)


def _note(run: RunRecord) -> str:
    """The run's own note, else its first error."""
    errors = (f"{one.kind} {one.name}: {one.error}" for one in run.sources if one.error)
    return run.note or next(errors, "")
