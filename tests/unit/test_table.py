"""Tables where nobody watches: whole lines, aligned columns, nothing that a name could forge."""

from __future__ import annotations

import pytest

from backupd.cli.table import print_table


def test_columns_are_aligned_by_what_they_take_on_a_screen(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(["NAME", ">SIZE"], [("web", "5 B"), ("猫", "12 kB"), ("a" * 500, "1 B")])

    wide = "a" * 500
    assert [
        "NAME" + " " * 496 + "   SIZE",
        "web" + " " * 497 + "    5 B",
        "猫" + " " * 498 + "  12 kB",
        f"{wide}    1 B",
    ] == capsys.readouterr().out.splitlines()


def test_a_line_has_no_spaces_at_its_end_and_heads_may_be_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(["A", "B"], [("x", ""), ("long", "y")], heads_shown=False)

    assert ["x", "long  y"] == capsys.readouterr().out.splitlines()


def test_a_cell_cannot_begin_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["A"], [("one\ntwo\x1b[31m",)])

    assert ["A", "one two\N{REPLACEMENT CHARACTER}[31m"] == capsys.readouterr().out.splitlines()
