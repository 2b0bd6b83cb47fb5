"""How a run looks while it runs: live bars for a person who watches, plain lines otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from backupd.cli.session import is_terminal
from backupd.text import shown, size, span

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from backupd.layout import Kind
    from backupd.verbs.backup import Outcome, Task
    from backupd.verbs.transfer import Progress as Told


class Lines:
    """The report of a run as lines: what is said stays, one line for each source."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet

    def begin(self, task: Task) -> Told:
        """Nothing is printed while bytes flow."""
        return lambda _: None

    def end(self, outcome: Outcome) -> None:
        """One line for the source's outcome: standard output, failures on standard error too."""
        if not self._quiet:
            self.say(outcome_line(outcome))
        if outcome.error is not None:
            notes = getattr(outcome.error, "__notes__", ())
            for text in (str(outcome.error), *notes):
                self.note(f"{outcome.kind} {outcome.name}: {text}")
        for text in outcome.manifest.warnings if outcome.manifest else ():
            self.note(f"warning: {outcome.kind} {outcome.name}: {text}")

    def say(self, text: str) -> None:
        """A line of the result."""
        click.echo(shown(text))

    def note(self, text: str) -> None:
        """A line for what a person should know."""
        click.echo(f"backupd: {shown(text)}", err=True)


class Live(Lines):
    """The same, with a bar for each source that is being read."""

    def __init__(self, bars: Progress, *, quiet: bool) -> None:
        super().__init__(quiet=quiet)
        self._bars = bars
        self._bar_of: dict[tuple[str, Kind, str], TaskID] = {}

    def begin(self, task: Task) -> Told:
        """A bar without an end: how large a tar will be is known only when it is over."""
        source = task.source
        bar = self._bars.add_task(shown(f"{source.kind} {source.name}"), total=None)
        self._bar_of[task.job, source.kind, source.name] = bar
        return lambda done: self._bars.update(bar, completed=done)

    def end(self, outcome: Outcome) -> None:
        """The bar goes, the line stays."""
        bar = self._bar_of.pop((outcome.job, outcome.kind, outcome.name), None)
        if bar is not None:  # none for a source that never had its turn
            self._bars.remove_task(bar)
        super().end(outcome)

    def say(self, text: str) -> None:
        """A line above the bars."""
        self._bars.console.print(shown(text), markup=False, highlight=False)

    def note(self, text: str) -> None:
        """A line above the bars."""
        self._bars.console.print(f"backupd: {shown(text)}", markup=False, highlight=False)


@contextmanager
def reporting(*, quiet: bool = False) -> Iterator[Lines]:
    """The report that fits whoever watches standard error."""
    if not is_terminal():
        yield Lines(quiet=quiet)
        return
    with _bars() as bars:
        yield Live(bars, quiet=quiet)


@contextmanager
def transfer_bar(label: str, total_bytes: int | None) -> Iterator[Told]:
    """A bar for one transfer, or silence where nobody watches."""
    if not is_terminal():
        yield lambda _: None
        return
    with _bars() as bars:
        bar = bars.add_task(shown(label), total=total_bytes)
        yield lambda done: bars.update(bar, completed=done)


def _bars() -> Any:
    from rich.console import Console
    from rich.progress import (
        DownloadColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TransferSpeedColumn,
    )

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def outcome_line(outcome: Outcome) -> str:
    """`saved  image  web:1.4  3f2ab91c04d7  12.3 MB → 4.1 MB (3.0x) in 0.8 s`."""
    manifest = outcome.manifest
    what = f"{outcome.kind:<9}  {outcome.name}"
    if manifest is None:
        return f"FAILED    {what}"
    if manifest.reused:
        return f"unchanged {what}  {manifest.id}  in {span(outcome.duration)}"
    archive = manifest.archive
    ratio = archive.size_bytes / max(1, archive.stored_bytes)
    return (
        f"saved     {what}  {manifest.id}  {size(archive.size_bytes)} → "
        f"{size(archive.stored_bytes)} ({ratio:.1f}x) in {span(outcome.duration)}"
    )
