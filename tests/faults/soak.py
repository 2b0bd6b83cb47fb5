"""The soak: hundreds of runs with random faults and kills, after which every backup restores.

    make soak RUNS=300 SEED=7

Everything is drawn from one seed, which is printed: the same seed draws the same commands, faults
and moments again. Where exactly a moment falls in a command differs from run to run, since parts of
it come in another order each time.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.faults.counts import DONE
from tests.faults.gate import Passed
from tests.faults.scene import JOB, history, left_on_disk, listed, make_due, restored, take_up
from tests.faults.soak_acts import DAEMON, FAULTS, VERBS, Fault, clean_up
from tests.faults.soak_world import ALL_RUN, World, world
from tests.faults.sweeping import named_archives, stored_archives, sweep
from tests.integration.aftermath import journal, kept_in, wait_until
from tests.integration.trees import succeeded
from tests.integration.volumes import helpers

RUNS = 300
CHANGES = 0.3
"""How often a source changes before a run."""
SWEPT_EVERY = 25
LONGEST_SECONDS = 180.0
"""For one command, whatever befalls it."""
_FAULTS_OF_OURS = ("Traceback", "internal error: ", "by a fault of backupd")


class Soak:
    """One soak in one world."""

    def __init__(self, where: World) -> None:
        self.world = where
        self.whole: dict[str, Counter[str]] = {}
        """Verb → how many bytes and requests it takes when nothing happens."""
        self.struck: Counter[str] = Counter()

    def begin(self) -> None:
        """See each command work with nothing in its way."""
        take_up(self.world.backupd)
        for verb in VERBS:
            self.run(verb, None)
        self._check(verb="the beginning")

    def step(self) -> str:
        """One command and what befalls it, then a look at everything; in words."""
        draw = self.world.draw
        changed = self.world.change() if draw.random() < CHANGES else ""
        verb = draw.choices(list(VERBS), [weight for weight, _ in VERBS.values()])[0]
        name = draw.choices(list(FAULTS), [fault.weight for fault in FAULTS.values()])[0]
        ending = self.run(verb, FAULTS[name])
        self.struck[name] += 1
        self._check(verb=verb, kills_containers=FAULTS[name].kills_containers)
        return f"{verb}, {name}: {ending}{f'; {changed} changed before' if changed else ''}"

    def run(self, verb: str, fault: Fault | None) -> str:
        """Run the command; at a random moment the fault befalls it. How it ended, in words."""
        where, arguments = self.world, VERBS[verb][1]
        draw = where.draw
        what = draw.choice(("bytes", "requests"))
        count = draw.randrange(self.whole[verb][what]) if fault else -1
        where.gate.close(Passed(what, count) if fault else lambda piece, passed: False)
        if verb == DAEMON:
            make_due(where.backupd)
        begun = datetime.now(UTC)
        log = where.backupd.directory / "stderr"
        with log.open("wb") as errors, where.backupd.start(*arguments, errors=errors) as process:
            try:
                self._strike(process, verb, begun, fault)
                self._wait(process, verb, begun)
                if verb == DAEMON and process.poll() is None:
                    process.send_signal(signal.SIGTERM)
                process.wait(LONGEST_SECONDS)
            finally:
                process.kill()
        if fault is None:
            self.whole[verb] = where.gate.passed
        where.gate.open()
        said = log.read_text(errors="replace")
        codes = {0} if fault is None else fault.codes | {0}
        is_killed = process.returncode == -signal.SIGKILL
        assert process.returncode in codes, f"{verb} gave {process.returncode}:\n{said}"
        assert not any(text in said for text in _FAULTS_OF_OURS), f"{verb} said:\n{said}"
        assert is_killed or process.returncode == 0 or said.strip(), f"{verb} failed without a word"
        first = next((line for line in said.splitlines() if "warning: " not in line), "")
        return f"{process.returncode} at {count} {what} {first[:200] if process.returncode else ''}"

    def _strike(
        self, process: subprocess.Popen[bytes], verb: str, begun: datetime, fault: Fault | None
    ) -> None:
        """Let the fault happen when its moment comes; a command that ends before has none."""
        if fault is None:
            return
        gate = self.world.gate
        wait_until(
            lambda: gate.is_reached(0) or self._is_over(process, verb, begun),
            timeout_seconds=LONGEST_SECONDS,
        )
        if gate.is_reached(0):
            fault.strike(self.world, process)

    def _wait(self, process: subprocess.Popen[bytes], verb: str, begun: datetime) -> None:
        wait_until(lambda: self._is_over(process, verb, begun), timeout_seconds=LONGEST_SECONDS)

    def _is_over(self, process: subprocess.Popen[bytes], verb: str, begun: datetime) -> bool:
        if process.poll() is not None or verb != DAEMON:
            return process.poll() is not None
        last = history(self.world.backupd).last(JOB)
        return last is not None and last.started_at > begun and last.state != "running"

    def _check(self, *, verb: str, kills_containers: bool = False) -> None:
        """After the next command all must be as it was, and every backup as its source was."""
        where = self.world
        before = where.things()
        succeeded(where.backupd("backup", "nothing"))
        if kills_containers:
            where.scene.as_it_was()
        clean_up(where)
        assert (ALL_RUN, []) == (where.scene.states(), journal(where.backupd)), verb
        assert [] == helpers(where.scene.api), verb
        left = [name for kind in where.things() for name in map(str, kind) if "drill" in name]
        assert [] == left, (verb, before)
        where.check()

    def sweep(self) -> None:
        """Let the next prune sweep, and see that nothing is left that no backup names."""
        where = self.world
        succeeded(where.backupd("prune", "--yes"))
        sweep(where.backupd)
        kept = stored_archives(kept_in(where.s3, where.bucket))
        assert named_archives(where.backupd) == kept

    def end(self) -> None:
        """The last look: a run with no fault, then every backup, and the newest by the command."""
        where = self.world
        self.run("backup", None)
        self.run(DAEMON, None)
        where.check(anew=True)
        self.sweep()
        assert [] == left_on_disk(where.backupd)
        newest = {(row["kind"], row["name"]): row for row in listed(where.backupd)}
        assert set(where.truth) == set(newest)
        for source, row in newest.items():
            taken_at = datetime.fromisoformat(row["taken_at"])
            where.assert_true(source, taken_at, restored(where.backupd, row))


def soak(where: World, runs: int) -> Counter[str]:
    """So many runs with faults; how often each fault was drawn. Raises at the first loss."""
    done = Soak(where)
    done.begin()
    for number in range(1, runs + 1):
        begun = time.monotonic()
        told = done.step()
        print(f"{number:4} {time.monotonic() - begun:5.1f} s  {told}", flush=True)
        if number % SWEPT_EVERY == 0:
            done.sweep()
    done.end()
    return done.struck


def main(arguments: Sequence[str]) -> int:
    """`python -m tests.faults.soak RUNS [SEED]`; the exit code."""
    runs = int(arguments[0]) if arguments else RUNS
    seed = int(arguments[1]) if len(arguments) > 1 else secrets.randbits(32)
    print(f"RUNS={runs} SEED={seed}", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="backupd-soak-") as folder,
        world(Path(folder), seed) as where,
    ):
        try:
            struck = soak(where, runs)
        except BaseException:
            print(f"{DONE}; again with: make soak RUNS={runs} SEED={seed}", flush=True)
            raise
    print(", ".join(f"{name}: {count}" for name, count in sorted(struck.items())))
    print(DONE, flush=True)
    return 0


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("the soak kills an engine of its own, which only root can start; run it as root")
    sys.exit(main(sys.argv[1:]))
