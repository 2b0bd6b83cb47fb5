"""`backupd notify --test`: do messages reach the people whom the policy names?"""

from __future__ import annotations

import click

from backupd.cli.session import Session, config_option


@click.command()
@click.option("--test", is_flag=True, required=True, help="Send one test message to each address.")
@config_option
@click.pass_obj
def notify(session: Session, *, test: bool) -> None:
    """Send a test message to each address under 'notify' in the policy, and tell who took it.

    The daemon sends the real ones: see docs/telling.md.

    \b
    Example: backupd notify --test
    """
    from backupd.errors import UsageError
    from backupd.telling.message import Voice
    from backupd.telling.notify import Sender

    if session.policy.notify is None:
        raise UsageError("cannot send a test: the policy has no 'notify'; add its urls there")
    sender = Sender(session.policy.notify)
    everyone = range(len(sender.urls))
    causes = sender.send(Voice(session.host, session.zone).trial(), everyone)
    for number in everyone:
        place = sender.place(number)
        if number in causes:
            click.echo(f"backupd: {place}: not sent: {causes[number]}", err=True)
        else:
            click.echo(f"{place}: sent")
    if causes:
        raise click.exceptions.Exit(1)
