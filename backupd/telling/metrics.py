"""Numbers for Prometheus: what became of the runs, and what the schedules promise.

Listens to the daemon and answers a scrape from memory, and from what the state directory knows of
proofs; the numbers of earlier lives come from the history at the start, the counters begin at
nothing, as counters do. docs/telling.md lists every metric; names and labels are stable.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from backupd import __version__
from backupd.run_record import CHORES, Past, RunRecord, SourceRecord
from backupd.telling.view import Outlook
from backupd.verbs.proofs import SourceProof

STATES = ("good", "failed", "interrupted")


@dataclass
class _Kind:
    """What is known of the sources of one kind in one job."""

    last_success: datetime | None = None
    seconds: float = 0.0
    size_bytes: int = 0
    stored_bytes: int = 0
    read_total: int = 0
    stored_total: int = 0
    failures_total: int = 0


@dataclass
class _Job:
    """What is known of one job."""

    running: int = 0
    last: RunRecord | None = None
    last_good: RunRecord | None = None
    failures_total: int = 0
    skipped_total: int = 0
    kinds: dict[str, _Kind] = field(default_factory=lambda: defaultdict(_Kind))


class Numbers:
    """All that was counted; outlives a reload of the policy. Safe to use from several threads."""

    def __init__(self, pasts: Mapping[str, Past]) -> None:
        """Begin with what the history knows."""
        self._lock = threading.Lock()
        self._jobs: dict[str, _Job] = defaultdict(_Job)
        for name, past in pasts.items():
            for record in (past.last_good, past.last):
                if record is not None and record.state != "running":
                    self._know(name, record)

    def started(self, job: str) -> None:
        """A run began."""
        with self._lock:
            self._jobs[job].running += 1

    def ended(self, record: RunRecord) -> None:
        """A run ended, was skipped, or was found interrupted."""
        with self._lock:
            job = self._jobs[record.job]
            if record.has_begun:
                job.running = max(0, job.running - 1)
            if record.state == "skipped":
                job.skipped_total += 1
                return
            job.failures_total += not record.is_success
            for source in record.sources:
                kind = job.kinds[source.kind]
                kind.failures_total += source.state in {"failed", "missing"}
                if source.state == "saved":
                    kind.read_total += source.size_bytes or 0
                    kind.stored_total += source.stored_bytes or 0
            self._know(record.job, record)

    def families(
        self, outlooks: Mapping[str, Outlook], proofs: Sequence[SourceProof] = ()
    ) -> Iterator[Metric]:
        """Every metric as it stands now, of the jobs that there are now."""
        with self._lock:
            jobs = {name: self._jobs[name] for name in outlooks}
            jobs |= {name: self._jobs[name] for name in CHORES if name in self._jobs}
            families = [
                *_of_promises(outlooks),
                *_of_jobs(jobs),
                *_of_kinds(jobs),
                *_of_proofs([proof for proof in proofs if proof.job in outlooks]),
            ]
        build = GaugeMetricFamily("backupd_build_info", "Always 1.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        yield from families

    def _know(self, name: str, record: RunRecord) -> None:
        job = self._jobs[name]
        job.last = record
        if record.is_success:
            job.last_good = record
        for kind, sources in _by_kind(record).items():
            known = job.kinds[kind]
            known.seconds = sum(source.duration_seconds for source in sources)
            known.size_bytes = sum(source.size_bytes or 0 for source in sources)
            known.stored_bytes = sum(source.stored_bytes or 0 for source in sources)
            if all(source.state in {"saved", "unchanged"} for source in sources):
                known.last_success = record.ended_at


def _by_kind(record: RunRecord) -> dict[str, list[SourceRecord]]:
    kinds: dict[str, list[SourceRecord]] = defaultdict(list)
    for source in record.sources:
        kinds[source.kind].append(source)
    return kinds


def _of_promises(outlooks: Mapping[str, Outlook]) -> Iterator[Metric]:
    due = _gauge("job_next_due_timestamp_seconds", "When the job is due next.")
    interval = _gauge("job_expected_interval_seconds", "Time between two runs by the schedule.")
    fresh = _gauge("job_fresh", "1 while the job keeps what its schedule promises, else 0.")
    owed = _gauge(
        "job_outstanding_since_timestamp_seconds",
        "When a run was due after which none has ended well.",
    )
    for name, outlook in outlooks.items():
        if outlook.next_due is not None:
            due.add_metric([name], outlook.next_due.timestamp())
        if outlook.interval is not None:
            interval.add_metric([name], outlook.interval.total_seconds())
        if outlook.is_fresh is not None:
            fresh.add_metric([name], float(outlook.is_fresh))
        if outlook.outstanding_since is not None:
            owed.add_metric([name], outlook.outstanding_since.timestamp())
    yield from (due, interval, fresh, owed)


def _of_jobs(jobs: Mapping[str, _Job]) -> Iterator[Metric]:
    running = _gauge("job_running", "1 while a run of the job is under way, else 0.")
    last = _gauge("job_last_run_timestamp_seconds", "When the last run ended.")
    state = _gauge("job_last_run_state", "1 for the state in which the last run ended.", "state")
    seconds = _gauge("job_last_run_duration_seconds", "How long the last run took.")
    good = _gauge("job_last_success_timestamp_seconds", "When the last good run ended.")
    failures = _counter("job_failures", "Runs that failed, were interrupted or backed up nothing.")
    skipped = _counter("job_skipped", "Runs that were skipped.")
    for name, job in jobs.items():
        running.add_metric([name], min(1, job.running))
        failures.add_metric([name], job.failures_total)
        skipped.add_metric([name], job.skipped_total)
        if job.last is not None and job.last.ended_at is not None:
            last.add_metric([name], job.last.ended_at.timestamp())
            seconds.add_metric([name], (job.last.ended_at - job.last.started_at).total_seconds())
            ended_as = _ended_as(job.last)
            for one in STATES:
                state.add_metric([name, one], float(ended_as == one))
        if job.last_good is not None and job.last_good.ended_at is not None:
            good.add_metric([name], job.last_good.ended_at.timestamp())
    yield from (running, last, state, seconds, good, failures, skipped)


def _ended_as(record: RunRecord) -> str:
    """In which of `STATES` a run ended: one that backed up nothing failed."""
    return record.state if record.is_success or record.state != "good" else "failed"


def _of_kinds(jobs: Mapping[str, _Job]) -> Iterator[Metric]:
    good = _gauge(
        "source_last_success_timestamp_seconds", "When all of the kind were backed up.", "kind"
    )
    seconds = _gauge(
        "source_last_duration_seconds", "Time spent on the kind in the last run.", "kind"
    )
    size = _gauge("source_last_size_bytes", "Bytes of the plain archives of the last run.", "kind")
    stored = _gauge("source_last_stored_bytes", "Bytes that those take in the store.", "kind")
    read_total = _counter("source_read_bytes", "Bytes read from the engine.", "kind")
    stored_total = _counter("source_stored_bytes", "Bytes written to the store.", "kind")
    failures = _counter("source_failures", "Sources that failed or were missing.", "kind")
    for name, job in jobs.items():
        for kind, known in job.kinds.items():
            if known.last_success is not None:
                good.add_metric([name, kind], known.last_success.timestamp())
            seconds.add_metric([name, kind], known.seconds)
            size.add_metric([name, kind], known.size_bytes)
            stored.add_metric([name, kind], known.stored_bytes)
            read_total.add_metric([name, kind], known.read_total)
            stored_total.add_metric([name, kind], known.stored_total)
            failures.add_metric([name, kind], known.failures_total)
    yield from (good, seconds, size, stored, read_total, stored_total, failures)


def _of_proofs(proofs: Sequence[SourceProof]) -> Iterator[Metric]:
    """By job and kind, as all that is told of sources: a series for each source would be many."""
    last = _gauge(
        "source_last_proven_timestamp_seconds",
        "When that source was last proven which waits for longest.",
        "kind",
    )
    never = _gauge("source_unproven", "Sources of which no backup was ever proven.", "kind")
    kinds: dict[tuple[str, str], list[SourceProof]] = defaultdict(list)
    for proof in proofs:
        kinds[proof.job, proof.kind].append(proof)
    for labels, members in sorted(kinds.items()):
        moments = [proof.proven_at for proof in members if proof.proven_at is not None]
        if moments:
            last.add_metric(labels, min(moments).timestamp())
        never.add_metric(labels, len(members) - len(moments))
    yield from (last, never)


def _gauge(name: str, text: str, *more_labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"backupd_{name}", text, labels=["job", *more_labels])


def _counter(name: str, text: str, *more_labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"backupd_{name}", text, labels=["job", *more_labels])


class _Collector(Collector):
    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterator[Metric]:
        return self._collect()

    def describe(self) -> Iterator[Metric]:
        """Nothing: a registry that asked for all values at its birth would ask the daemon."""
        return iter(())


def exposition(
    numbers: Numbers,
    outlooks: Callable[[], Mapping[str, Outlook]],
    accept: str,
    proofs: Callable[[], Sequence[SourceProof]] = tuple,
) -> tuple[bytes, str]:
    """The metrics in the format that `accept` (HTTP's header) wants, and its content type."""
    registry = CollectorRegistry()
    registry.register(_Collector(lambda: numbers.families(outlooks(), proofs())))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
