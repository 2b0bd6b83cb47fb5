"""The daemon's loop: signals, schedules, reload, stop, and the sign of life for the watchdog.

Everything that changes what the daemon is happens here, in the main thread, one act after another:
signal handlers and run threads only put acts into the inbox. So nothing here may wait for an
engine, a store or a listener. Each turn of the loop feeds the watchdog, and nothing else does.
"""

from __future__ import annotations

import logging
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from backupd.daemon.generation import Generation, Source, give_memory_back
from backupd.daemon.heartbeat import Heartbeat
from backupd.daemon.in_force import InForce
from backupd.daemon.ledger import Ledger
from backupd.daemon.listeners import Listener, Listeners
from backupd.daemon.recovery import Recovery
from backupd.daemon.runs import Running, Runs
from backupd.daemon.scheduler import Scheduler
from backupd.daemon.sd_notify import ServiceManager
from backupd.daemon.showing import Showing
from backupd.history import PRUNE, History
from backupd.state import StateDir
from backupd.timetable import TOLERANCE

LOGGER = logging.getLogger(__name__)

LONGEST_TURN_SECONDS = 60.0
"""The loop looks at the clock so often at least: it may be set while the loop sleeps."""
BUSY_TURN_SECONDS = 1.0
CANCEL_PATIENCE_SECONDS = 20.0
"""How long cancelled runs may take to undo what they did."""
LAST_WORDS_SECONDS = 5.0
CLOCK_STEP_SECONDS = 60.0

