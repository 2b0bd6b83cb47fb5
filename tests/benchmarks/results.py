"""The figures of a benchmark: judged by their targets, kept as JSON, compared, and shown.

What is compared with the last committed results is what a machine's speed does not decide: ratios,
counts, memory. Seconds alone are shown and never compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

KEPT = Path(__file__).with_name("results.json")
PAGE = Path(__file__).parents[2] / "docs/performance.md"
BEGIN, END = "<!-- begin: written by make bench -->", "<!-- end: written by make bench -->"

TOLERANCE = {"×": 0.15, "MiB": 0.10, "": 0.0}
"""By how much a figure of a unit may be worse than the last committed one; of others, any."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of the table."""

    row: str
    """The row's name, as `ROWS` takes it."""
    work: str
    what: str
    """What it is a number of; unique in its row."""
    value: float
    unit: str
    """`×` for a ratio, `s`, `MiB`, and nothing for a count."""
    target: float | None = None
    """The most that it may be."""
    detail: str = ""

    @property
    def verdict(self) -> str:
        """Whether the target is met."""
        if self.target is None:
            return ""
        return "met" if self.value <= self.target else "**missed**"

    @property
    def shown(self) -> str:
        """Value and unit."""
        return _shown(self.value, self.unit)


def _shown(value: float, unit: str) -> str:
    if unit == "×":
        return f"{value:.2f} ×"
    if unit == "":
        return f"{value:g}"
    return f"{value:.0f} {unit}" if value >= 100 or unit == "MiB" else f"{value:.2f} {unit}"


@dataclass(frozen=True, slots=True)
class Results:
    """All figures of one machine and one size."""

    machine: Mapping[str, str]
    size_mib: int
    figures: tuple[Figure, ...]

    def to_json(self) -> str:
        """As it is kept."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, path: Path) -> Results | None:
        """What was kept; None where nothing is."""
        return cls.parse(path.read_text()) if path.exists() else None

    @classmethod
    def parse(cls, text: str) -> Results:
        """What `to_json` made."""
        kept: dict[str, Any] = json.loads(text)
        figures = tuple(Figure(**figure) for figure in kept["figures"])
        return cls(kept["machine"], kept["size_mib"], figures)

    def over(self, earlier: Results | None) -> Results:
        """These, and of the earlier ones the rows that were not measured now."""
        if earlier is None:
            return self
        rows = {figure.row for figure in self.figures}
        kept = [figure for figure in earlier.figures if figure.row not in rows]
        return Results(self.machine, self.size_mib, (*kept, *self.figures))


def regressions(now: Results, earlier: Results | None) -> list[str]:
    """A sentence for each figure that got worse by more than is tolerated."""
    if earlier is None or earlier.size_mib != now.size_mib:
        return []
    before = {(figure.row, figure.what): figure for figure in earlier.figures}
    found = []
    for figure in now.figures:
        old = before.get((figure.row, figure.what))
        if old is None or old.unit != figure.unit or figure.unit not in TOLERANCE:
            continue
        if figure.value > old.value * (1 + TOLERANCE[figure.unit]):
            found.append(f"{figure.row}: {figure.what}: {figure.shown}, was {old.shown}")
    return found


def table(results: Results) -> str:
    """The table in Markdown, with the machine before it."""
    facts = "; ".join(f"{name} {value}" for name, value in results.machine.items())
    lines = [
        f"Measured on: {facts}. Large things have {results.size_mib} MiB.",
        "",
        "| row | work | measured | | target | |",
        "|---|---|---|---|---|---|",
    ]
    lines += (" | ".join(["", *_cells(figure), ""]).strip() for figure in results.figures)
    return "\n".join(lines)


def _cells(figure: Figure) -> Iterable[str]:
    target = "" if figure.target is None else f"≤ {_shown(figure.target, figure.unit)}"
    measured = f"{figure.what}: {figure.shown}"
    return (f"`{figure.row}`", figure.work, measured, figure.detail, target, figure.verdict)


def write(results: Results) -> None:
    """Keep the results, and put their table between the markers of the page."""
    KEPT.write_text(results.to_json())
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not rest or END not in text:
        raise ValueError(f"{PAGE} lacks the markers {BEGIN!r} and {END!r}")
    PAGE.write_text(f"{before}{BEGIN}\n{table(results)}\n{END}{after}")
