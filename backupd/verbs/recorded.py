"""Run a job and keep in the history what became of it, whoever asked for it.

The record is for people, metrics and catching up; that it cannot be written never fails the run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from backupd.errors import BackupdError, Cancelled
from backupd.policy import Policy
from backupd.run_record import RunRecord, RunState, SourceRecord
from backupd.site import Site
from backupd.verbs.job import JobRun, run_job
from backupd.verbs.task import Outcome, Report

NOTHING_SELECTED = "nothing was selected, so no backup was made"
BUSY = "another process was at work on the sources"


class Recorder(Protocol):
    """Where runs are recorded: the history, or someone who hears of it too."""

    def begin(self, job: str, at: datetime) -> int | None:
        """A run begins; what `end` wants to know it by."""

    def end(self, run_id: int | None, record: RunRecord) -> None:
        """It ended."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run came to its end."""

    state: RunState
    note: str = ""
    sources: tuple[SourceRecord, ...] = ()


STOPPED = Ending("interrupted", "stopped before the end")


def recorded(
    recorder: Recorder, now: Callable[[], datetime], name: str, work: Callable[[], Ending]
) -> None:
    """Do `work` and record it under `name`. Raises what it raises; the record says why."""
    started_at = now()
    run_id = recorder.begin(name, started_at)
    ending = STOPPED  # also by what is no Exception, such as Ctrl-C
    try:
        ending = work()
    except Cancelled:
        raise
    except BackupdError as error:
        ending = Ending("failed", str(error))
        raise
    except Exception as error:
        ending = Ending("failed", f"internal error: {error!r}")
        raise
    finally:
        record = RunRecord(name, started_at, now(), ending.state, ending.sources, ending.note)
        recorder.end(run_id, record)


def run_recorded(
    recorder: Recorder, site: Site, policy: Policy, name: str, report: Report
) -> JobRun:
    """As `run_job`, with a record of it. Raises what that raises."""
    runs: list[JobRun] = []

    def work() -> Ending:
        runs.append(run_job(site, policy, name, report))
        return ending_of(runs[0], was_stopped=site.cancel.is_set())

    recorded(recorder, site.now, name, work)
    return runs[0]


def ending_of(done: JobRun, *, was_stopped: bool) -> Ending:
    """What is recorded of a run that came back, `was_stopped` by a wish or by itself."""
    sources = sources_of(done)
    if done.is_good:
        return Ending("good", "" if sources else NOTHING_SELECTED, sources)
    if done.only_busy:
        return Ending("skipped", BUSY, sources)
    # A job's timeout cancels too, but that is a failure of its own.
    if was_stopped and any(isinstance(outcome.error, Cancelled) for outcome in done.outcomes):
        return replace(STOPPED, sources=sources)
    return Ending("failed", "", sources)


def sources_of(done: JobRun) -> tuple[SourceRecord, ...]:
    """Every source of the run, those that are not on the engine last."""
    missing = [
        SourceRecord(
            str(item.kind), item.name, "missing", error=f"not on this engine; check {item.where}"
        )
        for item in done.missing
    ]
    return (*map(_source, done.outcomes), *missing)


def _source(outcome: Outcome) -> SourceRecord:
    kind, seconds = str(outcome.kind), round(outcome.duration.total_seconds(), 3)
    manifest = outcome.manifest
    if manifest is None:
        error = str(outcome.error)
        return SourceRecord(kind, outcome.name, "failed", duration_seconds=seconds, error=error)
    return SourceRecord(
        kind,
        outcome.name,
        "unchanged" if manifest.reused else "saved",
        manifest.id,
        manifest.archive.size_bytes,
        manifest.archive.stored_bytes,
        seconds,
        oddity=outcome.oddity or None,
    )
