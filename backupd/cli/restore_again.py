"""`--run` and `--create` of `backupd restore`: containers made again as they ran."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from backupd.cli.restore_choosing import printed, sayer
from backupd.cli.session import Command, Session

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from backupd.manifest import Manifest
    from backupd.verbs.recreate_from import Stored
    from backupd.verbs.transfer import Progress

_OF_AN_IMAGE = {
    "tag": "--tag",
    "changes": "--change",
    "message": "--message",
    "platform": "--platform",
    "no_config": "--no-config",
    "origin": "--from",
    "output": "--output",
}
_OF_A_CONTAINER = {
    "new_name": "--name",
    "from_image": "--from-image",
    "best_effort": "--best-effort",
    "dry_run": "--dry-run",
}


def again_options(command: Command) -> Command:
    """`--run`, and what goes with it, of `restore container`."""
    options = [
        click.option("--run", is_flag=True, help="Make the container again as it ran; start it."),
        click.option("--create", is_flag=True, help="The same, without starting it."),
        click.option("--name", "new_name", metavar="NEW", help="With --run: another name."),
        *shared_options(),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def shared_options() -> list[Any]:
    """The options that `restore stack` has too."""
    return [
        click.option(
            "--from-image",
            is_flag=True,
            help="Of the image it was made of, without the files it had changed itself.",
        ),
        click.option("--best-effort", is_flag=True, help="Go without what cannot be given back."),
        click.option("--dry-run", is_flag=True, help="Only print what would be made."),
    ]


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]+")
"""As the engine takes it (Docker Engine API, "ContainerCreate")."""


def is_again(names: Sequence[str], options: Mapping[str, Any]) -> bool:
    """Whether containers are to be made again. Raises click's UsageError for idle options."""
    if options["run"] and options["create"]:
        raise click.UsageError("--run starts what --create only makes: choose one of them.")
    if not options["run"] and not options["create"]:
        _refuse(options, _OF_A_CONTAINER, "belongs to --run and --create.")
        return False
    _refuse(options, _OF_AN_IMAGE, "is for an image; --run and --create make the container again.")
    if options["via"] != "load":
        raise click.UsageError("--via is for an image; --run and --create choose it themselves.")
    if options["new_name"] is not None and not _NAME.fullmatch(options["new_name"]):
        raise click.UsageError(
            "--name is not a container's name: use letters, digits, dots, hyphens and underscores."
        )
    if options["new_name"] and len(names) > 1:
        raise click.UsageError("--name names one container: restore one at a time.")
    return True


def _refuse(options: Mapping[str, Any], idle: Mapping[str, str], why: str) -> None:
    for name, option in idle.items():
        if options.get(name):
            raise click.UsageError(f"{option} {why}")


def make_again(session: Session, chosen: Sequence[Stored], options: Mapping[str, Any]) -> None:
    """Plan, and unless that was all that was asked for, do it."""
    from backupd.verbs.recreate import recreate
    from backupd.verbs.recreate_plan import Wish, prepare

    wish = Wish(
        name=options.get("new_name"),
        from_image=options["from_image"],
        best_effort=options["best_effort"],
        start=not options["create"],
    )
    prepared = prepare(session.site, chosen, wish)
    say = sayer(quiet=options["quiet"])
    if options["dry_run"]:
        _print_plan(prepared.told(start=wish.start))
        prepared.require(best_effort=wish.best_effort)
        return
    prepared.require(best_effort=wish.best_effort)
    for line in [*prepared.notes, *(f"left out: {lack}" for lack in prepared.lacks)]:
        say(line)
    for done in recreate(session.site, prepared, start=wish.start, say=say, bar=_bar):
        if not options["quiet"]:
            how = "started  " if done.is_started else "created  "
            printed(f"{how} container  {done.name}  from backup {done.manifest.id}")


def _print_plan(lines: Sequence[str]) -> None:
    for line in lines:
        printed(line)


def _bar(manifest: Manifest) -> AbstractContextManager[Progress]:
    from backupd.cli.progress import transfer_bar

    return transfer_bar(f"{manifest.kind} {manifest.name}", manifest.archive.size_bytes)
