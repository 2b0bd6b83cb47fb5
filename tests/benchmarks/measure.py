"""One command as a whole process, or several that take turns: wall time, CPU and memory.

CPU and memory are those of the process and of all that it started and waited for, so a pipe of a
shell counts whole; memory is that of its largest single process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

_STARTER = """\
import json, os, sys, time
begun = time.monotonic()
child = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, used = os.wait4(child, 0)
wall = time.monotonic() - begun
code = os.waitstatus_to_exitcode(status)
with open(sys.argv[1], "w") as file:
    json.dump([wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, code], file)
"""
"""Small: the peak of a process counts what it was forked from."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of a command took."""

    wall_seconds: float
    cpu_seconds: float
    peak_mib: float


def nothing() -> None:
    """What needs no preparation."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A command that is measured, by the name that the table shows."""

    name: str
    command: Sequence[str]
    prepare: Callable[[], None] = nothing
    """Makes what must be fresh, before each round; not measured."""
    environment: Mapping[str, str] = field(default_factory=dict)


class BenchFailed(Exception):
    """A command that is measured did not do its work."""


def measured(command: Sequence[str], environment: Mapping[str, str]) -> Run:
    """Run to the end. Raises BenchFailed with what it said, unless it exits with 0."""
    with tempfile.TemporaryDirectory() as made, (Path(made) / "said").open("w+b") as said:
        figures = Path(made) / "figures"
        os.sync()  # what an earlier one left to be written is not this one's
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", _STARTER, str(figures), *command],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env={**os.environ, **environment},
            check=True,
        )
        wall, cpu, peak, code = json.loads(figures.read_text())
        if code != 0:
            said.seek(0)
            text = said.read()[-2000:].decode(errors="replace")
            raise BenchFailed(f"{' '.join(command)} ended with {code}:\n{text}")
        return Run(wall, cpu, peak)


def in_turns(contenders: Sequence[Contender], rounds: int) -> dict[str, list[Run]]:
    """Name → its runs: in each round every contender once, so that all meet the same weather."""
    runs: dict[str, list[Run]] = {contender.name: [] for contender in contenders}
    for number in range(rounds):
        for contender in contenders:
            contender.prepare()
            run = measured(contender.command, contender.environment)
            runs[contender.name].append(run)
            print(
                f"  {number + 1}/{rounds} {contender.name:<28} {run.wall_seconds:7.2f} s "
                f"{run.cpu_seconds:7.2f} s CPU {run.peak_mib:6.0f} MiB",
                flush=True,
            )
    return runs


def wall(runs: Sequence[Run]) -> float:
    """Median of the wall times in seconds."""
    return median(run.wall_seconds for run in runs)


def cpu(runs: Sequence[Run]) -> float:
    """Median of the CPU times in seconds."""
    return median(run.cpu_seconds for run in runs)


def peak(runs: Sequence[Run]) -> float:
    """The largest memory in MiB."""
    return max(run.peak_mib for run in runs)


def paired(
    ours: Sequence[Run], others: Sequence[Run], figure: Callable[[Run], float] | None = None
) -> float:
    """The median of the ratios, round by round; of wall times unless another figure is named."""
    of = figure or (lambda run: run.wall_seconds)
    return median(of(one) / of(other) for one, other in zip(ours, others, strict=True))
