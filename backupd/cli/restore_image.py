"""`backupd restore image` and `restore bundle`: load images again, as they were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from backupd.cli.restore_choosing import (
    choose_all,
    choosing,
    printed,
    report_image,
    sayer,
    write_out,
)
from backupd.cli.restore_options import image_name, refuse_idle
from backupd.cli.session import Session

if TYPE_CHECKING:
    from backupd.catalog import Catalog
    from backupd.manifest import Manifest
    from backupd.verbs.restore_image import Restored


@click.command()
@click.argument("references", nargs=-1, metavar="REFERENCE...")
@click.option("--tag", metavar="NAME:TAG", help="Give the image this name instead of its own.")
@click.option("--platform", metavar="OS/ARCH", help="Load this platform only (engine API 1.48).")
@choosing
@click.pass_obj
def image(session: Session, /, references: tuple[str, ...], **options: Any) -> None:
    """Load images, with their layers, history and tags (`docker load`).

    An image that is already there with the right id is not loaded again.

    \b
    Examples: backupd restore image nginx:latest app:2
              backupd restore image app:2 --at 2026-03-01T12:00 --tag app:old
              backupd restore image app:2 --output - | docker load
              backupd restore image --from app.tar.zst
    """
    _restore_images(session, "image", references, **options)


@click.command()
@click.argument("names", nargs=-1, metavar="NAME...")
@choosing
@click.pass_obj
def bundle(session: Session, /, names: tuple[str, ...], **options: Any) -> None:
    """Load all images of a bundle (`docker load`).

    \b
    Example: backupd restore bundle webstack
    """
    _restore_images(session, "bundle", names, tag=None, platform=None, **options)


def _restore_images(
    session: Session, kind_text: str, names: Sequence[str], *, tag: str | None, **options: Any
) -> None:
    from backupd.layout import Kind

    refuse_idle(options)
    quiet, tag = options["quiet"], image_name(tag)
    if options["origin"] is not None:
        if names:
            raise click.UsageError("--from takes everything that is in the archive: name nothing.")
        _load_bare(session, tag, options)
        return
    if tag and len(names) > 1:
        raise click.UsageError("--tag gives one image a name: restore one at a time.")
    for catalog, manifest in choose_all(session, Kind(kind_text), names, options):
        if options["output"]:
            write_out(session, catalog, manifest, options["output"], tag=tag)
            continue
        for restored in _load(session, catalog, manifest, tag, options):
            report_image(manifest, restored, quiet=quiet)


def _load(
    session: Session,
    catalog: Catalog,
    manifest: Manifest,
    tag: str | None,
    options: dict[str, Any],
) -> list[Restored]:
    from backupd.cli.progress import transfer_bar
    from backupd.verbs.restore_image import restore_images

    label = f"{manifest.kind} {manifest.name}"
    with transfer_bar(label, manifest.archive.size_bytes) as progress:
        return restore_images(
            session.site,
            catalog,
            manifest,
            tag=tag,
            platform=options["platform"],
            say=sayer(quiet=options["quiet"]),
            progress=progress,
        )


def _load_bare(session: Session, tag: str | None, options: dict[str, Any]) -> None:
    from backupd.verbs.bare import load_bare, write_bare

    if options["output"]:
        write_bare(options["origin"], session.bare_identities, options["output"], tag=tag)
        return
    say = sayer(quiet=options["quiet"])
    names = load_bare(
        session.bare_engine,
        options["origin"],
        session.bare_identities,
        tag=tag,
        platform=options.get("platform"),
        say=say,
    )
    if not options["quiet"]:
        for name in names:
            printed(f"restored  image  {name}")