Act = Callable[[], object]
ListenersOf = Callable[[Generation, History], Sequence[Listener]]


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
        self._stop_deadline: float | None = None
        """Monotonic time at which running jobs are cancelled; None while nobody wants a stop."""
        self._is_cancelled = False
        self._clock_offset = _clock_offset()

    def run(self) -> bool:
        """Serve until a signal ends it; whether every run came to an end by then.

        Raises AlreadyRunning when another daemon has this state directory.
        """
        with self._state.lock_daemon(), self._signals():
            self._begin()
            while not self._is_over():
                self._turn()
            return self._end()

    def _begin(self) -> None:
        now, generation = datetime.now(UTC), self._force.generation
        self._listeners = Listeners(self._listeners_of(generation, self._history))
        has_died = self._ledger.open(now)
        for job, due in self._ledger.missed_runs(generation, now).items():
            LOGGER.warning("job %s missed its run at %s: it runs now", job, due.isoformat())
            self._runs.ask(job)
        self._ledger.take_up(generation, now)
        self._scheduler.follow(generation.timetables)
        self._recover(has_died=has_died)
        self._manager.ready()
        LOGGER.info(
            "following %s: %d scheduled jobs", self._force.shown.path, len(generation.timetables)
        )
        give_memory_back()

    def _recover(self, *, has_died: bool) -> None:
        """Make ready for the first run, in a thread: the engine may not be there yet."""
        recovery = Recovery(self._force.generation, has_died=has_died, tell=self._trouble)

        def work() -> None:
            recovery.run()
            self._inbox.put(self._ready)

        self._recovery = recovery
        threading.Thread(target=work, name="recovery", daemon=True).start()

    def _ready(self) -> None:
        self._recovery = None
        if self._stop_deadline is None:
            self._runs.open()
            self._heartbeat.beat()

    def _turn(self) -> None:
        """One round: what is due, what came in, what is to be shown."""
        self._heed_clock()
        until_due = self._scheduler.turn()
        self._start_waiting()
        self._cancel_if_time()
        waits_for = self._recovery.waits_for if self._recovery else ""
        self._showing.show(
            self._force,
            self._runs,
            self._scheduler,
            waits_for=waits_for,
            stops=self._stop_deadline is not None,
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
        is_busy = self._runs.running or self._recovery or self._stop_deadline is not None
        longest = BUSY_TURN_SECONDS if is_busy else LONGEST_TURN_SECONDS
        watchdog = self._manager.watchdog_seconds
        # At half of what the watchdog allows, as sd_watchdog_enabled(3) recommends.
        return min(longest, until_due or longest, watchdog / 2 if watchdog else longest)

    def _fire(self, job: str, due: Sequence[datetime]) -> None:
        """The scheduler says that a job is due, and since when."""
        if len(due) > 1:
            note = f"{len(due) - 1} earlier moments passed while this machine slept"
            self._ledger.skipped(job, due[:-1], note)
        late = datetime.now(UTC) - due[-1]
        wanted = job == PRUNE or self._force.generation.policy.jobs[job].catch_up
        if self._runs.is_busy_with(job):
            self._ledger.skipped(job, due, "its last run has not ended")
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
        if not self._is_cancelled:
            self._heartbeat.beat()

    def _reload(self) -> None:
        """SIGHUP: follow the new policy, or say why not."""
        if self._stop_deadline is not None:
            return
        self._manager.reloading()
        if self._force.reload():
            generation = self._force.generation
            self._ledger.take_up(generation, datetime.now(UTC))
            self._scheduler.follow(generation.timetables)
            old, new = self._listeners, self._listeners_of(generation, self._history)
            self._listeners = Listeners(new)
            old.close(within_seconds=0)
            LOGGER.info("the new policy is in force: %d scheduled jobs", len(generation.timetables))
            self._heartbeat.beat()
        else:
            self._listeners.trouble("policy", self._force.error)
        self._manager.ready()

    def _stop(self) -> None:
        """SIGTERM: begin nothing more, and wait for what runs. Told again: cancel it now."""
        if self._stop_deadline is not None:
            self._stop_deadline = time.monotonic()
            return
        self._manager.stopping()
        grace = self._force.generation.policy.stop_grace
        self._stop_deadline = time.monotonic() + grace.total_seconds()
        self._runs.close()
        self._scheduler.follow({})
        if self._recovery is not None:
            self._recovery.stop()
        if self._runs.running:
            names = ", ".join(self._runs.running)
            LOGGER.info("stopping: %s may go on for %s", names, grace)

    def _cancel_if_time(self) -> None:
        deadline = self._stop_deadline
        if deadline is None or self._is_cancelled or time.monotonic() < deadline:
            return
        self._is_cancelled = True
        self._stop_deadline = time.monotonic()
        if self._runs.running:
            LOGGER.warning("cancelling %s", ", ".join(self._runs.running))
        self._runs.cancel()

    def _is_over(self) -> bool:
        if self._stop_deadline is None:
            return False
        patience = self._stop_deadline + CANCEL_PATIENCE_SECONDS
        gave_up = self._is_cancelled and time.monotonic() > patience
        return gave_up or not self._runs.running

    def _end(self) -> bool:
        """Say the last words; whether nothing is left under way."""
        left = list(self._runs.running)
        for job in left:
            LOGGER.error("job %s does not end: the next start undoes what it left", job)
        deadline = time.monotonic() + LAST_WORDS_SECONDS
        self._heartbeat.wait(LAST_WORDS_SECONDS)
        self._listeners.close(within_seconds=max(1.0, deadline - time.monotonic()))
        self._history.close()
        self._scheduler.shutdown()
        LOGGER.info("stopped")
        return not left

    def _heed_clock(self) -> None:
        """Reckon anew when the clock was set back: otherwise nothing would be due for too long."""
        offset = _clock_offset()
        if offset < self._clock_offset - CLOCK_STEP_SECONDS and self._stop_deadline is None:
            LOGGER.warning("the clock was set back: the next runs are reckoned anew")
            self._scheduler.follow_anew(self._force.generation.timetables)
        self._clock_offset = offset

    def _trouble(self, what: str, sentence: str) -> None:
        """Called by any thread."""
        self._inbox.put(lambda: self._listeners.trouble(what, sentence))

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Inside, signals become acts of the loop."""
        acts = {
            signal.SIGHUP: self._reload,
            signal.SIGTERM: self._stop,
            signal.SIGINT: self._stop,
        }
        before = {number: signal.getsignal(number) for number in acts}
        for number, act in acts.items():
            signal.signal(number, lambda *_, act=act: self._inbox.put(act))
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _clock_offset() -> float:
    """By how much the wall clock is ahead of one that only goes forward, in seconds."""
    return time.time() - time.monotonic()
