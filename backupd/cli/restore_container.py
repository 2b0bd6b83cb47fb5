"""`backupd restore container`: bring a container's content back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from backupd.cli.restore_again import again_options, is_again, make_again
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
    from backupd.verbs.restore_container import Back
    from backupd.verbs.restore_image import Restored


@click.command()
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option(
    "--tag",
    metavar="NAME:TAG",
    help="Name of the image; default restored/NAME:<when it was taken>.",
)
@click.option(
    "--via",
    type=click.Choice(["load", "import"]),
    default="load",
    show_default=True,
    help="load gives the whole configuration back exactly; import is `docker import`.",
)
@click.option("--change", "changes", multiple=True, help="With import: a Dockerfile instruction.")
@click.option("--message", help="Commit message of the image.")
@click.option("--platform", metavar="OS/ARCH", help="Platform of the image, for the engine.")
@click.option("--no-config", is_flag=True, help="With import: the files alone, no configuration.")
@again_options
@choosing
@click.pass_obj
def container(session: Session, /, names: tuple[str, ...], **options: Any) -> None:
    """Bring a container back: as an image that runs as it did, or with --run the whole service.

    --run makes its networks where they are missing, restores the volumes that are missing, and
    makes and starts the container as it ran. Without it the image is all: volumes are no part of
    it, and what is missing is named before anything is done.

    \b
    Examples: backupd restore container web --run
              backupd restore container web --run --dry-run --docker-host ssh://root@new
              backupd restore container web
              backupd restore container web --via import --change 'CMD ["sh"]' --tag web:again
              backupd restore container --from export.tar --tag web:again
    """
    from backupd.layout import Kind

    if is_again(names, options):
        from backupd.verbs.recreate_from import Stored

        chosen = choose_all(session, Kind.CONTAINER, names, options)
        make_again(session, [Stored(*one) for one in chosen], options)
        return
    _check_container_options(names, options)
    back, quiet = _back(options), options["quiet"]
    if options["origin"] is not None:
        _import_bare(session, options["origin"], options["output"], back, quiet=quiet)
        return
    for catalog, manifest in choose_all(session, Kind.CONTAINER, names, options):
        if options["output"]:
            write_out(session, catalog, manifest, options["output"], tag=None)
        else:
            restored = _restore_container(session, catalog, manifest, back, quiet=quiet)
            report_image(manifest, restored, quiet=quiet)


def _restore_container(
    session: Session, catalog: Catalog, manifest: Manifest, back: Back, *, quiet: bool
) -> Restored:
    from backupd.cli.progress import transfer_bar
    from backupd.verbs.restore_container import restore_container

    label = f"{manifest.kind} {manifest.name}"
    with transfer_bar(label, manifest.archive.size_bytes) as progress:
        return restore_container(
            session.site, catalog, manifest, back, say=sayer(quiet=quiet), progress=progress
        )


def _check_container_options(names: Sequence[str], options: dict[str, Any]) -> None:
    """Refuse what would silently do nothing."""
    refuse_idle(options)
    if options["output"] and options["tag"]:
        raise click.UsageError("--tag names an image; the tar of a container holds no name.")
    if options["origin"] is not None and names:
        raise click.UsageError("--from takes the archive as it is: name no container.")
    importing = options["via"] == "import" or options["origin"] is not None
    if not importing and (options["changes"] or options["no_config"]):
        raise click.UsageError("--change and --no-config belong to --via import.")
    if options["tag"] and len(names) > 1:
        raise click.UsageError("--tag names one image: restore one container at a time.")


def _back(options: dict[str, Any]) -> Back:
    from backupd.verbs.restore_container import Back, ImportOptions

    return Back(
        tag=image_name(options["tag"]),
        by_import=options["via"] == "import",
        with_config=not options["no_config"],
        options=ImportOptions(options["changes"], options["message"], options["platform"]),
    )


def _import_bare(
    session: Session, origin: str, output: str | None, back: Back, *, quiet: bool
) -> None:
    from backupd.verbs.bare import import_bare, write_bare

    if output:
        write_bare(origin, session.bare_identities, output, tag=None)
        return
    image_id = import_bare(
        session.bare_engine,
        origin,
        session.bare_identities,
        reference=back.tag,
        options=back.options,
    )
    if not quiet:
        printed(f"restored  container  {back.tag or ''}  {image_id}")
