"""`backupd adopt` and `rename-job`: backups go on under another name."""

from __future__ import annotations

import click

from backupd.cli.session import Session, config_option


@click.command()
@click.option("--from", "old_host", metavar="HOST", help="Take over all backups of this host.")
@config_option
@click.pass_obj
def adopt(session: Session, *, old_host: str | None) -> None:
    """Let this machine write below its host name's prefix from now on.

    For a machine that replaces, or was reinstalled as, the one that backed up under this name; with
    --from, for one that was renamed. The other machine is then refused. Manifests move, archives
    stay where they are.

    \b
    Examples: backupd adopt
              backupd adopt --from old-name
    """
    from backupd.text import shown
    from backupd.verbs.move import adopt as take_over

    site = session.site
    moved = take_over(site, old_host)
    came = f" and has the {moved} backups of {old_host!r}" if old_host else ""
    click.echo(shown(f"this machine now backs up as {site.host!r} in {site.store.url}{came}"))


@click.command(name="rename-job")
@click.argument("old")
@click.argument("new")
@config_option
@click.pass_obj
def rename_job(session: Session, old: str, new: str) -> None:
    """Give the backups of job OLD to job NEW, so that its retention rules go on with them.

    Manifests move, archives stay where they are.

    \b
    Example: backupd rename-job nightly every-night
    """
    from backupd.errors import UsageError
    from backupd.policy.selectors import check_plain_name
    from backupd.verbs.move import rename_job as rename

    try:
        check_plain_name(new)
    except ValueError as error:
        raise UsageError(f"{new!r} {error}") from error
    if old == new:
        raise UsageError(f"cannot rename job {old!r} to itself")
    moved = rename(session.site, old, new)
    click.echo(f"{moved} backups of job {old} are now of job {new}")
