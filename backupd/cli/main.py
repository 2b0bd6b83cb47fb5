"""The command `backupd`: its verbs, and which exit code each error becomes."""

from __future__ import annotations

import signal
import sys
from types import FrameType

import click

from backupd import __version__, core_dumps, errors
from backupd.cli.session import Session, config_option
from backupd.cli.verbs import VERBS

EXIT_CODES: tuple[tuple[type[errors.BackupdError], int], ...] = (
    (errors.UsageError, 2),
    (errors.EngineError, 3),
    (errors.ArchiveBroken, 3),
    (errors.StoreError, 4),
    (errors.NotFound, 5),
    (errors.DamagedBackup, 6),
    (errors.AlreadyRunning, 7),
    (errors.NotRestorable, 8),
)
"""The first row that an error is an instance of decides; 1 is left for sources that failed."""

EPILOG = """Exit codes: 0 all good, 1 some sources failed, 2 usage, policy or key, 3 engine,
4 store, 5 not found, 6 damaged backup, 7 already running, 8 cannot be given back as it was."""


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EPILOG,
)
@click.version_option(__version__, prog_name="backupd")
@config_option
@click.pass_context
def cli(context: click.Context) -> None:
    """Back up Docker images and containers by one YAML policy, and bring them back.

    \b
    Example: backupd check && backupd backup && backupd list
    """
    context.call_on_close(context.ensure_object(Session).close)


for _verb in VERBS:
    cli.add_command(_verb)


def exit_code(error: errors.BackupdError) -> int:
    """The documented exit code for an error."""
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 1)


def main() -> None:
    """Run the command line and leave with its exit code; the entry point of the package."""
    core_dumps.forbid()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        # Outside standalone mode click returns the code of an Exit instead of raising it.
        code = cli.main(prog_name="backupd", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("backupd: stopped before the end", err=True)
        sys.exit(130)
    except errors.BackupdError as error:
        from backupd.text import shown

        notes = [str(note) for note in getattr(error, "__notes__", ())]
        for line in "\n".join([str(error), *notes]).splitlines():
            click.echo(f"backupd: {shown(line)}", err=True)
        sys.exit(exit_code(error))
    except BrokenPipeError:
        # The reader of our output went away (`backupd list | head`); nothing is left to say to it.
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        sys.exit(_told(error))
    except Exception as error:
        _tell_fault(error)
        sys.exit(1)


def _told(error: OSError) -> int:
    """Say what this machine has no more of, and the exit code; anything else is a fault."""
    from backupd.shortage import remedy

    step = remedy(error)
    if step is None:
        _tell_fault(error)
        return 1
    where = f" ({error.filename})" if error.filename else ""
    click.echo(f"backupd: cannot go on: {error.strerror}{where}; {step}", err=True)
    return 2


def _tell_fault(error: Exception) -> None:
    """Show where backupd itself is wrong; no line forges another, no address tells its secret."""
    import traceback

    from backupd.redaction import redacted
    from backupd.text import shown

    for line in "".join(traceback.format_exception(error)).splitlines():
        click.echo(shown(redacted(line)), err=True)
    click.echo("backupd: a fault of backupd itself; please report what stands above", err=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Stop as on Ctrl-C, so that containers go on and uploads are aborted."""
    raise KeyboardInterrupt
