"""One way to print a table, by `rich`: plain columns, whole lines where nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from backupd.text import shown

_WIDE = 400


def print_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], *, heads_shown: bool = True
) -> None:
    """Print rows under their heads; a head that begins with `>` aligns its column to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=heads_shown)
    for head in heads:
        right = head.startswith(">")
        table.add_column(head.removeprefix(">"), justify="right" if right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(shown(cell)) for cell in row))
    # In a pipe every line must be whole, for grep and awk.
    width = None if sys.stdout.isatty() else _WIDE
    Console(width=width, soft_wrap=False, highlight=False).print(table)
