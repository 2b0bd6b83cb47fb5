"""How `backupd status` looks: tables of standings, and what the daemon does now."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from backupd.cli.session import warn

if TYPE_CHECKING:
    from backupd.daemon.statefile import DaemonNow
    from backupd.verbs.status import HostStatus, Standing

_WORDS = {None: "by hand", "fresh": "ok", "late": "LATE", "unknown": "UNKNOWN"}


def print_here(found: Sequence[Standing], daemon: DaemonNow | None, zone: ZoneInfo | None) -> None:
    """This host: every job, then what the daemon does, then what is wrong with it."""
    from backupd.cli.table import print_table

    zone = zone or ZoneInfo("UTC")
    print_table(_HEADS, [_job_row(one, zone) for one in found])
    if daemon is None:
        warn("no daemon runs: nothing will be backed up by itself; systemctl start backupd")
        return
    _print_daemon(daemon, zone)


def print_fleet(found: Sequence[HostStatus], zone: ZoneInfo) -> None:
    """Every host with its jobs, the stale ones first."""
    from backupd.cli.table import print_table
    from backupd.text import moment

    rows = []
    for host in found:
        told = moment(host.written_at, zone) if host.written_at else "-"
        if not host.standings:
            problem = host.problem or "it has no jobs"
            blank = ["-"] * (len(_HEADS) - 3)
            rows.append([host.host, told, "-", "ok" if host.is_fine else "STALE", *blank, problem])
        rows += [[host.host, told, *_job_row(one, zone)] for one in host.standings]
    print_table(["HOST", "TOLD", *_HEADS], rows)


_HEADS = ["JOB", "STATE", "LAST RUN", "ENDED", "LAST SUCCESS", ">AGE", "NEXT RUN", "NOTE"]


def _job_row(one: Standing, zone: ZoneInfo) -> list[str]:
    from backupd.text import moment

    facts = one.facts

    def shown(when: datetime | None) -> str:
        return moment(when, zone) if when else "-"

    good = facts.good_started_at
    return [
        one.job,
        _state(one),
        shown(facts.last_started_at),
        facts.last_state or "never ran",
        shown(good),
        age(datetime.now(UTC) - good) if good else "-",
        shown(one.next_due),
        _note(one, zone),
    ]


def _state(one: Standing) -> str:
    """A prune, verify or drill by a schedule of its own promises no backup: it went well or not."""
    if one.freshness is not None or one.facts.schedule is None:
        return _WORDS[one.freshness]
    return {None: "-", "good": "ok", "running": "-"}.get(one.facts.last_state, "FAILED")


def _note(one: Standing, zone: ZoneInfo) -> str:
    from backupd.text import moment

    parts = []
    if one.outstanding_since is not None and not one.is_fine:
        parts.append(f"no good run since it was due at {moment(one.outstanding_since, zone)}")
    elif one.freshness == "unknown":
        parts.append("no daemon has taken this schedule up")
    if one.facts.skipped:
        parts.append(f"{one.facts.skipped} runs skipped")
    if one.facts.last_note:
        parts.append(one.facts.last_note)
    return "; ".join(parts)


def age(span: timedelta) -> str:
    """How old something is, in the two units that matter."""
    minutes = max(0, int(span.total_seconds())) // 60
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02} min"
    return f"{hours // 24} d {hours % 24} h"


def _print_daemon(daemon: DaemonNow, zone: ZoneInfo) -> None:
    from backupd.text import moment, shown, size

    click.echo(
        shown(
            f"daemon: process {daemon.pid} since {moment(daemon.started_at, zone)}, policy "
            f"{daemon.policy.path} as read at {moment(daemon.policy.read_at, zone)}"
        )
    )
    if daemon.waits_for:
        click.echo(shown(f"waiting for {daemon.waits_for}"))
    for run in daemon.running:
        click.echo(shown(f"running: {run.job} since {moment(run.started_at, zone)}"))
        for one in run.sources:
            click.echo(shown(f"  {one.kind} {one.name}: {size(one.done_bytes)} read"))
    if daemon.waiting:
        click.echo(shown(f"waiting for a place: {', '.join(daemon.waiting)}"))
    if daemon.policy.error:
        when = moment(daemon.policy.error_at or daemon.written_at, zone)
        warn(f"at the reload at {when} the daemon kept its old policy:")
        for line in daemon.policy.error.splitlines():
            warn(line)


def daemon_row(daemon: DaemonNow | None) -> dict[str, Any] | None:
    """The daemon for `--json`: null when none runs."""
    if daemon is None:
        return None
    policy = daemon.policy
    return {
        "pid": daemon.pid,
        "version": daemon.version,
        "started_at": daemon.started_at.isoformat(),
        "policy": policy.path,
        "policy_read_at": policy.read_at.isoformat(),
        "reload_error": policy.error or None,
        "reload_error_at": policy.error_at and policy.error_at.isoformat(),
        "waits_for": daemon.waits_for or None,
        "running": [
            {
                "job": run.job,
                "started_at": run.started_at.isoformat(),
                "sources": [
                    {"kind": s.kind, "name": s.name, "done_bytes": s.done_bytes}
                    for s in run.sources
                ],
            }
            for run in daemon.running
        ],
        "waiting": list(daemon.waiting),
    }
