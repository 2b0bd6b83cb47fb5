"""`backupd restore stack`: bring all containers of a Compose project back."""

from __future__ import annotations

from typing import Any

import click

from backupd.cli.restore_again import make_again, shared_options
from backupd.cli.restore_choosing import choosing_moment, moment_of, sayer
from backupd.cli.session import Session


@click.command()
@click.argument("project")
@click.option("--create", is_flag=True, help="Make the containers without starting them.")
@choosing_moment(shared_options())
@click.pass_obj
def stack(session: Session, /, project: str, **options: Any) -> None:
    """Bring a Compose project back: its containers, networks and volumes, of one moment.

    Containers start in the order of their depends_on. What cannot be given back is told before
    anything is made, and stops it unless --best-effort.

    \b
    Examples: backupd restore stack shop --dry-run
              backupd restore stack shop --at 2026-03-01 --docker-host ssh://root@new
    """
    from backupd.catalog import Catalog
    from backupd.verbs.choose import only_host
    from backupd.verbs.restore_stack import stack_of

    asked = options["host"] or (session.host if session.optional_policy else None)
    catalog = Catalog(session.store, only_host(session.store, asked))
    at = moment_of(session, options["at"])
    say = sayer(quiet=options["quiet"])
    make_again(session, stack_of(catalog, project, at=at, say=say), options)
