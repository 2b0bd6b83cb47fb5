"""`backupd backup`: run jobs, or single sources of them, now."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from backupd.cli.session import Session, config_option, warn

if TYPE_CHECKING:
    from backupd.sources.select import Missing
    from backupd.verbs.backup import Outcome, Report, Task
    from backupd.verbs.job import JobRun


@click.command()
@click.argument("names", nargs=-1, metavar="[JOB|SOURCE]...")
@click.option("--job", "only_job", help="Take SOURCE from this job only.")
@click.option("--json", "as_json", is_flag=True, help="An array of objects, one for each source.")
@config_option
@click.pass_obj
def backup(
    session: Session, names: tuple[str, ...], *, only_job: str | None, as_json: bool
) -> None:
    """Back up now: all jobs, the named jobs, or the named sources of any job.

    \b
    Examples: backupd backup
              backupd backup nightly
              backupd backup nginx:latest web
    """
    from backupd.cli.progress import reporting
    from backupd.history import History
    from backupd.verbs.job import JobRun
    from backupd.verbs.recorded import run_recorded

    policy = session.policy
    jobs, tasks = _chosen(session, names, only_job)
    with (
        reporting(quiet=as_json) as report,
        closing(History.open(session.state, report.note)) as history,
    ):
        runs = [run_recorded(history, session.site, policy, job, report) for job in jobs]
        runs += [JobRun("", _run(session, tasks, report), ())] if tasks else []
    if as_json:
        rows = [_row(outcome) for run in runs for outcome in run.outcomes]
        rows += [_missing_row(run.job, item) for run in runs for item in run.missing]
        click.echo(json.dumps(rows, indent=2))
    elif not any(run.outcomes or run.missing for run in runs):
        warn("nothing was backed up: no source matches")
    raise click.exceptions.Exit(_exit_code(runs))


def _run(session: Session, tasks: Sequence[Task], report: Report) -> list[Outcome]:
    from backupd.verbs.backup import run

    return run(session.site, tasks, report)


def _chosen(
    session: Session, names: Sequence[str], only_job: str | None
) -> tuple[list[str], list[Task]]:
    """The jobs to run whole, and tasks for single sources; all known to be there before any work.

    Raises NotFound.
    """
    from backupd.errors import NotFound

    policy = session.policy
    if only_job is not None and only_job not in policy.jobs:
        raise NotFound(f"cannot find job {only_job!r}; the policy has {', '.join(policy.jobs)}")
    in_play = [job for job in policy.jobs if only_job in (None, job)]
    if not names:
        return in_play, []
    sources = [name for name in names if name not in policy.jobs]
    tasks = _tasks_for(session, sources, in_play) if sources else []
    return [job for job in policy.jobs if job in names], tasks


def _tasks_for(session: Session, sources: Sequence[str], jobs: Sequence[str]) -> list[Task]:
    """A task for each job that selects one of the sources. Raises NotFound for any other name."""
    from backupd.errors import NotFound
    from backupd.verbs.choose import spellings
    from backupd.verbs.job import plan_job
    from backupd.verbs.lanes import belonging

    selected = [task for job in jobs for task in plan_job(session.site, session.policy, job).tasks]
    wanted: list[Task] = []
    for name in sources:
        found = [task for task in selected if task.source.name in spellings(name)]
        if not found:
            raise NotFound(
                f"cannot find {name!r}: neither a job nor a source that a job selects on this "
                "engine; `backupd check` shows what there is"
            )
        wanted += [task for task in found if task not in wanted]
    return [*wanted, *belonging(selected, wanted)]


def _exit_code(runs: Sequence[JobRun]) -> int:
    if all(run.is_good for run in runs):
        return 0
    return 7 if all(run.only_busy for run in runs) else 1


def _row(outcome: Outcome) -> dict[str, Any]:
    manifest = outcome.manifest
    row: dict[str, Any] = {
        "job": outcome.job,
        "kind": str(outcome.kind),
        "name": outcome.name,
        "duration_seconds": round(outcome.duration.total_seconds(), 3),
    }
    if manifest is None:
        return {**row, "state": "failed", "error": str(outcome.error)}
    return {
        **row,
        "state": "unchanged" if manifest.reused else "saved",
        "id": manifest.id,
        "size_bytes": manifest.archive.size_bytes,
        "stored_bytes": manifest.archive.stored_bytes,
        "warnings": list(manifest.warnings),
        "odd": outcome.oddity or None,
    }


def _missing_row(job: str, item: Missing) -> dict[str, Any]:
    return {
        "job": job,
        "kind": str(item.kind),
        "name": item.name,
        "state": "failed",
        "error": f"not on this engine; check {item.where}",
    }
