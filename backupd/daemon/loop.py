"""The daemon's loop: signals, schedules, reload, stop, and the sign of life for the watchdog.

Everything that changes what the daemon is happens here, in the main thread, one act after another:
signal handlers and run threads only put acts into the inbox. So nothing here may wait for an
engine, a store or a listener. Each turn of the loop feeds the watchdog, and nothing else does.
A fault in this thread ends the daemon: half alive it would look well and back up nothing.
"""

from __future__ import annotations

import logging
import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import Enum, auto
from functools import partial

from backupd.daemon.clock import ClockWatch
from backupd.daemon.generation import Generation, Source, give_memory_back
from backupd.daemon.heartbeat import Heartbeat
from backupd.daemon.in_force import InForce
from backupd.daemon.ledger import Ledger
from backupd.daemon.listeners import Listener, Listeners
from backupd.daemon.recovery import Recovery, owe_uploads
from backupd.daemon.runs import Running, Runs
from backupd.daemon.scheduler import Scheduler
from backupd.daemon.sd_notify import ServiceManager
from backupd.daemon.showing import Showing
from backupd.daemon.signals import Act, heed
from backupd.daemon.stopping import CANCEL_PATIENCE, Stopping
from backupd.history import History
from backupd.run_record import CHORES
from backupd.state import StateDir
from backupd.timetable import TOLERANCE

LOGGER = logging.getLogger(__name__)

LONGEST_TURN_SECONDS = 60.0
"""The loop looks at the clock so often at least: it may be set while the loop sleeps."""
BUSY_TURN_SECONDS = 1.0
LAST_WORDS_SECONDS = 5.0

ListenersOf = Callable[[Generation, History], Sequence[Listener]]


class Ended(Enum):
    """How a daemon came to its end."""

    IN_ORDER = auto()
    """Told to stop; every run came to an end by then."""
    WITH_RUNS_LEFT = auto()
    """Told to stop; threads of runs that do not end are left."""
    BROKEN = auto()
    """By a fault of backupd, which is logged; threads may be left."""


