"""What counts as a regression of the benchmarks, and how their figures are kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.benchmarks.results import Figure, Results, regressions, table

RATIO = Figure("first-backup", "a backup", "wall time", 1.0, "×", 1.0)
MEMORY = Figure("first-backup", "a backup", "peak memory", 100, "MiB", 180)
COUNT = Figure("requests", "a backup", "PUTs", 2, "", 2)
SECONDS = Figure("unchanged", "again", "wall time", 0.5, "s", 1.0)


def results(*figures: Figure, size_mib: int = 1500) -> Results:
    return Results({"cores": "2"}, size_mib, figures)


@pytest.mark.parametrize(
    ("figure", "tolerated", "worse"),
    [(RATIO, 1.14, 1.16), (MEMORY, 109, 111), (COUNT, 2, 3)],
)
def test_a_figure_may_be_worse_by_its_tolerance(
    figure: Figure, tolerated: float, worse: float
) -> None:
    before = results(figure)

    assert [] == regressions(results(replace(figure, value=tolerated)), before)
    found = regressions(results(replace(figure, value=worse)), before)
    assert [f"{figure.row}: {figure.what}"] == [text.rpartition(": ")[0] for text in found]


def test_seconds_and_other_sizes_are_not_compared() -> None:
    assert [] == regressions(results(replace(SECONDS, value=50)), results(SECONDS))
    assert [] == regressions(results(replace(RATIO, value=9)), results(RATIO, size_mib=60))
    assert [] == regressions(results(RATIO), None)


def test_rows_that_were_not_measured_stay_and_the_others_are_replaced() -> None:
    now = results(replace(COUNT, value=1)).over(results(RATIO, MEMORY, COUNT))

    assert (RATIO, MEMORY, replace(COUNT, value=1)) == now.figures
    assert now == Results.parse(now.to_json())


def test_the_table_says_which_targets_are_missed() -> None:
    lines = table(results(RATIO, replace(RATIO, value=1.2))).splitlines()

    assert [True, False] == ["| met |" in line for line in lines[-2:]]
    assert "| wall time: 1.20 × |  | ≤ 1.00 × | **missed** |" in lines[-1]
