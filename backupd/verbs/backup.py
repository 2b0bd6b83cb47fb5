"""Back up: each source's archive first, then its check, then its manifest.

The manifest is written last, so a crash before that line leaves an orphan archive and never a
backup that cannot be restored. A source's failure is its own outcome; the others go on.

What may be read at the same time is told by `verbs/lanes.py`.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta

from backupd import journal
from backupd.errors import BackupdError, Cancelled
from backupd.leftovers import sweep
from backupd.site import Site
from backupd.verbs.attempt import Attempt, attempt_all
from backupd.verbs.deadline import Deadline, bounded
from backupd.verbs.lanes import Lane, Unit, lanes_of
from backupd.verbs.past import Past
from backupd.verbs.proofs import remember
from backupd.verbs.task import Outcome, Report, Task

__all__ = ["Outcome", "Report", "Task", "run"]


def run(
    site: Site, tasks: Sequence[Task], report: Report, deadline: Deadline | None = None
) -> list[Outcome]:
    """Undo what dead runs left, then back up every task; an outcome for each, in their order.

    With a `deadline`, whose site this is, all tasks are of its job; else each job has its time from
    now on. On Ctrl-C, and when `site.cancel` is set, everything under way is undone first. Raises
    EngineError, StoreError or Cancelled only before any work: when the engine or the store is not
    there at all, or when the host's prefix belongs to another machine.
    """
    journal.replay(site.state, site.engine, report.note, site.cancel)
    sweep(site.state, site.engine, report.note)
    site.cancel.raise_if_set()
    if not tasks:
        return []
    site.catalog.claim(site.state.machine_id(), site.now())
    known = site.catalog.backups()
    remember(site.state, known)
    past = Past(known)
    site.engine.version()  # asked once, before several threads would ask
    site.cancel.raise_if_set()
    with ExitStack() as stack:
        known_deadlines = {task.job: deadline for task in tasks if deadline is not None}
        deadlines = known_deadlines or stack.enter_context(_deadlines(site, tasks))
        work = _Work(deadlines, past, report)
        lanes = lanes_of(tasks)
        with ThreadPoolExecutor(min(len(lanes), site.turns.parallel) or 1, "backup") as pool:
            try:
                outcomes = _gathered([pool.submit(work.do, lane) for lane in lanes])
            except BaseException:  # Ctrl-C: nothing else comes out of a lane
                work.abandon()
                pool.shutdown(cancel_futures=True)
                raise
    places = {(task.job, task.source.kind, task.source.name): n for n, task in enumerate(tasks)}
    return sorted(outcomes, key=lambda done: places[done.job, done.kind, done.name])


def _gathered(lanes: Iterable[Future[list[Outcome]]]) -> list[Outcome]:
    return [outcome for lane in lanes for outcome in lane.result()]


@contextmanager
def _deadlines(site: Site, tasks: Sequence[Task]) -> Iterator[dict[str, Deadline]]:
    """Job → its deadline, counted from now."""
    with ExitStack() as stack:
        found: dict[str, Deadline] = {}
        for task in tasks:
            if task.job not in found:
                found[task.job] = stack.enter_context(bounded(site, task.timeout))
        yield found


class _Work:
    """What the threads of one run share."""

    def __init__(self, deadlines: Mapping[str, Deadline], past: Past, report: Report) -> None:
        self._deadlines = deadlines
        self._past = past
        self._report = report
        self._reporting = threading.Lock()
        self._is_abandoned = False

    def abandon(self) -> None:
        """End everything that is under way; who is at the keyboard needs no word on each."""
        self._is_abandoned = True
        for deadline in self._deadlines.values():
            deadline.site.cancel.set()

    def do(self, lane: Lane) -> list[Outcome]:
        """The outcomes of all units of a lane."""
        return [outcome for unit in lane for outcome in self._unit(unit)]

    def _unit(self, unit: Unit) -> list[Outcome]:
        deadline = self._deadlines[unit[0].job]
        site = deadline.site
        keys = [(task.source.kind, task.source.name) for task in unit]
        try:
            with site.turns.turn(keys, site.cancel) as was_busy:
                if was_busy:  # by another job of this process, whose archive may serve this one too
                    self._past.learn(site.catalog.backups())
                with self._reporting:
                    progress = [self._report.begin(task) for task in unit]
                moment = secrets.token_hex(6) if len(unit) > 1 else ""
                outcomes = attempt_all(
                    [
                        Attempt(site, task, self._past, told, moment=moment)
                        for task, told in zip(unit, progress, strict=True)
                    ]
                )
        except BackupdError as error:  # cancelled before its turn, or no listing
            outcomes = [_failed(task, error) for task in unit]
        return [self._ended(deadline, outcome) for outcome in outcomes]

    def _ended(self, deadline: Deadline, outcome: Outcome) -> Outcome:
        if outcome.error is not None:
            outcome = replace(outcome, error=deadline.reason(outcome.job, outcome.error))
        if not (self._is_abandoned and isinstance(outcome.error, Cancelled)):
            with self._reporting:
                self._report.end(outcome)
        return outcome


def _failed(task: Task, error: BackupdError) -> Outcome:
    return Outcome(task.job, task.source.kind, task.source.name, timedelta(), error=error)
