"""`backupd iam-policy`: the least rights that the keys of the bucket need."""

from __future__ import annotations

import json

import click

from backupd.cli.session import Session, config_option


@click.command(name="iam-policy")
@click.option("--no-delete", is_flag=True, help="Without the right to delete: others prune.")
@click.option("--read-only", is_flag=True, help="Only what list, show and restore need.")
@config_option
@click.pass_obj
def iam_policy(session: Session, *, no_delete: bool, read_only: bool) -> None:
    """Print the least rights that this policy needs in its bucket, as AWS takes them.

    They let this host write below its own prefix only, and read the backups of all hosts. Asks
    nothing of the store; 'backupd check --explain' tries what the keys really may do.

    \b
    Example: backupd iam-policy --no-delete > backupd-web01.json
    """
    from backupd import rights

    spec = session.policy.store
    rights.require_bucket(spec, "cannot print rights")
    scope = rights.Scope.EVERYTHING
    if no_delete:
        scope = rights.Scope.NO_DELETE
    if read_only:
        scope = rights.Scope.READ_ONLY
    click.echo(json.dumps(rights.iam_policy(spec, session.host, scope), indent=2))
