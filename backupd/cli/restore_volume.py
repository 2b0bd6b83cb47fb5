"""`backupd restore volume`: bring a volume's files back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from backupd.cli.restore_choosing import choose_all, choosing_stored, printed, sayer, write_out
from backupd.cli.session import Session

if TYPE_CHECKING:
    from backupd.catalog import Catalog
    from backupd.manifest import Manifest


@click.command()
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option("--to", metavar="NEW", help="Restore into a new volume of this name.")
@click.option(
    "--replace",
    is_flag=True,
    help="Remove the volume that is there, if no container uses it; the backup is checked first.",
)
@choosing_stored
@click.pass_obj
def volume(session: Session, /, names: tuple[str, ...], **options: Any) -> None:
    """Bring a volume back: its files, driver, options and labels.

    It goes into a fresh volume, or into one that is there and empty. A volume that a container
    uses, even a stopped one, is never touched: restore beside it with --to.

    \b
    Examples: backupd restore volume pgdata
              backupd restore volume pgdata --to pgdata-old --at 2026-03-01
              backupd restore volume /srv/app --to app-files
              backupd restore volume pgdata --output - | tar -tv
    """
    from backupd.layout import Kind

    _refuse_idle(names, options)
    for catalog, manifest in choose_all(session, Kind.VOLUME, names, options):
        if options["output"]:
            write_out(session, catalog, manifest, options["output"], tag=None)
        else:
            _restore(session, catalog, manifest, options)


def _refuse_idle(names: Sequence[str], options: dict[str, Any]) -> None:
    """Refuse what would silently do nothing."""
    for option in ("to", "replace"):
        if options["output"] and options[option] not in (None, False):
            raise click.UsageError(f"--{option} is for an engine; --output only writes the tar.")
    if options["to"] is not None and len(names) > 1:
        raise click.UsageError("--to names one volume: restore one at a time.")


def _restore(
    session: Session, catalog: Catalog, manifest: Manifest, options: dict[str, Any]
) -> None:
    from backupd.cli.progress import transfer_bar
    from backupd.verbs.restore_volume import restore_volume

    label = f"{manifest.kind} {manifest.name}"
    with transfer_bar(label, manifest.archive.size_bytes) as progress:
        restored = restore_volume(
            session.site,
            catalog,
            manifest,
            to=options["to"],
            replace=options["replace"],
            say=sayer(quiet=options["quiet"]),
            progress=progress,
        )
    if not options["quiet"]:
        how = "replaced " if restored.replaced else "restored "
        printed(f"{how} {manifest.kind:<9}  {restored.name}  from backup {manifest.id}")
