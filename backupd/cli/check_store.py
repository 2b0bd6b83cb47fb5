"""`backupd check --store`: what the S3 server can do, and which lines of the policy suit it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from backupd.cli.check_rights import tell_left
from backupd.cli.session import Session

if TYPE_CHECKING:
    from backupd.abilities import Setting
    from backupd.stores.s3_ability import Probed


def probe_abilities(session: Session, *, as_json: bool) -> None:
    """Print what the server can do, and what to set. Raises StoreError where backups would fail."""
    from backupd.abilities import advice, failures
    from backupd.errors import StoreError
    from backupd.rights import require_bucket
    from backupd.stores.s3_ability import probe_abilities

    spec = session.policy.store
    require_bucket(spec, "cannot probe a server")
    probed = probe_abilities(spec, session.host)
    settings = advice(spec, probed.found)
    if as_json:
        click.echo(json.dumps(_abilities_report(session, probed, settings), indent=2))
    else:
        _print_abilities(session, probed, settings)
    tell_left(probed.left)
    # A line to set may be all that it takes: what the policy wants and the server has not.
    cured = {setting.ability for setting in settings}
    failed = [one for one in failures(probed.found) if one.ability not in cured]
    if failed:
        raise StoreError(
            f"backups in {spec.url} would fail: the server lacks '{failed[0].ability}' "
            f"({failed[0].detail or 'it gives back other bytes'}); use another server"
        )


def _abilities_report(session: Session, probed: Probed, settings: list[Setting]) -> dict[str, Any]:
    return {
        "host": session.host,
        "store": session.policy.store.url,
        "abilities": [
            {"ability": str(one.ability), "can": str(one.can), "detail": one.detail}
            for one in probed.found
        ],
        "set": [
            {"key": setting.key, "value": setting.value, "reason": setting.reason}
            for setting in settings
        ],
        "left": list(probed.left),
    }


def _print_abilities(session: Session, probed: Probed, settings: list[Setting]) -> None:
    from backupd.cli.table import print_table

    click.echo(f"store    {session.policy.store.url}")
    click.echo(f"host     {session.host}\n")
    rows = [[str(one.ability), str(one.can), one.detail] for one in probed.found]
    print_table(["ABILITY", "SERVER", ""], rows)
    if not settings:
        click.echo("\nNothing to set in the policy's store.")
        return
    click.echo("\nSet in the policy:\nstore:")
    for setting in settings:
        click.echo(f"  {setting}")
