"""`--identity`: the private keys that open encrypted backups, and the passphrase of such a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backupd.cli.session import Command, Session

if TYPE_CHECKING:
    from backupd.age_keys import Identities
    from backupd.policy import Policy


def identity_option(command: Command) -> Command:
    """`--identity`, as often as there are keys."""
    return click.option(
        "--identity",
        metavar="FILE",
        multiple=True,
        expose_value=False,
        callback=_remember,
        help="Private key that opens encrypted backups, of age or ssh: a file, or ${credential:…}.",
    )(command)


def _remember(context: click.Context, _: click.Parameter, value: tuple[str, ...]) -> None:
    context.ensure_object(Session).identity_options += value


def named_identities(named: Sequence[str], policy: Policy | None) -> Identities:
    """What `--identity` named, then the policy's own identity. Raises UsageError."""
    secret = policy.identity if policy else None
    if not named and secret is None:
        from backupd.age_keys import Identities

        return Identities()
    from backupd.age_keys import Identities, identities_of

    found = Identities()
    for text in named:
        found += _named(text)
    return found + identities_of(secret.get_secret_value().encode()) if secret else found


def _named(text: str) -> Identities:
    from backupd.age_keys import identities_of, is_private
    from backupd.config.references import BadReferenceError, read_secret
    from backupd.errors import UsageError

    if is_private(text):
        raise UsageError(
            "cannot use the identity: --identity takes the name of a file, not the key itself, "
            "which every process of this machine could read among the arguments"
        )
    try:
        return identities_of(read_secret(text, environ=os.environ), passphrase=_asking(text))
    except (BadReferenceError, ValueError) as error:
        raise UsageError(f"cannot use the identity: {text!r} {error}") from None


def _asking(text: str) -> Callable[[], str]:
    """Asks a person at the terminal, wherever standard input comes from."""
    from backupd.errors import UsageError

    def ask() -> str:
        with suppress(OSError):
            os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
            prompt = f"passphrase of {Path(text).name}"
            return str(click.prompt(prompt, hide_input=True, err=True))
        raise UsageError(
            f"cannot use the identity: {text!r} is protected by a passphrase, and there is no "
            "terminal to type it at; take it off where only you can read the result: age -d FILE"
        )

    return ask
