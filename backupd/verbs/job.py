"""Run one job: select, back up what was selected, prune what the rules let go.

The same for a person's `backupd backup` and for the daemon. What a job could not find or could not
back up is part of its result; only an engine or a store that is not there at all is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from backupd.engine import Engine
from backupd.errors import AlreadyRunning, BackupdError, Cancelled, EngineError
from backupd.policy import Job, Policy
from backupd.site import Site
from backupd.sources.select import Missing, Selection, select
from backupd.verbs.backup import Outcome, Report, Task, run
from backupd.verbs.deadline import Deadline, bounded
from backupd.verbs.presence import present as present_sources
from backupd.verbs.prune import Source, as_listed, literals
from backupd.verbs.prune_jobs import Order, Present, prune_after


@dataclass(frozen=True, slots=True)
class JobPlan:
    """What one job is to back up now."""

    job: str
    tasks: Sequence[Task]
    missing: Sequence[Missing]
    warnings: Sequence[str]


@dataclass(frozen=True, slots=True)
class JobRun:
    """What became of one job."""

    job: str
    outcomes: Sequence[Outcome]
    missing: Sequence[Missing]
    """Literals of the policy that are not on the engine: each a failed source."""

    @property
    def is_good(self) -> bool:
        """Whether every source of the job is backed up."""
        return not self.missing and all(outcome.error is None for outcome in self.outcomes)

    @property
    def only_busy(self) -> bool:
        """Whether nothing was done, since someone else is at work on every one of the sources."""
        errors = [outcome.error for outcome in self.outcomes]
        is_busy = all(isinstance(error, AlreadyRunning) for error in errors)
        return bool(errors) and is_busy and not self.missing


def plan_job(site: Site, policy: Policy, name: str) -> JobPlan:
    """What the job selects on the engine now. Raises EngineError."""
    job = policy.jobs[name]
    selection = select(site.engine, name, job)
    return JobPlan(name, tasks_of(policy, name, selection), selection.missing, selection.warnings)


def tasks_of(policy: Policy, name: str, selection: Selection) -> list[Task]:
    """A task for each source that the job selected."""
    job = policy.jobs[name]
    compression = policy.compression_of(job)
    return [
        Task(
            name,
            source,
            compression,
            selection.selected_by[key],
            job.timeout,
            policy.anomaly_of(job),
            policy.recipients_of(job),
        )
        for key, source in selection.sources.items()
    ]


def run_job(site: Site, policy: Policy, name: str, report: Report) -> JobRun:
    """Back up all that the job selects, then prune, unless the policy wants that apart.

    All of it within the job's timeout. Raises BackupdError only before any work.
    """
    timeout = policy.jobs[name].timeout
    with bounded(site, timeout) as deadline:
        try:
            done = _backed_up(deadline, policy, name, report)
        except Cancelled as error:
            if not deadline.is_over.is_set():
                raise
            why = deadline.reason(name, error)
            raise BackupdError(f"cannot begin to read what job {name} selects: {why}") from error
        if policy.prune.when == "after" and not deadline.site.cancel.is_set():
            _prune(deadline, policy, done, report)
    return done


def _backed_up(deadline: Deadline, policy: Policy, name: str, report: Report) -> JobRun:
    site = deadline.site
    plan = plan_job(site, policy, name)
    site.cancel.raise_if_set()
    for text in plan.warnings:
        report.note(f"warning: {text}")
    for item in plan.missing:
        report.note(
            f"cannot back up {item.kind} {item.name!r}: it is not on this engine; "
            f"check {item.where}"
        )
    # Also without a task: it undoes what dead runs left.
    return JobRun(name, run(site, plan.tasks, report, deadline), plan.missing)


def _prune(deadline: Deadline, policy: Policy, done: JobRun, report: Report) -> None:
    """Prune the job's backups; what failed is left alone. Its troubles never fail the backup."""
    site = deadline.site
    tried = {as_listed(outcome.kind, outcome.name): outcome.error for outcome in done.outcomes}
    failed = {source for source, error in tried.items() if error is not None}
    # A literal that is not on the engine was not even tried.
    failed |= literals(policy.jobs[done.job]) - tried.keys()
    order = Order([done.job], site.now(), failed={done.job: failed})
    try:
        plans, removal = prune_after(site, policy, order, presence(site.engine, report.note))
    except BackupdError as error:
        why = deadline.reason(done.job, error)
        report.note(f"warning: old backups of job {done.job} were not pruned: {why}")
        return
    for plan in plans:
        if plan.objection:
            report.note(f"warning: {plan.objection.sentence}")
    for sentence in removal.complaints:
        report.note(f"warning: {sentence}")
    if removal.backups:
        report.note(f"pruned {len(removal.backups)} old backups of job {done.job}")


def presence(engine: Engine, say: Callable[[str], None]) -> Present:
    """Tells what is on the engine now; None when the engine cannot be asked."""

    def present(name: str, job: Job) -> Collection[Source] | None:
        try:
            return present_sources(engine, name, job)
        except EngineError as error:
            say(f"warning: gone_after does nothing this time: {error}")
            return None

    return present
