"""`backupd drill`: try out that what is backed up would run again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from backupd.cli.identity import identity_option
from backupd.cli.session import Session, config_option, warn

if TYPE_CHECKING:
    from backupd.layout import BackupKey
    from backupd.verbs.drill import Audience, Result


@click.command()
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@click.option("--keep", is_flag=True, help="Leave what is made on the engine, and name it.")
@click.option("--json", "as_json", is_flag=True, help="An array of objects.")
@click.option("-q", "--quiet", is_flag=True, help="Print only what did not come up.")
@identity_option
@config_option
@click.pass_obj
def drill(session: Session, /, sources: tuple[str, ...], **options: Any) -> None:
    """Restore the newest backup of each source under another name, and see whether it works.

    Containers are started, away from everything else, and have to come up. Everything that is made
    is removed again. Without a name: those of `drill.sources` in the policy, else all. Exit code 1
    if any failed, 6 if any is damaged, 8 if one that was named cannot be drilled.

    \b
    Examples: backupd drill
              backupd drill web pgdata
              backupd drill web --keep
              backupd drill web --identity backups.key
    """
    from backupd.verbs.drill import drill

    chosen = _chosen(session, sources)
    is_silent = options["quiet"] or options["as_json"]
    with _audience(is_silent=is_silent) as audience:
        results = drill(session.site, chosen, session.policy.drill, audience, keep=options["keep"])
    if options["as_json"]:
        click.echo(json.dumps([_row(result) for result in results], indent=2))
    _leave(results, is_named=bool(sources), is_silent=is_silent)


def _chosen(session: Session, sources: Sequence[str]) -> list[BackupKey]:
    """The newest backups of what is meant. Raises NotFound."""
    from backupd.errors import NotFound
    from backupd.layout import segment
    from backupd.verbs.choose import spellings
    from backupd.verbs.drill import meant as of_policy
    from backupd.verbs.drill import newest_of_each

    every = newest_of_each(session.site.catalog.backups())
    if not sources:
        found, unknown = of_policy(session.policy.drill, every)
        for name in unknown:
            warn(f"drill.sources: {name!r} means no source that has a backup")
        if not found:
            raise NotFound(f"cannot find any backup to drill in {session.store.url}")
        return found
    meant: set[str] = set()
    for text in sources:
        segments = {segment(name) for name in spellings(text)}
        keys = {backup.key for backup in every if backup.folder.split("/")[4] in segments}
        if not keys:
            raise NotFound(f"cannot find a backup of {text!r}; `backupd list` shows what there is")
        meant |= keys
    return [backup for backup in every if backup.key in meant]


@contextmanager
def _audience(*, is_silent: bool) -> Iterator[Audience]:
    """Tells a person: a line for each source, what did not come up on standard error."""
    from backupd.cli.progress import transfer_bar
    from backupd.text import shown
    from backupd.verbs.drill import Audience, Verdict

    def end(result: Result) -> None:
        if result.verdict is not Verdict.PROVEN:
            click.echo(f"backupd: {shown(result.sentence)}", err=True)
        elif not is_silent:
            click.echo(shown(result.sentence))
        for thing in result.kept:
            click.echo(f"kept: {shown(thing)}", err=is_silent)

    with transfer_bar("restoring", None) as progress:
        yield Audience(lambda _: progress, end, lambda text: warn(text.removeprefix("warning: ")))


def _row(result: Result) -> dict[str, Any]:
    backup = result.backup
    return {
        "id": backup.id,
        "host": backup.host,
        "job": backup.job,
        "kind": str(backup.kind),
        "name": backup.name,
        "verdict": result.verdict.value,
        "words": result.words,
        "kept": list(result.kept),
    }


def _leave(results: Sequence[Result], *, is_named: bool, is_silent: bool) -> None:
    """The summary, and the exit code: damaged before failed."""
    from backupd.cli.main import exit_code
    from backupd.errors import DamagedBackup, NotRestorable
    from backupd.verbs.drill import Verdict
    from backupd.verbs.drilling import summary

    if not is_silent:
        click.echo(summary(results))
    verdicts = {result.verdict for result in results}
    if Verdict.DAMAGED in verdicts:
        raise click.exceptions.Exit(exit_code(DamagedBackup()))
    if Verdict.FAILED in verdicts:
        raise click.exceptions.Exit(1)
    if Verdict.REFUSED in verdicts and is_named:
        raise click.exceptions.Exit(exit_code(NotRestorable()))
