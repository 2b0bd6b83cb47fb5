"""`backupd install` and `backupd uninstall`: backupd as a service of systemd."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import ShellComplete, get_completion_class

from backupd.cli.session import warn

if TYPE_CHECKING:
    from collections.abc import Callable

    from backupd.verbs.place import Step, Target

_DRY_RUN = click.option("-n", "--dry-run", is_flag=True, help="Say what would be done; do nothing.")
_ROOT = click.option(
    "--root",
    type=click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True),
    default=Path("/"),
    metavar="DIR",
    help="Root directory of another system, such as a mounted image; default: this one.",
)


@click.command()
@_DRY_RUN
@_ROOT
@click.pass_context
def install(context: click.Context, *, dry_run: bool, root: Path) -> None:
    """Set backupd up as a service: unit, user, first policy, schema, completions.

    To be run as root, from a virtual environment that a service can see, such as /opt/backupd. It
    may be repeated, and must be after an upgrade. A policy that is there already stays as it is.

    \b
    Examples: backupd install --dry-run
              sudo /opt/backupd/bin/backupd install
    """
    from backupd.verbs.install import install as put_in_place
    from backupd.verbs.place import Target
    from backupd.verbs.program import Program

    target = Target(root, dry_run)
    completions = _completions(context.find_root().command)
    for remark in put_in_place(target, Program.running(), completions, _teller(target)):
        warn(remark)
    _say_what_next(target)


@click.command()
@_DRY_RUN
@_ROOT
def uninstall(*, dry_run: bool, root: Path) -> None:
    """Stop the service and remove what install put; policy, state and backups stay.

    \b
    Example: sudo backupd uninstall
    """
    from backupd.verbs.install import uninstall as take_away
    from backupd.verbs.place import Target
    from backupd.verbs.program import Program

    target = Target(root, dry_run)
    for remark in take_away(target, Program.running(), _teller(target)):
        click.echo(remark)


def _teller(target: Target) -> Callable[[Step], None]:
    """One line for each step, in the conditional where nothing is done."""
    from backupd.text import shown
    from backupd.verbs.place import Act

    def tell(step: Step) -> None:
        acts = step.act not in {Act.SAME, Act.KEPT}
        act = f"would be {step.act}" if target.dry_run and acts else str(step.act)
        click.echo(f"{act:<9}  {shown(str(step.path))}  {step.what}")

    return tell


def _say_what_next(target: Target) -> None:
    """The two commands that make it run."""
    from backupd import systemd
    from backupd.verbs.install import POLICY

    runs = target.is_this_machine and systemd.is_running() and systemd.is_active()
    start = "systemctl restart backupd" if runs else "systemctl enable --now backupd"
    click.echo(f"\nNext, with {POLICY} as you want it:")
    click.echo("  backupd check")
    click.echo(f"  {start}")


def _completions(command: click.Command) -> dict[str, str]:
    """click's own script for each shell."""
    scripts = {}
    for shell in ("bash", "zsh", "fish"):
        kind = get_completion_class(shell)
        if kind is not None:
            # Not bash's own `source`, which first runs bash to learn its version.
            scripts[shell] = ShellComplete.source(kind(command, {}, "backupd", "_BACKUPD_COMPLETE"))
    return scripts
