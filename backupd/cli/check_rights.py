"""`backupd check --explain`: which rights the bucket's keys have, and what grants the others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from backupd.cli.session import Session

if TYPE_CHECKING:
    from backupd.verbs.explain import Explanation


def explain_rights(session: Session, *, as_json: bool) -> None:
    """Print which rights the keys have. Raises StoreError when one is missing that is needed."""
    from backupd.verbs.explain import explain

    found = explain(session.policy, session.host)
    if as_json:
        click.echo(json.dumps(_rights_report(session, found), indent=2))
    else:
        _print_rights(session, found)
    tell_left(found.left)
    if found.missing:
        from backupd.errors import StoreError

        url = session.policy.store.url
        raise StoreError(f"the keys of {url} lack {', '.join(found.missing)}; grant it as shown")


def tell_left(left: tuple[str, ...]) -> None:
    """Warn of what a trial wrote and could not remove."""
    from backupd.cli.session import warn

    for key in left:
        warn(f"{key} could not be removed again: these keys may not, or the server failed")


def _rights_report(session: Session, found: Explanation) -> dict[str, Any]:
    return {
        "host": session.host,
        "store": session.policy.store.url,
        "rights": [
            {
                "act": row.tried.act,
                "right": row.tried.action,
                "answer": str(row.tried.answer),
                "needed": row.is_needed,
                "needed_for": row.use,
                "cause": row.tried.cause,
            }
            for row in found.rows
        ],
        "missing": found.missing,
        "statements": list(found.statements),
        "left": list(found.left),
    }


def _print_rights(session: Session, found: Explanation) -> None:
    from backupd.cli.table import print_table

    click.echo(f"store    {session.policy.store.url}")
    click.echo(f"host     {session.host}\n")
    rows = [
        [
            row.tried.act,
            row.tried.action,
            str(row.tried.answer),
            row.use if row.is_needed else f"only for {row.use}",
        ]
        for row in found.rows
    ]
    print_table(["REQUEST", "RIGHT", "ANSWER", "NEEDED FOR"], rows)
    for row in found.rows:
        if row.tried.answer == "cannot tell":
            click.echo(f"\n{row.tried.act}: {_shown(row.tried.cause)}")
    if found.statements:
        click.echo("\nAdd to the policy of these keys:")
        click.echo(json.dumps(list(found.statements), indent=2))


def _shown(text: str) -> str:
    from backupd.text import shown

    return shown(text)
