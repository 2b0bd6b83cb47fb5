"""How every job stands: of this host by its history, of others by the status.json that they wrote.

Both are judged by the same rule, `backupd.timetable.judge`, at the moment of looking: a host that
fell silent grows late by itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from backupd.catalog import hosts
from backupd.errors import ObjectMissing, ObjectTooLarge
from backupd.history import History
from backupd.layout import status_key
from backupd.policy import Policy
from backupd.run_record import CHORES, Past, Promise
from backupd.stores import Store
from backupd.timetable import Facts, Freshness, Timetable, judge
from backupd.verbs.proofs import SourceProof, proof_from_json, proof_to_json, waiting_first

SCHEMA = 1
LIMIT_BYTES = 16 << 20
MOST_PROOFS = 10_000
"""A tenth of the room that a status has, for names of usual length."""
_LONGEST_DELAY_SECONDS = 200 * 366 * 86400
_UNREADABLE = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)
"""What reading a status that no backupd wrote may raise."""
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class JobFacts:
    """What is known of one job, wherever it was read."""

    schedule: str | None = None
    """The cron expression; None for a job that runs by hand only."""
    zone: str = "UTC"
    delay_seconds: int = 0
    since: datetime | None = None
    """When a daemon took this very schedule up."""
    last_started_at: datetime | None = None
    last_ended_at: datetime | None = None
    last_state: str | None = None
    last_note: str = ""
    good_started_at: datetime | None = None
    good_ended_at: datetime | None = None
    skipped: int = 0
    """Runs that were due and not begun, since the newest good one."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How one job stands at one moment."""

    job: str
    facts: JobFacts
    freshness: Freshness | None
    """None for a job without a schedule, which promises nothing."""
    outstanding_since: datetime | None = None
    """The due moment after which no good run has ended."""
    next_due: datetime | None = None
    interval: timedelta | None = None
    """Between the next two runs."""

    @property
    def is_fine(self) -> bool:
        """Whether the job keeps what its schedule promises."""
        return self.freshness in (None, Freshness.FRESH)


@dataclass(frozen=True, slots=True)
class HostStatus:
    """One host's part of the store, as its daemon last told of it."""

    host: str
    written_at: datetime | None
    """None where no daemon has ever written, or nothing that can be read."""
    standings: tuple[Standing, ...] = ()
    problem: str = ""
    proofs: tuple[SourceProof, ...] = ()
    """When each source was last proven, those that wait for longest first."""

    @property
    def is_fine(self) -> bool:
        """Whether every job of the host is as fresh as its schedule says."""
        return not self.problem and all(standing.is_fine for standing in self.standings)


def facts_of(pasts: Mapping[str, Past], promises: Mapping[str, Promise]) -> dict[str, JobFacts]:
    """What the history knows of the jobs that the daemon took up."""
    return {
        job: _facts(pasts.get(job, Past()), promise, since=promise.since)
        for job, promise in promises.items()
    }


def facts_by_policy(
    policy: Policy,
    timetables: Mapping[str, Timetable],
    pasts: Mapping[str, Past],
    promises: Mapping[str, Promise],
) -> dict[str, JobFacts]:
    """What is known of every job of the policy; a schedule that no daemon knows has no `since`."""
    found = {}
    for job in [*policy.jobs, *(chore for chore in CHORES if chore in timetables)]:
        timetable, past = timetables.get(job), pasts.get(job, Past())
        if timetable is None:
            found[job] = _facts(past, None)
            continue
        schedule, delay = timetable.schedule, int(timetable.delay.total_seconds())
        wanted = Promise(schedule.expression, schedule.zone.key, delay, _NEVER)
        known = promises.get(job)
        since = known.since if known is not None and known.is_as(wanted) else None
        found[job] = _facts(past, wanted, since=since)
    return found


def _facts(past: Past, promise: Promise | None, since: datetime | None = None) -> JobFacts:
    last, good = past.last, past.last_good
    return JobFacts(
        schedule=promise.expression if promise else None,
        zone=promise.zone if promise else "UTC",
        delay_seconds=promise.delay_seconds if promise else 0,
        since=since,
        last_started_at=last.started_at if last else None,
        last_ended_at=last.ended_at if last else None,
        last_state=last.state if last else None,
        last_note=last.note if last else "",
        good_started_at=good.started_at if good else None,
        good_ended_at=good.ended_at if good else None,
        skipped=past.skipped,
    )


def standings(known: Mapping[str, JobFacts], now: datetime) -> tuple[Standing, ...]:
    """How every job stands at `now`, the late ones first."""
    found = [standing(job, facts, now) for job, facts in known.items()]
    return tuple(sorted(found, key=lambda one: (one.is_fine, one.job)))


def standing(job: str, facts: JobFacts, now: datetime) -> Standing:
    """How one job stands at `now`."""
    if facts.schedule is None:
        return Standing(job, facts, None)
    promise = Promise(facts.schedule, facts.zone, facts.delay_seconds, now)
    try:
        timetable = promise.timetable
    except ValueError:  # another host knows a time zone that this one does not
        return Standing(job, facts, Freshness.UNKNOWN)
    due = timetable.next_after(now)
    interval = timetable.next_after(due) - due
    if job in CHORES:
        return Standing(job, facts, None, next_due=due, interval=interval)
    freshness, outstanding = judge(timetable, _judged(facts), now)
    return Standing(job, facts, freshness, outstanding, due, interval)