class Daemon:
    """One daemon on one state directory, from `run` to its end."""

    def __init__(
        self,
        source: Source,
        state: StateDir,
        listeners_of: ListenersOf,
        manager: ServiceManager,
    ) -> None:
        """Read the policy. Raises PolicyError."""
        self._state = state
        self._listeners_of = listeners_of
        self._manager = manager
        self._force = InForce(source)
        self._inbox: queue.SimpleQueue[Act] = queue.SimpleQueue()  # a signal handler may put
        self._history = History.open(state, LOGGER.warning)
        self._listeners = Listeners([])
        self._ledger = Ledger(self._history, lambda: self._listeners)
        self._runs = Runs(self._history, self._hand_over)
        self._scheduler = Scheduler(self._fire)
        self._heartbeat = Heartbeat(self._history, lambda: self._force.generation)
        self._showing = Showing(state, manager)
        self._recovery: Recovery | None = None
        self._stopping = Stopping(state, manager)
        self._clock = ClockWatch()

    def run(self) -> Ended:
        """Serve until a signal ends it, or a fault of our own.

        Raises AlreadyRunning when another daemon has this state directory, or UsageError.
        """
        acts = {
            signal.SIGHUP: self._reload,
            signal.SIGTERM: self._stop,
            signal.SIGINT: self._stop,
        }
        with self._state.lock_daemon():
            heed(acts, self._inbox.put)
            try:
                self._begin()
                while not self._is_over():
                    self._turn()
                return self._end()
            except Exception:
                LOGGER.exception("the daemon ends, by a fault of backupd")
                self._abandon()
                return Ended.BROKEN

    def _abandon(self) -> None:
        """Let what runs undo what it did, without a loop that would hear of it."""
        if self._recovery is not None:
            self._recovery.stop()
        self._runs.cancel()
        self._runs.wait(CANCEL_PATIENCE.total_seconds())
        self._history.close()

    def _begin(self) -> None:
        now, generation = datetime.now(UTC), self._force.generation
        self._listeners = Listeners(self._listeners_of(generation, self._history))
        self._ledger.open(now, before=partial(owe_uploads, self._state))
        for job, due in self._ledger.missed_runs(generation, now).items():
            LOGGER.warning("job %s missed its run at %s: it runs now", job, due.isoformat())
            self._runs.ask(job)
        self._ledger.take_up(generation, now)
        # From the very moment up to which was looked for what was missed: nothing falls in between.
        self._scheduler.follow(generation.timetables, since=now)
        self._recover()
        self._manager.ready()
        LOGGER.info(
            "following %s: %d scheduled jobs", self._force.shown.path, len(generation.timetables)
        )
        give_memory_back()

    def _recover(self) -> None:
        """Make ready for the first run, in a thread: the engine may not be there yet."""
        recovery = Recovery(self._force.generation, tell=self._trouble)

        def work() -> None:
            recovery.run()
            give_memory_back()
            self._inbox.put(lambda: self._recovered(recovery))

        self._recovery = recovery
        threading.Thread(target=work, name="recovery", daemon=True).start()

    def _recovered(self, recovery: Recovery) -> None:
        if recovery is not self._recovery:
            return  # a reload began another one
        self._recovery = None
        if not self._stopping.is_wanted:
            self._runs.open()
            self._heartbeat.beat()

    def _turn(self) -> None:
        """One round: what is due, what came in, what is to be shown."""
        self._heed_clock()
        until_due = self._scheduler.turn()
        self._start_waiting()
        self._cancel_if_time()
        waits_for = self._recovery.shown if self._recovery else ""
        self._showing.show(
            self._force,
            self._runs,
            self._scheduler,
            waits_for=waits_for,
            stops=self._stopping.is_wanted,
        )
        self._manager.alive()
        self._take_in(self._seconds(until_due))

    def _take_in(self, seconds: float) -> None:
        """Wait so long for something to do, then do all that there is."""
        try:
            act = self._inbox.get(timeout=max(0.0, seconds))
            while True:
                act()
                act = self._inbox.get_nowait()
        except queue.Empty:
            pass

    def _seconds(self, until_due: float | None) -> float:
        """How long the loop may sleep."""
        is_busy = self._runs.running or self._recovery or self._stopping.is_wanted
        longest = BUSY_TURN_SECONDS if is_busy else LONGEST_TURN_SECONDS
        watchdog = self._manager.watchdog_seconds
        # At half of what the watchdog allows, as sd_watchdog_enabled(3) recommends.
        seconds = [longest, until_due, watchdog / 2 if watchdog else None]
        return min(each for each in seconds if each is not None)

    def _fire(self, job: str, due: Sequence[datetime]) -> None:
        """The scheduler says that a job is due, and since when."""
        if len(due) > 1:
            note = f"{len(due) - 1} earlier moments passed while this machine slept"
            self._ledger.skipped(job, due[:-1], note)
        late = datetime.now(UTC) - due[-1]
        wanted = job in CHORES or self._force.generation.policy.jobs[job].catch_up
        if job in self._runs.running:
            self._ledger.skipped(job, due, "its last run has not ended")
        elif self._runs.is_busy_with(job):
            self._ledger.skipped(job, due, "its last run has not begun yet")
        elif late > TOLERANCE and not wanted:
            self._ledger.skipped(job, due, "its time has passed, and catch_up is false")
        else:
            self._runs.ask(job)

    def _start_waiting(self) -> None:
        for running in self._runs.start_waiting(self._force.generation):
            self._ledger.started(running.job, running.started_at)
            self._heartbeat.beat()

    def _hand_over(self, running: Running) -> None:
        """Called by a run's thread as its last act."""
        self._inbox.put(lambda: self._ended(running))

    def _ended(self, running: Running) -> None:
        self._runs.ended(running)
        if running.record is not None:
            self._ledger.ended(running.record)
        if not self._stopping.is_cancelling:
            self._heartbeat.beat()

    def _reload(self) -> None:
        """SIGHUP: follow the new policy, or say why not."""
        if self._stopping.is_wanted:
            return
        self._manager.reloading()
        if self._force.reload():
            generation, now = self._force.generation, datetime.now(UTC)
            self._ledger.take_up(generation, now)
            self._scheduler.follow(generation.timetables, since=now)
            old, new = self._listeners, self._listeners_of(generation, self._history)
            self._listeners = Listeners(new)
            old.close(within_seconds=0)
            LOGGER.info("the new policy is in force: %d scheduled jobs", len(generation.timetables))
            self._look_elsewhere()
            self._heartbeat.beat()
        else:
            self._listeners.trouble("policy", self._force.error)
        self._manager.ready()

    def _look_elsewhere(self) -> None:
        """What is still waited for may be what the new policy corrects."""
        if self._recovery is not None and self._recovery.waits_for:
            self._recovery.stop()
            self._recover()

    def _stop(self) -> None:
        """SIGTERM: begin nothing more, and wait for what runs. Told again: cancel it now."""
        grace = self._force.generation.policy.stop_grace
        is_first = not self._stopping.is_wanted
        self._stopping.ask(grace)
        if not is_first:
            return
        now = datetime.now(UTC)
        for job in self._runs.close():
            self._ledger.skipped(job, [now], "the daemon was told to stop before its turn came")
        self._scheduler.follow({})
        if self._recovery is not None:
            self._recovery.stop()
        if self._runs.running:
            names = ", ".join(self._runs.running)
            LOGGER.info("stopping: %s may go on for %s", names, grace)

    def _cancel_if_time(self) -> None:
        if self._stopping.is_time_to_cancel():
            if self._runs.running:
                LOGGER.warning("cancelling %s", ", ".join(self._runs.running))
            self._runs.cancel()
            if self._recovery is not None:
                self._recovery.cancel()

    def _is_over(self) -> bool:
        if not self._stopping.is_wanted:
            return False
        is_undoing = self._recovery is not None and self._recovery.is_undoing
        is_busy = bool(self._runs.running) or is_undoing
        return not is_busy or not self._stopping.has_patience()

    def _end(self) -> Ended:
        """Say the last words."""
        left = list(self._runs.running)
        for job in left:
            LOGGER.error("job %s does not end: the next start undoes what it left", job)
        for entry in self._stopping.held() if left else ():
            LOGGER.error(
                "container %r may still be %s: start backupd again, or see to it by hand",
                entry.container_name,
                entry.left,
            )
        deadline = time.monotonic() + LAST_WORDS_SECONDS
        self._heartbeat.wait(LAST_WORDS_SECONDS)
        self._listeners.close(within_seconds=max(1.0, deadline - time.monotonic()))
        self._history.close()
        self._scheduler.shutdown()
        LOGGER.info("stopped")
        return Ended.WITH_RUNS_LEFT if left else Ended.IN_ORDER

    def _heed_clock(self) -> None:
        """Reckon anew when the clock was set back: otherwise nothing would be due for too long."""
        if self._clock.was_set_back() and not self._stopping.is_wanted:
            LOGGER.warning("the clock was set back: the next runs are reckoned anew")
            self._scheduler.follow_anew(self._force.generation.timetables)

    def _trouble(self, what: str, sentence: str) -> None:
        """Called by any thread."""
        self._inbox.put(lambda: self._listeners.trouble(what, sentence))
