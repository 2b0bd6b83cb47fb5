"""`backupd restore`: bring images, bundles and containers back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from backupd.cli.restore_options import image_name, refuse_idle
from backupd.cli.session import Command, Session, config_option, store_options

if TYPE_CHECKING:
    from backupd.catalog import Catalog
    from backupd.layout import Kind
    from backupd.manifest import Manifest
    from backupd.verbs.restore_container import Back
    from backupd.verbs.restore_image import Restored

Chosen = tuple["Catalog", "Manifest"]


@click.group()
def restore() -> None:
    """Bring back an image, a bundle of images, or a container's content.

    \b
    Examples: backupd restore image nginx:latest
              backupd restore container web --at 2026-03-01
              backupd restore image --from backup.tar.zst
    """


def choosing(command: Command) -> Command:
    """The options that choose among backups, and where they go."""
    options: list[Callable[[Command], Command]] = [
        click.option("--at", metavar="TIME", help="The newest backup not after TIME (ISO 8601)."),
        click.option("--id", "backup_id", metavar="ID", help="This backup and no other."),
        click.option("--job", help="A backup of this job."),
        click.option("--host", help="Another machine's backup."),
        click.option(
            "--from",
            "origin",
            metavar="FILE|URL|-",
            help="A bare archive (compressed or not) instead of the store.",
        ),
        click.option(
            "--output",
            metavar="FILE|-",
            help="Write the plain tar there instead of giving it to the engine.",
        ),
        click.option(
            "--docker-host",
            metavar="ADDRESS",
            expose_value=False,
            callback=_remember_engine,
            help="Another engine than the policy's.",
        ),
        click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors."),
        store_options,
        config_option,
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _remember_engine(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.ensure_object(Session).docker_host = value


@restore.command()
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


@restore.command()
@click.argument("names", nargs=-1, metavar="NAME...")
@choosing
@click.pass_obj
def bundle(session: Session, /, names: tuple[str, ...], **options: Any) -> None:
    """Load all images of a bundle (`docker load`).

    \b
    Example: backupd restore bundle webstack
    """
    _restore_images(session, "bundle", names, tag=None, platform=None, **options)


@restore.command()
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
@choosing
@click.pass_obj
def container(session: Session, /, names: tuple[str, ...], **options: Any) -> None:
    """Bring a container's content back as an image that runs as the container did.

    Volumes are not part of an export: what is missing is named before anything is done.

    \b
    Examples: backupd restore container web
              backupd restore container web --via import --change 'CMD ["sh"]' --tag web:again
              backupd restore container --from export.tar --tag web:again
    """
    from backupd.layout import Kind

    _check_container_options(names, options)
    back, quiet = _back(options), options["quiet"]
    if options["origin"] is not None:
        _import_bare(session, options["origin"], options["output"], back, quiet=quiet)
        return
    for catalog, manifest in _choose_all(session, Kind.CONTAINER, names, options):
        if options["output"]:
            _write(session, catalog, manifest, options["output"], tag=None)
        else:
            restored = _restore_container(session, catalog, manifest, back, quiet=quiet)
            _done(manifest, restored, quiet=quiet)


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
    for catalog, manifest in _choose_all(session, Kind(kind_text), names, options):
        if options["output"]:
            _write(session, catalog, manifest, options["output"], tag=tag)
            continue
        for restored in _load(session, catalog, manifest, tag, options):
            _done(manifest, restored, quiet=quiet)


def _choose_all(
    session: Session, kind: Kind, names: Sequence[str], options: dict[str, Any]
) -> list[Chosen]:
    """Every backup that was asked for, all found before the first one is touched."""
    from backupd.verbs.choose import Wish, choose

    if not names and not options["backup_id"]:
        raise click.UsageError(f"Name the {kind} to restore, or give --id or --from.")
    if options["output"] and len(names) > 1:
        raise click.UsageError("--output takes one backup: restore one at a time.")
    at = _moment(session, options["at"])
    host = options["host"] or (session.host if session.optional_policy else None)
    return [
        choose(
            session.store,
            Wish(
                host=host, job=options["job"], kind=kind, name=name, at=at, id=options["backup_id"]
            ),
        )
        for name in _wanted(names, kind)
    ]


def _wanted(names: Sequence[str], kind: Kind) -> list[str | None]:
    """The names asked for; without any, `--id` alone decides."""
    return [_spelled(name, kind) for name in names] or [None]


def _spelled(name: str, kind: Kind) -> str:
    """The name under which an image was backed up: `nginx` is `nginx:latest`."""
    from backupd.layout import Kind
    from backupd.policy import reference as spelling

    if kind is not Kind.IMAGE:
        return name.removeprefix("/")
    reference, at, platform = name.partition("@")
    if at and ":" not in platform:
        return f"{_normalised(reference, spelling.normalise)}@{platform}"
    return _normalised(name, spelling.normalise) or name


def _normalised(text: str | None, normalise: Callable[[str], str]) -> str | None:
    from backupd.errors import UsageError

    try:
        return None if text is None else normalise(text)
    except ValueError as error:
        raise UsageError(f"{text!r} {error}") from error


def _moment(session: Session, text: str | None) -> datetime | None:
    """`--at` as a moment; without an offset it is in the policy's time zone."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError(
            f"--at {text!r} is not a time: write 2026-03-01 or 2026-03-01T12:00"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=session.zone)


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
            say=_say(quiet=options["quiet"]),
            progress=progress,
        )


