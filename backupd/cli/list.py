"""`backupd list`: the backups in the store, from keys alone."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from backupd.cli.session import Session, config_option, expect_many, store_options

if TYPE_CHECKING:
    from datetime import datetime

    from backupd.catalog import StoredArchive
    from backupd.layout import BackupKey
    from backupd.stores import Store

    Found = list[tuple[BackupKey, StoredArchive | None]]

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
    expect_many()
    found = _found(session, sources, job=job, kind=kind, host=host)
    if as_json:
        _print_json(session, found)
    elif found:
        _print(session, found)
    else:
        click.echo(f"no backups in {session.store.url}", err=True)


def _found(
    session: Session,
    sources: tuple[str, ...],
    *,
    job: str | None,
    kind: str | None,
    host: str | None,
) -> Found:
    """Each backup, oldest first, with its archive as the listing shows it."""
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
    return [(backup, archives[backup.host].get(backup.archive_id)) for backup in found]


def _print_json(session: Session, found: Found) -> None:
    """The array as `json.dumps` would indent it, an object at a time: there may be many."""
    if not found:
        click.echo("[]")
        return
    name_of = Names(session.store)
    for number, (backup, archive) in enumerate(found):
        row = _row(session, backup, archive, name_of(backup))
        text = json.dumps(row, indent=2).replace("\n", "\n  ")
        sys.stdout.write(("[\n  " if number == 0 else ",\n  ") + text)
    sys.stdout.write("\n]\n")


def _row(
    session: Session, backup: BackupKey, archive: StoredArchive | None, name: str
) -> dict[str, Any]:
    from backupd.layout import is_encrypted

    return {
        "id": backup.id,
        "host": backup.host,
        "job": backup.job,
        "kind": str(backup.kind),
        "name": name,
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


class Names:
    """The whole names of sources: one that was hashed in its keys stands in manifests only.

    One manifest is read for each such source, whichever of its backups comes first.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, str] = {}

    def __call__(self, backup: BackupKey) -> str:
        """The name of the backup's source."""
        name = self._known.get(backup.folder)
        if name is None:
            name = self._known[backup.folder] = self._found(backup)
        return name

    def _found(self, backup: BackupKey) -> str:
        from backupd.catalog import Catalog
        from backupd.layout import is_hashed

        if not is_hashed(backup.folder.split("/")[4]):
            return backup.name
        return Catalog(self._store, backup.host).manifest(backup).name


def _print(session: Session, found: Found) -> None:
    from backupd.cli.table import print_table
    from backupd.text import moment, size

    several_hosts = len({backup.host for backup, _ in found}) > 1
    with_states = any(backup.states for backup, _ in found)
    heads = ["ID", "TAKEN", *(["HOST"] if several_hosts else []), "JOB", "KIND", "NAME"]
    heads += [">SIZE", ">STORED", *(["STATE"] if with_states else [])]
    zone, name_of = session.zone, Names(session.store)
    cells = [
        (
            backup.id,
            moment(backup.taken_at, zone),
            *([backup.host] if several_hosts else []),
            backup.job,
            str(backup.kind),
            name_of(backup),
            size(backup.size_bytes),
            size(archive.size_bytes) if archive else "ARCHIVE MISSING",
            *([", ".join(sorted(backup.states))] if with_states else []),
        )
        for backup, archive in found
    ]
    print_table(heads, cells)
