"""`backupd prune`: remove old backups by the policy's rules."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from backupd.cli.session import Session, config_option, expect_many, warn

if TYPE_CHECKING:
    from backupd.catalog import Catalog
    from backupd.retention import Rules
    from backupd.timeline import Candidate
    from backupd.verbs.prune import GroupPlan
    from backupd.verbs.prune_jobs import Listing
    from backupd.verbs.remove import Removal


@click.command()
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
@click.option(
    "--job", "more_jobs", multiple=True, help="A job, also one the policy no longer names."
)
@click.option(
    "--retention", metavar="RULES", help="With --job: rules such as keep_last=3,keep_daily=7."
)
@click.option("--host", help="Another host's backups: manifests go, that host sweeps its archives.")
@click.option("-n", "--dry-run", is_flag=True, help="Show what would go; remove nothing.")
@click.option("--explain", is_flag=True, help="Show every backup, and which rule keeps it.")
@click.option("--until", metavar="DATE", help="Show what the policy would leave on that date.")
@click.option(
    "-y", "--yes", is_flag=True, help="Go on although it is more than prune_limit allows."
)
@click.option("--json", "as_json", is_flag=True, help="One object: groups, and what was removed.")
@config_option
@click.pass_obj
def prune(session: Session, /, jobs: tuple[str, ...], **options: Any) -> None:
    """Remove old backups by the retention rules of the policy.

    Nothing is removed of a source when the plan looks like an accident: then it says why.

    \b
    Examples: backupd prune --dry-run --explain
              backupd prune nightly
              backupd prune --until 2027-01-01
              backupd prune --job old-job --retention keep_last=3
    """
    from backupd.verbs.job import presence
    from backupd.verbs.prune_jobs import Order, carry_out, plan_jobs

    expect_many()
    chosen = [*jobs, *options["more_jobs"]]
    rules = _rules(options["retention"], chosen)
    until = _date(session, options["until"]) if options["until"] else None
    only_look = bool(options["dry_run"] or until)
    catalog, listing = _listed(session, options["host"])
    site, policy = session.site, session.policy
    order = Order(_jobs(session, listing, chosen), site.now(), rules=rules, only_look=only_look)
    plans = plan_jobs(site, policy, catalog, listing, order, presence(session.engine, warn))
    if until:
        _forecast(session, plans, until, rules, as_json=options["as_json"])
        return
    removal = None
    if not only_look:
        removal = carry_out(site, catalog, listing, plans, yes=options["yes"])
    _report(session, listing, plans, removal, options)
    refused = any(plan.objection and not plan.going(yes=options["yes"]) for plan in plans)
    if refused or (removal and removal.refused):
        raise click.exceptions.Exit(1)


def _listed(session: Session, host: str | None) -> tuple[Catalog, Listing]:
    """The host's part of the store, this machine's unless another host is named."""
    from backupd.catalog import Catalog
    from backupd.errors import NotFound
    from backupd.verbs.prune_jobs import Listing

    site = session.site
    catalog = Catalog(site.store, host or site.host)
    if catalog.host == site.host:
        catalog.require_ours(site.state.machine_id())
    listing = Listing.of(catalog)
    if catalog.host != site.host and not listing.backups:
        raise NotFound(f"cannot prune host {host!r}: it has no backups in {site.store.url}")
    return catalog, listing


def _jobs(session: Session, listing: Listing, chosen: Sequence[str]) -> list[str]:
    """The jobs to plan: those named, or every job of the policy and of the store."""
    from backupd.errors import NotFound
    from backupd.verbs.prune_jobs import unnamed_jobs

    known = [*session.policy.jobs, *unnamed_jobs(session.policy, listing)]
    for name in chosen:
        if name not in known:
            raise NotFound(f"cannot find job {name!r}: neither in the policy nor among the backups")
    return list(dict.fromkeys(chosen)) or known


def _rules(text: str | None, jobs: Sequence[str]) -> Rules | None:
    """The rules of `--retention`, checked by the policy's own model. Raises UsageError."""
    from pydantic import ValidationError

    from backupd.errors import UsageError
    from backupd.policy import Retention

    if text is None:
        return None
    if not jobs:
        raise UsageError("--retention needs --job: name the job that these rules are for")
    given: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = part.strip().partition("=")
        if not equals:
            raise UsageError(f"--retention {part!r}: write RULE=VALUE, such as keep_last=3")
        rule, value = name.strip(), value.strip()
        if rule in given:
            raise UsageError(f"--retention {rule}: it stands there twice")
        given[rule] = int(value) if value.isdecimal() else value
    try:
        rules = Retention(**given).rules()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        cause = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"--retention {(first['loc'] or ('',))[0]}: {cause}") from error
    if rules.keeps_all:
        raise UsageError("--retention keeps everything: give a rule such as keep_last=3")
    return rules


def _report(
    session: Session,
    listing: Listing,
    plans: Sequence[GroupPlan],
    removal: Removal | None,
    options: dict[str, Any],
) -> None:
    from backupd.cli import prune_report
    from backupd.text import size

    yes = options["yes"]
    going = [backup for plan in plans for backup in plan.going(yes=yes)]
    would_free = listing.freed_bytes(going)
    if options["as_json"]:
        click.echo(prune_report.as_json(plans, removal, yes=yes, would_free_bytes=would_free))
        return
    for plan in plans:
        prune_report.print_group(session, plan, yes=yes, explain=options["explain"])
    if removal is None:
        click.echo(f"would remove {len(going)} backups and free {size(would_free)}")
    else:
        prune_report.print_removal(removal)


def _forecast(
    session: Session,
    plans: Sequence[GroupPlan],
    until: datetime,
    rules: Rules | None,
    *,
    as_json: bool,
) -> None:
    from backupd.cli import prune_report

    left = [(plan, _left(session, plan, rules, until)) for plan in plans]
    if as_json:
        click.echo(prune_report.forecast_json(until, left))
    else:
        prune_report.print_forecast(session, until, left)


def _left(
    session: Session, plan: GroupPlan, given: Rules | None, until: datetime
) -> Sequence[Candidate]:
    """What of one group would be left at `until`; all of it where no rules apply."""
    from backupd.forecast import forecast
    from backupd.retention import Rules

    policy = session.policy
    job = policy.jobs.get(plan.job)
    retention = policy.retention_of(job) if job else None
    rules = given or (retention.rules() if retention else Rules())
    backups = [verdict.backup for verdict in plan.verdicts]
    if plan.left_alone:
        return backups
    zone = ZoneInfo(policy.zone_of(job)) if job else session.zone
    return forecast(
        backups,
        rules,
        zone,
        _moments(session, plan.job, until),
        locked_for=session.store.locked_for,
        until=until,
    )


def _moments(session: Session, job_name: str, until: datetime) -> list[datetime]:
    """When the job is due from now until then; none for a job that runs by hand only."""
    job = session.policy.jobs.get(job_name)
    schedule = session.policy.schedule_of(job) if job else None
    found: list[datetime] = []
    due = session.site.now()
    while schedule is not None:
        due = schedule.next_after(due)
        if due > until:
            break
        found.append(due)
    return found


def _date(session: Session, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError(f"--until {text!r} is not a date: write 2027-01-01") from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=session.zone)
    if moment < session.site.now():
        raise click.UsageError(f"--until {text!r} lies in the past")
    return moment
