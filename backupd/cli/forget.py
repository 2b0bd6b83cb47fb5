"""`backupd forget`, `pin` and `unpin`: single backups, asked for by name."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from backupd.cli.session import Session, config_option

if TYPE_CHECKING:
    from backupd.layout import BackupKey


@click.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@config_option
@click.pass_obj
def forget(session: Session, ids: tuple[str, ...], *, yes: bool) -> None:
    """Remove single backups of this host, whatever the retention rules say.

    \b
    Example: backupd forget 3f2ab91c04d7
    """
    from backupd.cli.prune_report import tell
    from backupd.errors import UsageError
    from backupd.layout import PINNED
    from backupd.object_lock import locked_until
    from backupd.text import shown, size
    from backupd.verbs.remove import remove

    site = session.site
    site.catalog.require_ours(site.state.machine_id())
    found = _find(session, ids)
    locked_for, now = session.store.locked_for, site.now()
    for backup in found:
        if until := locked_until(backup.taken_at, locked_for, now):
            raise UsageError(
                f"cannot forget {backup.id}: it is locked until {until:%F %T} UTC (the store's "
                "object_lock), and its bytes stay until then; forget it after that"
            )
    for backup in found:
        if PINNED in backup.states:
            raise UsageError(f"cannot forget {backup.id}: it is pinned; `backupd unpin` it first")
        click.echo(f"{backup.id}  {backup.taken_at:%F %T} UTC  {backup.kind} {shown(backup.name)}")
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("cannot ask whether to remove these: there is no terminal; give --yes")
        click.confirm("Remove for good?", abort=True)
    removal = remove(site, site.catalog, found, "forget")
    click.echo(f"removed {len(removal.backups)} backups, freed {size(removal.freed_bytes)}")
    tell(removal)
    if len(removal.backups) < len(found):
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--note", default="", help="Why: kept beside the pin.")
@config_option
@click.pass_obj
def pin(session: Session, ids: tuple[str, ...], *, note: str) -> None:
    """Keep backups for good: no rule removes them until they are unpinned.

    \b
    Example: backupd pin 3f2ab91c04d7 --note "before the migration"
    """
    from backupd.layout import PINNED
    from backupd.stream import Cancel

    # Under the lock of what removes: a backup that is found here is not removed meanwhile.
    with session.state.lock_archives(session.store.url, session.host, "pin", Cancel()):
        for backup in _find(session, ids):
            session.store.put_bytes(backup.state_key(PINNED), note.encode())
            click.echo(f"pinned {backup.id}")


@click.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@config_option
@click.pass_obj
def unpin(session: Session, ids: tuple[str, ...]) -> None:
    """Let the retention rules decide about pinned backups again.

    \b
    Example: backupd unpin 3f2ab91c04d7
    """
    from backupd.errors import StoreError
    from backupd.layout import PINNED

    for backup in _find(session, ids):
        for refusal in session.store.delete([backup.state_key(PINNED)]):
            raise StoreError(f"cannot unpin {backup.id}: {refusal.cause}")
        click.echo(f"unpinned {backup.id}")


def _find(session: Session, ids: tuple[str, ...]) -> list[BackupKey]:
    """The backups of this host with these ids, all found before anything is done."""
    from backupd.errors import NotFound, UsageError

    backups = session.site.catalog.backups()
    found: dict[str, BackupKey] = {}
    for prefix in dict.fromkeys(ids):
        matching = [backup for backup in backups if backup.id.startswith(prefix)]
        if not matching:
            raise NotFound(
                f"cannot find backup {prefix} of host {session.host!r}; nothing was done"
            )
        # Listed twice under one id is one backup, left by a renaming that was broken off.
        if len({backup.id for backup in matching}) > 1:
            raise UsageError(
                f"cannot tell which backup {prefix!r} is: several begin so; write more"
            )
        found |= {backup.key: backup for backup in matching}
    return list(found.values())
