"""`backupd list`: the backups in the store, from keys alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from backupd.cli.session import Session, config_option, store_options

if TYPE_CHECKING:
    from datetime import datetime

    from backupd.layout import BackupKey

KINDS = click.Choice(["image", "bundle", "container", "volume"])


@click.command(name="list")
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@click.option("--job", help="Only backups of this job.")
@click.option("--kind", type=KINDS, help="Only backups of this kind.")
@click.option("--host", help="Another host's backups; '*' for every host's.")
@click.option("--json", "as_json", is_flag=True, help="An array of objects, oldest first.")
@store_options
@config_option
@click.pass_obj
def list_backups(
    session: Session,
    sources: tuple[str, ...],
    *,
    job: str | None,
    kind: str | None,
    host: str | None,
    as_json: bool,
) -> None:
    """List the backups in the store, oldest first.

    SOURCE is an image, bundle or container by the name that it was backed up under.

    \b
    Examples: backupd list nginx:latest
              backupd list --store s3://my-backups/docker --endpoint https://s3.example.com
    """
    rows = _rows(session, sources, job=job, kind=kind, host=host)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif rows:
        _print(session, rows)
    else:
        click.echo(f"no backups in {session.store.url}", err=True)


def _rows(
    session: Session,
    sources: tuple[str, ...],
    *,
    job: str | None,
    kind: str | None,
    host: str | None,
) -> list[dict[str, Any]]:
    from backupd.catalog import Catalog
    from backupd.layout import Kind
    from backupd.verbs.choose import Wish, matching, spellings

    policy = session.optional_policy
    chosen = host or (session.host if policy else None)
    wish = Wish(host=chosen, job=job, kind=Kind(kind) if kind else None)
    wanted = {spelling for source in sources for spelling in spellings(source)}
    found = [b for b in matching(session.store, wish) if not sources or b.name in wanted]
    archives = {
        name: Catalog(session.store, name).archives() for name in sorted({b.host for b in found})
    }
    return [_row(session, backup, archives[backup.host].get(backup.archive_id)) for backup in found]


def _row(session: Session, backup: BackupKey, archive: Any) -> dict[str, Any]:
    from backupd.layout import is_encrypted

    return {
        "id": backup.id,
        "host": backup.host,
        "job": backup.job,
        "kind": str(backup.kind),
        "name": _full_name(session, backup),
        "taken_at": _iso(backup.taken_at),
        "size_bytes": backup.size_bytes,
        "stored_bytes": archive.size_bytes if archive else None,
        "archive_key": session.store.full_key(archive.key) if archive else None,
        "encrypted": is_encrypted(archive.key) if archive else None,
        "states": sorted(backup.states),
        "proofs": {how: _iso(at) for how, at in backup.proofs.items()},
    }


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _full_name(session: Session, backup: BackupKey) -> str:
    """A name that was hashed in its key stands whole in the manifest only."""
    from backupd.catalog import Catalog
    from backupd.layout import is_hashed

    if not is_hashed(backup.folder.split("/")[4]):
        return backup.name
    return Catalog(session.store, backup.host).manifest(backup).name


def _print(session: Session, rows: list[dict[str, Any]]) -> None:
    from datetime import datetime

    from backupd.cli.table import print_table
    from backupd.text import moment, size

    several_hosts = len({row["host"] for row in rows}) > 1
    heads = ["ID", "TAKEN", *(["HOST"] if several_hosts else []), "JOB", "KIND", "NAME"]
    body = [
        [
            row["id"],
            moment(datetime.fromisoformat(row["taken_at"]), session.zone),
            *([row["host"]] if several_hosts else []),
            row["job"],
            row["kind"],
            row["name"],
            size(row["size_bytes"]),
            size(row["stored_bytes"]) if row["archive_key"] else "ARCHIVE MISSING",
        ]
        for row in rows
    ]
    heads += [">SIZE", ">STORED"]
    if any(row["states"] for row in rows):
        heads.append("STATE")
        body = [[*cells, ", ".join(row["states"])] for cells, row in zip(body, rows, strict=True)]
    print_table(heads, body)
