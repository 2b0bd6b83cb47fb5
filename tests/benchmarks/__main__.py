"""Measure backupd against what else could do its work: `make bench`, or

    python -m tests.benchmarks [ROW …] [--size-mb 1500] [--rounds 5] [--full]

A real engine, a real S3 server, and the commands as they are installed, in turns; as root, for an
engine of its own and for the peers' packages. A whole run takes about an hour. The figures go into
docs/performance.md and results.json, unless they are of another size. Exit code 1 says that a
figure that no machine's speed decides is worse than the last committed one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.large import LARGE
from tests.benchmarks.results import KEPT, Results, regressions, table, write
from tests.benchmarks.scene import Scene
from tests.benchmarks.small import SMALL_ROWS
from tests.servers.dockerd import Engine
from tests.servers.seaweedfs import SeaweedFS

ROWS = {**LARGE, **SMALL_ROWS}
FULL_SIZE_MIB = 1500
_HEAD = ("git", "show", "HEAD:./results.json")


def main() -> int:
    """Measure, show, keep and compare; the exit code."""
    chosen = _arguments()
    rows = chosen.rows or list(ROWS)
    with (
        Engine() as engine,
        SeaweedFS() as server,
        tempfile.TemporaryDirectory(prefix="backupd-bench-") as made,
    ):
        scene = Scene(engine, server, Path(made), chosen.size_mb, chosen.rounds, chosen.full)
        figures = []
        for row in rows:
            print(f"{row}:", flush=True)
            figures += list(ROWS[row](scene))
        now = Results(scene.machine(), chosen.size_mb, tuple(figures))
    print(table(now))
    worse = regressions(now, _committed())
    if chosen.size_mb == FULL_SIZE_MIB:
        write(now.over(Results.read(KEPT)))
    for sentence in worse:
        print(f"worse than the last committed: {sentence}")
    return 1 if worse else 0


def _committed() -> Results | None:
    """The results of the last commit, whatever was measured since."""
    done = subprocess.run(_HEAD, cwd=KEPT.parent, capture_output=True, text=True, check=False)
    return Results.parse(done.stdout) if done.returncode == 0 else Results.read(KEPT)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of: {', '.join(ROWS)}")
    parser.add_argument("--size-mb", type=int, default=FULL_SIZE_MIB, help="of large things")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--full", action="store_true", help="the 20 GiB too")
    chosen = parser.parse_args()
    unknown = [row for row in chosen.rows if row not in ROWS]
    if unknown:
        parser.error(f"no row is called {', '.join(unknown)}; there are {', '.join(ROWS)}")
    if chosen.size_mb < 1 or chosen.rounds < 1:
        parser.error("size and rounds are whole numbers from 1 on")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
