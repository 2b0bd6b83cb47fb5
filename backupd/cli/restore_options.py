"""What the options of `backupd restore` may not be: no option silently does nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from backupd.errors import UsageError

_OF_A_STORE = {"at": "--at", "backup_id": "--id", "job": "--job", "host": "--host"}
_OF_AN_ENGINE = {
    "platform": "--platform",
    "message": "--message",
    "changes": "--change",
    "no_config": "--no-config",
}


def refuse_idle(options: Mapping[str, Any]) -> None:
    """Raise click's UsageError for an option that has no meaning beside --from or --output."""
    if options["origin"] is not None:
        _refuse(options, _OF_A_STORE, "chooses among the backups of a store; --from has none.")
    if options["output"]:
        _refuse(options, _OF_AN_ENGINE, "is for an engine; --output only writes the tar.")


def _refuse(options: Mapping[str, Any], idle: Mapping[str, str], why: str) -> None:
    for name, option in idle.items():
        if options.get(name):
            raise click.UsageError(f"{option} {why}")


def image_name(text: str | None) -> str | None:
    """`--tag` in full, such as `app:latest` for `app`. Raises UsageError for what is no tag."""
    from backupd.policy import reference as spelling

    try:
        name = None if text is None else spelling.normalise(text)
    except ValueError as error:
        raise UsageError(f"{text!r} {error}") from error
    if name is not None and ("@" in name or name.startswith("sha256:")):
        raise UsageError(
            f"{text!r} is an image's id or digest, which no tag can be; write name:tag"
        )
    return name
