"""`backupd verify`: prove that backups can be read back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from backupd.cli.identity import identity_option
from backupd.cli.session import Session, config_option, store_options

if TYPE_CHECKING:
    from backupd.layout import BackupKey
    from backupd.proof import Depth
    from backupd.verbs.examine import Finding
    from backupd.verbs.verify import Audience


@click.command()
@click.argument("wanted", nargs=-1, metavar="[ID|SOURCE]...")
@click.option("--all", "everything", is_flag=True, help="Every backup; so it is without a name.")
@click.option("--data", is_flag=True, help="Read every byte, and walk the tar inside.")
@click.option("--sample", metavar="SHARE", help="Such as 10%: the archives unproven for longest.")
@click.option("--host", help="Another host's backups; '*' for every host's.")
@click.option("--json", "as_json", is_flag=True, help="An array of objects, oldest first.")
@click.option("-q", "--quiet", is_flag=True, help="Print only what is wrong.")
@identity_option
@store_options
@config_option
@click.pass_obj
def verify(session: Session, /, wanted: tuple[str, ...], **options: Any) -> None:
    """Check backups against what is in the store; with --data, read them whole.

    What is found is kept beside each backup of this host: `checked`, `verified` or `damaged`. Exit
    code 6 if any is damaged. Of encrypted ones the tar inside is looked at with --identity alone;
    without it, --data leaves them `sealed`: their stored bytes are right.

    \b
    Examples: backupd verify
              backupd verify web 3f2ab91c --data
              backupd verify --data --sample 10%
              backupd verify web --data --identity /media/stick/backups.key
    """
    from backupd.proof import Depth

    if session.identity_options and not options["data"]:
        raise click.UsageError("--identity is for --data: without it nothing encrypted is opened.")
    if wanted and options["everything"]:
        raise click.UsageError("--all means every backup: name none.")
    percent = _percent(options["sample"])
    depth = Depth.DATA if options["data"] else Depth.OBJECTS
    backups = _chosen(session, wanted, options["host"])
    findings = _verify_all(session, backups, depth, percent, options)
    if options["as_json"]:
        click.echo(json.dumps([_row(finding) for finding in findings], indent=2))
    quiet = options["quiet"] or options["as_json"]
    _leave(findings, depth, quiet=quiet, has_keys=bool(session.identities))


def _verify_all(
    session: Session,
    backups: Sequence[BackupKey],
    depth: Depth,
    percent: int,
    options: dict[str, Any],
) -> list[Finding]:
    """Host by host, since each has a part of the store of its own."""
    from backupd.catalog import Catalog
    from backupd.verbs.verify import sampled, verify

    findings: list[Finding] = []
    is_silent = options["quiet"] or options["as_json"]
    for host in dict.fromkeys(backup.host for backup in backups):
        catalog = Catalog(session.store, host)
        of_host = [backup for backup in backups if backup.host == host]
        share = sampled(catalog, of_host, percent, depth)
        with _audience(is_silent=is_silent, has_keys=bool(session.identities)) as audience:
            findings += verify(session.site, catalog, share, depth, audience)
    return findings


def _chosen(session: Session, wanted: Sequence[str], host: str | None) -> list[BackupKey]:
    """The backups that are meant, oldest first. Raises NotFound, UsageError."""
    from backupd.errors import NotFound
    from backupd.verbs.choose import Wish, matching

    mine = session.host if session.optional_policy else None
    backups = matching(session.store, Wish(host=host or mine))
    if not backups:
        raise NotFound(f"cannot find any backup to verify in {session.store.url}")
    if not wanted:
        return backups
    meant = {backup.key for text in wanted for backup in _named(backups, text)}
    return [backup for backup in backups if backup.key in meant]


def _named(backups: Sequence[BackupKey], text: str) -> list[BackupKey]:
    """All backups of the source of this name, else the one whose id begins so."""
    from backupd.errors import NotFound, UsageError
    from backupd.layout import segment
    from backupd.verbs.choose import spellings

    segments = {segment(name) for name in spellings(text)}
    found = [backup for backup in backups if backup.folder.split("/")[4] in segments]
    if found:
        return found
    found = [backup for backup in backups if backup.id.startswith(text)]
    if not found:
        raise NotFound(
            f"cannot find {text!r}: neither a source nor the id of a backup; `backupd list` shows "
            "what there is"
        )
    if len({backup.id for backup in found}) > 1:
        raise UsageError(f"cannot tell which backup {text!r} is: several begin so; write more")
    return found


def _percent(text: str | None) -> int:
    """The share that `10%` or `10` is; all without one. Raises UsageError."""
    from pydantic import ValidationError

    from backupd.errors import UsageError
    from backupd.policy import Verify

    if text is None:
        return 100
    try:
        return Verify(sample=int(text) if text.isdecimal() else text).sample  # type: ignore[arg-type]
    except ValidationError as error:
        cause = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise UsageError(f"--sample {text!r} {cause}") from error


@contextmanager
def _audience(*, is_silent: bool, has_keys: bool) -> Iterator[Audience]:
    """Tells a person: a line for each backup, what is wrong on standard error."""
    from backupd.cli.progress import transfer_bar
    from backupd.cli.session import warn
    from backupd.text import shown
    from backupd.verbs.examine import Verdict
    from backupd.verbs.verify import Audience

    def end(finding: Finding) -> None:
        backup, bad = finding.backup, finding.verdict in (Verdict.DAMAGED, Verdict.UNREAD)
        if not is_silent:
            word = finding.verdict.value.upper() if bad else finding.verdict.value
            click.echo(f"{word:<8}  {backup.id}  {backup.kind:<9}  {shown(backup.name)}")
        if finding.cause and (bad or has_keys):
            click.echo(f"backupd: {shown(finding.cause)}", err=True)

    with transfer_bar("reading", None) as progress:
        yield Audience(lambda _: progress, end, lambda text: warn(text.removeprefix("warning: ")))


def _row(finding: Finding) -> dict[str, Any]:
    backup = finding.backup
    return {
        "id": backup.id,
        "host": backup.host,
        "job": backup.job,
        "kind": str(backup.kind),
        "name": backup.name,
        "verdict": finding.verdict.value,
        "cause": finding.cause or None,
        "read_bytes": finding.read_bytes,
    }


def _leave(findings: list[Finding], depth: Depth, *, quiet: bool, has_keys: bool) -> None:
    """The summary, and the exit code: damaged before out of reach, before keys that do not fit."""
    from backupd.cli.main import exit_code
    from backupd.errors import DamagedBackup, NoKey
    from backupd.verbs.verify import damaged, sealed, unread
    from backupd.verbs.verifying import summary

    if not quiet:
        click.echo(summary(findings, depth))
    if damaged(findings):
        raise click.exceptions.Exit(exit_code(DamagedBackup()))
    if unread(findings):
        raise click.exceptions.Exit(1)
    if has_keys and sealed(findings):
        raise click.exceptions.Exit(exit_code(NoKey()))
