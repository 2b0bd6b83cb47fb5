"""`backupd status`: whether every job's last success is as fresh as its schedule says."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from backupd.cli.session import Session, config_option, store_options, warn
from backupd.cli.status_proofs import print_fleet_proofs, print_proofs, proof_rows
from backupd.cli.status_report import daemon_row, print_fleet, print_here

if TYPE_CHECKING:
    from backupd.errors import PolicyError
    from backupd.state import StateDir
    from backupd.verbs.status import Standing


@click.command()
@click.option("--host", help="Another host by what its daemon wrote; '*' for every host's.")
@click.option("--json", "as_json", is_flag=True, help="An object; with --host, an array of them.")
@store_options
@config_option
@click.pass_obj
def status(session: Session, *, host: str | None, as_json: bool) -> None:
    """Show how every job stands: its last run, last success, next run, and what runs now.

    And when each source's backups were last proven, by verify or by a drill.

    Exit code 0 only if every scheduled job's last success is as fresh as its schedule says, else 1:
    use it as a health check.

    \b
    Examples: backupd status
              backupd status --host '*' --store s3://my-backups/docker
    """
    if host is not None or session.store_options.get("url"):
        is_fine = _fleet(session, host or "*", as_json=as_json)
    else:
        is_fine = _here(session, as_json=as_json)
    raise click.exceptions.Exit(0 if is_fine else 1)


def _fleet(session: Session, host: str, *, as_json: bool) -> bool:
    from backupd.errors import NotFound
    from backupd.verbs.status import fleet, job_to_json

    now = datetime.now(UTC)
    found = fleet(session.store, None if host == "*" else host, now)
    if not found:
        raise NotFound(f"cannot find any host in {session.store.url}")
    if as_json:
        rows = [
            {
                "host": one.host,
                "fresh": one.is_fine,
                "written_at": one.written_at and one.written_at.isoformat(),
                "problem": one.problem or None,
                "jobs": [{"job": s.job, **job_to_json(s)} for s in one.standings],
                "proofs": proof_rows(one.proofs),
            }
            for one in found
        ]
        click.echo(json.dumps(rows, indent=2))
    else:
        print_fleet(found, session.zone)
        print_fleet_proofs(found, now, session.zone)
    return all(one.is_fine for one in found)


def _here(session: Session, *, as_json: bool) -> bool:
    from backupd.daemon import statefile
    from backupd.verbs.proofs import known_proofs
    from backupd.verbs.status import job_to_json

    state, wrong = _state(session)
    now = datetime.now(UTC)
    found = _standings(session, state, wrong, now)
    daemon = statefile.read(state) if state.has_daemon() else None
    # By a policy that is wrong and a history that knows no job, nothing is known to be fresh.
    is_fine = bool(found) and all(one.is_fine for one in found)
    if as_json:
        row: dict[str, Any] = {
            "fresh": is_fine,
            "policy_error": str(wrong) if wrong else None,
            "daemon": daemon_row(daemon),
            "jobs": [{"job": one.job, **job_to_json(one)} for one in found],
            "proofs": proof_rows(known_proofs(state)),
        }
        click.echo(json.dumps(row, indent=2))
    else:
        zone = session.zone if wrong is None else None
        print_here(found, daemon, zone)
        print_proofs(known_proofs(state), now, zone)
        for problem in wrong.problems if wrong else ():
            warn(f"the policy file is wrong: {problem}")
    return is_fine


def _state(session: Session) -> tuple[StateDir, PolicyError | None]:
    """The state directory, also of a policy that is wrong, which a daemon refused to follow."""
    from backupd.config import default_path
    from backupd.config.salvage import salvaged_state_dir
    from backupd.errors import PolicyError
    from backupd.state import StateDir, default_state_dir

    try:
        return session.state, None
    except PolicyError as error:
        salvaged = salvaged_state_dir(session.config or default_path(os.environ))
        state = StateDir(salvaged or default_state_dir(os.environ))
        if not state.path.exists():
            raise
        return state, error


def _standings(
    session: Session, state: StateDir, wrong: PolicyError | None, now: datetime
) -> tuple[Standing, ...]:
    """By the policy; where that is wrong, by what the daemon last promised."""
    from backupd.daemon.generation import timetables_of
    from backupd.history import History
    from backupd.verbs.status import facts_of, standings, standings_of

    history = History.open(state, warn)
    if wrong is not None:
        return standings(facts_of(history.pasts(), history.promises()), now)
    policy = session.policy
    return standings_of(policy, timetables_of(policy, session.host), history, now)
