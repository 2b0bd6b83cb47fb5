"""`backupd schema`: the JSON Schema of the policy, for editors."""

from __future__ import annotations

import json

import click


@click.command()
def schema() -> None:
    """Print the JSON Schema of the policy file.

    \b
    Example: backupd schema > /etc/backupd/schema.json
    """
    from backupd.policy.schema import schema as policy_schema

    click.echo(json.dumps(policy_schema(), indent=2, ensure_ascii=False))
