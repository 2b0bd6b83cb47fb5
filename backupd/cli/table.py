"""One way to print a table: by `rich` for whoever watches, in whole plain lines for all else."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import repeat

from backupd.text import shown

_MANY = 1_000
"""Rows that nobody reads on a screen; rich takes half a millisecond and 8 KiB for each."""


def print_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], *, heads_shown: bool = True
) -> None:
    """Print rows under their heads; a head that begins with `>` aligns its column to the right."""
    if sys.stdout.isatty() and len(rows) <= _MANY:
        _print_richly(heads, rows, heads_shown=heads_shown)
    else:
        _print_plainly(heads, rows, heads_shown=heads_shown)


def _print_richly(
    heads: Sequence[str], rows: Sequence[Sequence[str]], *, heads_shown: bool
) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", show_header=heads_shown)
    for head in heads:
        right = head.startswith(">")
        table.add_column(head.removeprefix(">"), justify="right" if right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(shown(cell)) for cell in row))
    Console(soft_wrap=False, highlight=False).print(table)


def _print_plainly(
    heads: Sequence[str], rows: Sequence[Sequence[str]], *, heads_shown: bool
) -> None:
    """Every line whole, for grep and awk."""
    named = [head.removeprefix(">") for head in heads]
    printed = [named, *rows] if heads_shown else rows
    columns = [
        _aligned(cells, to_the_right=head.startswith(">"))
        for head, cells in zip(heads, zip(*printed, strict=True), strict=True)
    ]
    sys.stdout.writelines(f"{'  '.join(row).rstrip()}\n" for row in zip(*columns, strict=True))


def _aligned(cells: Sequence[str], *, to_the_right: bool) -> Iterator[str]:
    """The cells of one column, each filled up to the widest: a column at a time goes quickly."""
    texts = [shown(cell) for cell in cells]
    width_of = len if all(map(str.isascii, texts)) else _width
    width = max(map(width_of, texts))
    if width_of is len:
        return map(str.rjust if to_the_right else str.ljust, texts, repeat(width))
    return (_padded(text, width, to_the_right=to_the_right) for text in texts)


def _padded(text: str, width: int, *, to_the_right: bool) -> str:
    fill = " " * (width - _width(text))
    return fill + text if to_the_right else text + fill


def _width(text: str) -> int:
    """How many columns of a terminal the text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)