def _judged(facts: JobFacts) -> Facts:
    state, started = facts.last_state, facts.last_started_at
    return Facts(
        since=facts.since,
        good_until=facts.good_ended_at,
        failed_at=started if state in ("failed", "interrupted") else None,
        running_since=started if state == "running" else None,
    )


def status_to_json(
    host: str,
    version: str,
    now: datetime,
    known: Mapping[str, JobFacts],
    proofs: Sequence[SourceProof] = (),
) -> dict[str, Any]:
    """What a host writes into the store: for each job what was promised and what became of it.

    And of the sources when they were last proven, as many as a status has room for.
    """
    return {
        "schema": SCHEMA,
        "host": host,
        "written_at": now.isoformat(),
        "made_by": f"backupd {version}",
        "jobs": {job: job_to_json(standing(job, facts, now)) for job, facts in known.items()},
        "proofs": [proof_to_json(proof) for proof in proofs[:MOST_PROOFS]],
    }


def job_to_json(one: Standing) -> dict[str, Any]:
    """One job's standing; times as ISO 8601 in UTC, null where there is none."""
    facts = one.facts
    return {
        "schedule": facts.schedule,
        "timezone": facts.zone,
        "delay_seconds": facts.delay_seconds,
        "promised_since": _text(facts.since),
        "last_started_at": _text(facts.last_started_at),
        "last_ended_at": _text(facts.last_ended_at),
        "last_state": facts.last_state,
        "last_note": facts.last_note,
        "last_success_started_at": _text(facts.good_started_at),
        "last_success_ended_at": _text(facts.good_ended_at),
        "skipped": facts.skipped,
        "next_due_at": _text(one.next_due),
        "interval_seconds": int(one.interval.total_seconds()) if one.interval else None,
        "freshness": one.freshness,
        "outstanding_since": _text(one.outstanding_since),
    }


def fleet(store: Store, only_host: str | None, now: datetime) -> list[HostStatus]:
    """Every host of the store (or one) as it stands at `now`, stale ones first.

    Needs keys that may list and read. Raises StoreError.
    """
    names = [only_host] if only_host is not None else hosts(store)
    found = [host_status(store, name, now) for name in names]
    return sorted(found, key=lambda one: (one.is_fine, one.host))


def host_status(store: Store, host: str, now: datetime) -> HostStatus:
    """One host by what its daemon wrote. Raises StoreError when the store fails."""
    try:
        raw = json.loads(store.get_bytes(status_key(host), limit_bytes=LIMIT_BYTES))
        if raw["schema"] != SCHEMA:
            return HostStatus(host, None, problem="its status is of another version of backupd")
        known = {str(job): _from_json(facts) for job, facts in raw["jobs"].items()}
        proofs = waiting_first(map(proof_from_json, raw.get("proofs", ())))
        written_at = _moment(raw["written_at"])
        return HostStatus(host, written_at, standings(known, now), proofs=tuple(proofs))
    except ObjectMissing:
        return HostStatus(host, None, problem="no daemon has ever told of it")
    except (*_UNREADABLE, ObjectTooLarge):
        return HostStatus(host, None, problem="its status cannot be read; its next run replaces it")


def _from_json(raw: Mapping[str, Any]) -> JobFacts:
    delay_seconds = int(raw["delay_seconds"])
    if not 0 <= delay_seconds <= _LONGEST_DELAY_SECONDS:
        raise ValueError("no policy can ask for such a delay")
    return JobFacts(
        schedule=_text_or_none(raw["schedule"]),
        zone=str(raw["timezone"]),
        delay_seconds=delay_seconds,
        since=_moment(raw["promised_since"]),
        last_started_at=_moment(raw["last_started_at"]),
        last_ended_at=_moment(raw["last_ended_at"]),
        last_state=_text_or_none(raw["last_state"]),
        last_note=str(raw["last_note"]),
        good_started_at=_moment(raw["last_success_started_at"]),
        good_ended_at=_moment(raw["last_success_ended_at"]),
        skipped=int(raw["skipped"]),
    )


def _text(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat() if moment else None


def _text_or_none(told: object) -> str | None:
    return None if told is None else str(told)


def _moment(text: str | None) -> datetime | None:
    """The moment, if it is one that every time zone and schedule can handle. Raises ValueError."""
    moment = datetime.fromisoformat(text) if text else None
    if moment is not None and (moment.tzinfo is None or not 1970 <= moment.year <= 9000):
        raise ValueError("a moment needs its time zone, and a year that a clock may show")
    return moment


def standings_of(
    policy: Policy, timetables: Mapping[str, Timetable], history: History, now: datetime
) -> tuple[Standing, ...]:
    """How every job of this host's policy stands, the late ones first. Raises UsageError."""
    known = facts_by_policy(policy, timetables, history.pasts(), history.promises())
    return standings(known, now)


def ailment(found: Sequence[Standing]) -> str:
    """Why not every job is as fresh as its schedule promises, in a sentence; empty if all are."""
    late = [one.job for one in found if not one.is_fine]
    if not late:
        return ""
    names = ", ".join(late[:5]) + (" …" if len(late) > 5 else "")
    return f"{len(late)} of {len(found)} jobs are not as fresh as their schedules say: {names}"
