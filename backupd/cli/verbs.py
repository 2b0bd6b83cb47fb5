"""The verbs of the command line, each imported when it is called: `--help` shows them all at once.

Importing every verb takes longer than the rest of `backupd --help`. What stands in for one here is
its name and its first sentence, which a test compares with the verb's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


class Verb(click.Command):
    """Stands in for a command until somebody calls it, or asks for its help."""

    def __init__(self, load: Callable[[], click.Command]) -> None:
        name = load.__name__.strip("_").replace("_", "-")
        super().__init__(name, help=load.__doc__)
        self.load = load

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """The context of the command itself: click goes on with that one."""
        from backupd.log import quieten_libraries

        quieten_libraries()
        return self.load().make_context(info_name, args, parent, **extra)


@Verb
def adopt() -> click.Command:
    """Let this machine write below its host name's prefix from now on."""
    from backupd.cli.adopt import adopt

    return adopt


@Verb
def rename_job() -> click.Command:
    """Give the backups of job OLD to job NEW, so that its retention rules go on with them."""
    from backupd.cli.adopt import rename_job

    return rename_job


@Verb
def backup() -> click.Command:
    """Back up now: all jobs, the named jobs, or the named sources of any job."""
    from backupd.cli.backup import backup

    return backup


@Verb
def check() -> click.Command:
    """Check the policy, the engine and the store, and show what each job would select now."""
    from backupd.cli.check import check

    return check


@Verb
def daemon() -> click.Command:
    """Run the policy's jobs by their schedules, until told to stop."""
    from backupd.cli.daemon import daemon

    return daemon


@Verb
def drill() -> click.Command:
    """Restore the newest backup of each source under another name, and see whether it works."""
    from backupd.cli.drill import drill

    return drill


@Verb
def forget() -> click.Command:
    """Remove single backups of this host, whatever the retention rules say."""
    from backupd.cli.forget import forget

    return forget


@Verb
def pin() -> click.Command:
    """Keep backups for good: no rule removes them until they are unpinned."""
    from backupd.cli.forget import pin

    return pin


@Verb
def unpin() -> click.Command:
    """Let the retention rules decide about pinned backups again."""
    from backupd.cli.forget import unpin

    return unpin


@Verb
def history() -> click.Command:
    """Show the runs of all jobs, or of JOB, the newest first."""
    from backupd.cli.history import history

    return history


@Verb
def iam_policy() -> click.Command:
    """Print the least rights that this policy needs in its bucket, as AWS takes them."""
    from backupd.cli.iam_policy import iam_policy

    return iam_policy


@Verb
def install() -> click.Command:
    """Set backupd up as a service: unit, user, first policy, schema, completions."""
    from backupd.cli.install import install

    return install


@Verb
def uninstall() -> click.Command:
    """Stop the service and remove what install put; policy, state and backups stay."""
    from backupd.cli.install import uninstall

    return uninstall


@Verb
def list_() -> click.Command:
    """List the backups in the store, oldest first."""
    from backupd.cli.list import list_backups

    return list_backups


@Verb
def next_() -> click.Command:
    """Show the coming runs of the policy's jobs, by their schedules."""
    from backupd.cli.next import next_runs

    return next_runs


@Verb
def notify() -> click.Command:
    """Send a test message to each address under 'notify' in the policy, and tell who took it."""
    from backupd.cli.notify import notify

    return notify


@Verb
def prune() -> click.Command:
    """Remove old backups by the retention rules of the policy."""
    from backupd.cli.prune import prune

    return prune


@Verb
def restore() -> click.Command:
    """Bring back an image, a bundle of images, a container, a volume, or a Compose project."""
    from backupd.cli.restore import restore

    return restore


@Verb
def schema() -> click.Command:
    """Print the JSON Schema of the policy file."""
    from backupd.cli.schema import schema

    return schema


@Verb
def show() -> click.Command:
    """Show one backup's manifest; the first digits of its ID are enough."""
    from backupd.cli.show import show

    return show


@Verb
def status() -> click.Command:
    """Show how every job stands: its last run, last success, next run, and what runs now."""
    from backupd.cli.status import status

    return status


@Verb
def verify() -> click.Command:
    """Check backups against what is in the store; with --data, read them whole."""
    from backupd.cli.verify import verify

    return verify


VERBS = (
    adopt,
    rename_job,
    backup,
    check,
    daemon,
    drill,
    forget,
    pin,
    unpin,
    history,
    iam_policy,
    install,
    uninstall,
    list_,
    next_,
    notify,
    prune,
    restore,
    schema,
    show,
    status,
    verify,
)
