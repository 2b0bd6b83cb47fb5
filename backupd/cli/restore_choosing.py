"""What all of `backupd restore` shares: which backups are meant, where they go, what is said."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from backupd.cli.identity import identity_option
from backupd.cli.session import Command, Session, config_option, store_options

if TYPE_CHECKING:
    from backupd.catalog import Catalog
    from backupd.layout import Kind
    from backupd.manifest import Manifest
    from backupd.verbs.restore_image import Restored

Chosen = tuple["Catalog", "Manifest"]


def choosing(command: Command) -> Command:
    """The options that choose among backups, and where they go."""
    origin = click.option(
        "--from",
        "origin",
        metavar="FILE|URL|-",
        help="A bare archive (compressed or not) instead of the store.",
    )
    return origin(choosing_stored(command))


def choosing_stored(command: Command) -> Command:
    """The same for what comes out of the store alone: without --from."""
    options: list[Callable[[Command], Command]] = [
        click.option("--id", "backup_id", metavar="ID", help="This backup and no other."),
        click.option("--job", help="A backup of this job."),
        click.option(
            "--output",
            metavar="FILE|-",
            help="Write the plain tar there instead of giving it to the engine.",
        ),
    ]
    return choosing_moment(options)(command)


def choosing_moment(
    more: Sequence[Callable[[Command], Command]],
) -> Callable[[Command], Command]:
    """The options that choose a host and a moment, and `more` of them."""
    options: list[Callable[[Command], Command]] = [
        click.option("--at", metavar="TIME", help="The newest backup not after TIME (ISO 8601)."),
        click.option("--host", help="Another machine's backup."),
        *more,
        click.option(
            "--docker-host",
            metavar="ADDRESS",
            expose_value=False,
            callback=_remember_engine,
            help="Another engine than the policy's.",
        ),
        click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors."),
        identity_option,
        store_options,
        config_option,
    ]

    def decorated(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorated


def _remember_engine(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.ensure_object(Session).docker_host = value


def choose_all(
    session: Session, kind: Kind, names: Sequence[str], options: dict[str, Any]
) -> list[Chosen]:
    """Every backup that was asked for, all found, and their keys, before one is touched."""
    from backupd.verbs.choose import Wish, choose
    from backupd.verbs.sealing import require_key

    if not names and not options["backup_id"]:
        raise click.UsageError(f"Name the {kind} to restore, or give --id or --from.")
    if options["output"] and len(names) > 1:
        raise click.UsageError("--output takes one backup: restore one at a time.")
    at = moment_of(session, options["at"])
    host = options["host"] or (session.host if session.optional_policy else None)
    chosen = [
        choose(
            session.store,
            Wish(
                host=host, job=options["job"], kind=kind, name=name, at=at, id=options["backup_id"]
            ),
            datetime.now(UTC),
        )
        for name in _wanted(names, kind)
    ]
    for catalog, manifest in chosen:
        require_key(catalog, manifest, session.identities)
    return chosen


def _wanted(names: Sequence[str], kind: Kind) -> list[str | None]:
    """The names asked for; without any, `--id` alone decides."""
    return [_spelled(name, kind) for name in names] or [None]


def _spelled(name: str, kind: Kind) -> str:
    """The name under which an image was backed up: `nginx` is `nginx:latest`."""
    from backupd.layout import Kind
    from backupd.policy import reference as spelling

    if kind is Kind.VOLUME:  # or a directory of the host
        return name.rstrip("/") or name
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


def moment_of(session: Session, text: str | None) -> datetime | None:
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


def write_out(
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


def report_image(manifest: Manifest, restored: Restored, *, quiet: bool) -> None:
    if quiet:
        return
    names = ", ".join(restored.references) or "(no name)"
    how = "restored " if restored.loaded else "was there"
    printed(f"{how} {manifest.kind:<9}  {names}  {restored.image_id}  from backup {manifest.id}")


def sayer(*, quiet: bool) -> Callable[[str], None]:
    from backupd.text import shown

    def say(text: str) -> None:
        if text and not quiet:
            click.echo(f"backupd: {shown(text)}", err=True)

    return say


def printed(text: str) -> None:
    from backupd.text import shown

    click.echo(shown(text), file=sys.stdout)
