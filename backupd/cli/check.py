"""`backupd check`: would it work now, and what would it back up?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from backupd.cli.check_rights import explain_rights
from backupd.cli.check_store import probe_abilities
from backupd.cli.session import Session, config_option


@click.command()
@click.option(
    "--json", "as_json", is_flag=True, help="One object: engine, store, sources, missing …"
)
@click.option("--explain", is_flag=True, help="Only: which rights the keys of the bucket lack.")
@click.option("--store", is_flag=True, help="Only: what the S3 server can do, and what to set.")
@config_option
@click.pass_obj
def check(session: Session, *, as_json: bool, explain: bool, store: bool) -> None:
    """Check the policy, the engine and the store, and show what each job would select now.

    Writes one small object to the store and deletes it again; changes nothing else. With --explain
    or --store a few more, also removed.

    \b
    Examples: backupd check --config ./config.yaml
              backupd check --explain
              backupd check --store
    """
    session.is_patient = False
    if explain and store:
        raise click.UsageError("--explain and --store are two checks; ask for one at a time")
    if explain:
        explain_rights(session, as_json=as_json)
        return
    if store:
        probe_abilities(session, as_json=as_json)
        return
    report = _examine(session)
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        _print(report)
    if report["missing"]:
        raise click.exceptions.Exit(1)


def _examine(session: Session) -> dict[str, Any]:
    from backupd.verbs.check import findings, probe_store, selected
    from backupd.verbs.check_lock import bucket_warnings, require_deletable

    policy, site = session.policy, session.site
    version = site.engine.version()
    refused = probe_store(site)
    require_deletable(site, policy, refused)
    site.catalog.require_ours(site.state.machine_id())
    sources, missing = [], list[dict[str, str]]()
    warnings = bucket_warnings(site, policy)
    for name, job in policy.jobs.items():
        selection = selected(site, name, job)
        for finding in findings(site.engine, name, selection):
            sources.append(
                {
                    "job": name,
                    "kind": str(finding.kind),
                    "name": finding.name,
                    "size_bytes": finding.size_bytes,
                    "changes": finding.changes,
                    "advice": finding.advice,
                    "warnings": list(finding.warnings),
                }
            )
        missing += [
            {"job": name, "kind": str(m.kind), "name": m.name, "where": m.where}
            for m in selection.missing
        ]
        warnings += selection.warnings
    return {
        "host": site.host,
        "engine": {"address": site.engine.host, "version": version.version},
        "store": site.store.url,
        "deletable": not refused,
        "recipients": {
            name: sorted(policy.recipients_of(job)) for name, job in policy.jobs.items()
        },
        "sources": sources,
        "missing": missing,
        "warnings": warnings,
    }


def _size(source: dict[str, Any]) -> str:
    from backupd.text import size

    return "" if source["kind"] == "volume" else size(source["size_bytes"])


def _coding(recipients: dict[str, list[str]]) -> Iterator[str]:
    """A line for all jobs that encrypt for the same, in the order of the policy."""
    from backupd.verbs.sealing import told

    jobs: dict[tuple[str, ...], list[str]] = {}
    for name, keys in recipients.items():
        jobs.setdefault(tuple(keys), []).append(name)
    for readers, names in jobs.items():
        how = f"encrypted for {told(readers)}" if readers else "in the clear"
        yield f"{', '.join(names)}: {how}"


def _print(report: dict[str, Any]) -> None:
    from backupd.cli.session import warn
    from backupd.cli.table import print_table
    from backupd.text import shown

    engine = report["engine"]
    click.echo("policy   valid")
    click.echo(f"engine   Docker {shown(engine['version'])} answers at {engine['address']}")
    able = "listed and deleted from" if report["deletable"] else "listed, and not deleted from"
    click.echo(f"store    {report['store']} can be written, read, {able}")
    click.echo(f"host     {report['host']}")
    for line in _coding(report["recipients"]):
        click.echo(f"stored   {shown(line)}")
    click.echo()
    rows = [[s["job"], s["kind"], s["name"], _size(s), s["advice"]] for s in report["sources"]]
    print_table(["JOB", "KIND", "NAME", ">SIZE", ""], rows)
    for source in report["sources"]:
        for text in source["warnings"]:
            warn(f"{source['kind']} {source['name']}: {text}")
    for text in report["warnings"]:
        warn(text)
    for item in report["missing"]:
        click.echo(
            f"backupd: {item['kind']} {shown(item['name'])} is not on the engine ({item['where']})",
            err=True,
        )
