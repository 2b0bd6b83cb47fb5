"""Back up: each source's archive first, then its check, then its manifest.

The manifest is written last, so a crash before that line leaves an orphan archive and never a
backup that cannot be restored. A source's failure is its own outcome; the others go on.

What may be read at the same time is told by `verbs/lanes.py`.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

from backupd import journal
from backupd.errors import BackupdError, Cancelled
from backupd.leftovers import sweep
from backupd.policy.section import span_text
from backupd.site import Site
from backupd.stream import Cancel
from backupd.verbs.attempt import Attempt, attempt_all
from backupd.verbs.lanes import Lane, Unit, lanes_of
from backupd.verbs.past import Past
from backupd.verbs.proofs import remember
from backupd.verbs.task import Outcome, Report, Task

__all__ = ["Outcome", "Report", "Task", "run"]


def run(site: Site, tasks: Sequence[Task], report: Report) -> list[Outcome]:
    """Undo what dead runs left, then back up every task; an outcome for each, in their order.

    On Ctrl-C, and when `site.cancel` is set, everything under way is undone first. Raises
    EngineError or StoreError only before any work: when the engine or the store is not there at
    all, or when the host's prefix belongs to another machine.
    """
    journal.replay(site.state, site.engine, report.note, site.cancel)
    sweep(site.state, site.engine, report.note)
    if not tasks:
        return []
    site.catalog.claim(site.state.machine_id(), site.now())
    known = site.catalog.backups()
    remember(site.state, known)
    past = Past(known)
    site.engine.version()  # asked once, before several threads would ask
    with _deadlines(site, tasks) as sites:
        work = _Work(sites, past, report)
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


@dataclass(frozen=True, slots=True)
class _Deadline:
    """One job's part of a run: the site with a wish to stop of its own, and how long it has."""

    site: Site
    timeout: timedelta | None
    is_over: threading.Event

    def reason(self, job: str, error: BackupdError) -> BackupdError:
        """The error as it is to be told: who timed out has failed because of that."""
        if not self.is_over.is_set() or not isinstance(error, Cancelled) or self.timeout is None:
            return error
        after = span_text(self.timeout)
        told = Cancelled(f"timed out after {after}; raise jobs.{job}.timeout")
        for note in getattr(error, "__notes__", ()):
            told.add_note(note)
        return told


@contextmanager
def _deadlines(site: Site, tasks: Sequence[Task]) -> Iterator[dict[str, _Deadline]]:
    """Job → its deadline, counted from now; none of them sets the site's own wish to stop."""
    with ExitStack() as stack:
        found: dict[str, _Deadline] = {}
        for task in tasks:
            if task.job in found:
                continue
            deadline = _Deadline(replace(site, cancel=Cancel()), task.timeout, threading.Event())
            stack.enter_context(site.cancel.closing(deadline.site.cancel.set))
            if task.timeout is not None:
                timer = threading.Timer(task.timeout.total_seconds(), _expire, [deadline])
                timer.daemon = True
                timer.start()
                stack.callback(timer.cancel)
            found[task.job] = deadline
        yield found


def _expire(deadline: _Deadline) -> None:
    deadline.is_over.set()
    deadline.site.cancel.expire()


class _Work:
    """What the threads of one run share."""

    def __init__(self, deadlines: dict[str, _Deadline], past: Past, report: Report) -> None:
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

    def _ended(self, deadline: _Deadline, outcome: Outcome) -> Outcome:
        if outcome.error is not None:
            outcome = replace(outcome, error=deadline.reason(outcome.job, outcome.error))
        if not (self._is_abandoned and isinstance(outcome.error, Cancelled)):
            with self._reporting:
                self._report.end(outcome)
        return outcome


def _failed(task: Task, error: BackupdError) -> Outcome:
    return Outcome(task.job, task.source.kind, task.source.name, timedelta(), error=error)