def _restore_container(
    session: Session, catalog: Catalog, manifest: Manifest, back: Back, *, quiet: bool
) -> Restored:
    from backupd.cli.progress import transfer_bar
    from backupd.verbs.restore_container import restore_container

    label = f"{manifest.kind} {manifest.name}"
    with transfer_bar(label, manifest.archive.size_bytes) as progress:
        return restore_container(
            session.site, catalog, manifest, back, say=_say(quiet=quiet), progress=progress
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


def _load_bare(session: Session, tag: str | None, options: dict[str, Any]) -> None:
    from backupd.verbs.bare import load_bare, write_bare

    if options["output"]:
        write_bare(options["origin"], options["output"], tag=tag)
        return
    say = _say(quiet=options["quiet"])
    names = load_bare(
        session.bare_engine,
        options["origin"],
        tag=tag,
        platform=options.get("platform"),
        say=say,
    )
    if not options["quiet"]:
        for name in names:
            _print(f"restored  image  {name}")


def _import_bare(
    session: Session, origin: str, output: str | None, back: Back, *, quiet: bool
) -> None:
    from backupd.verbs.bare import import_bare, write_bare

    if output:
        write_bare(origin, output, tag=None)
        return
    image_id = import_bare(session.bare_engine, origin, reference=back.tag, options=back.options)
    if not quiet:
        _print(f"restored  container  {back.tag or ''}  {image_id}")


def _write(
    session: Session, catalog: Catalog, manifest: Manifest, output: str, *, tag: str | None
) -> None:
    from backupd.cli.progress import transfer_bar
    from backupd.verbs.output import write_tar
    from backupd.verbs.restore_image import under_its_names
    from backupd.verbs.transfer import received

    with (
        transfer_bar(manifest.name, manifest.archive.size_bytes) as progress,
        received(session.site, catalog, manifest, progress) as chunks,
    ):
        write_tar(under_its_names(chunks, manifest, tag), output)


def _done(manifest: Manifest, restored: Restored, *, quiet: bool) -> None:
    if quiet:
        return
    names = ", ".join(restored.references) or "(no name)"
    how = "restored " if restored.loaded else "was there"
    _print(f"{how} {manifest.kind:<9}  {names}  {restored.image_id}  from backup {manifest.id}")


def _say(*, quiet: bool) -> Callable[[str], None]:
    from backupd.text import shown

    def say(text: str) -> None:
        if text and not quiet:
            click.echo(f"backupd: {shown(text)}", err=True)

    return say


def _print(text: str) -> None:
    from backupd.text import shown

    click.echo(shown(text), file=sys.stdout)
