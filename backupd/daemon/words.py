"""What the daemon does, in one line for `systemctl status`. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

from backupd.daemon.statefile import DaemonNow, RunNow

SHOWN_RUNS = 3


def status_line(now: DaemonNow, zone: ZoneInfo, *, stops: bool) -> str:
    """What runs, what comes next, and what is wrong, the most pressing first."""
    return "; ".join(_parts(now, zone, stops=stops))


def _parts(now: DaemonNow, zone: ZoneInfo, *, stops: bool) -> Iterator[str]:
    if stops:
        yield "stopping"
    if now.policy.error:
        cause, _, others = now.policy.error.partition("\n")
        yield f"the old policy goes on, the new one is wrong: {cause}{' …' if others else ''}"
    if now.waits_for:
        yield f"waiting for {now.waits_for}"
    if now.running:
        shown = ", ".join(_run(run) for run in now.running[:SHOWN_RUNS])
        more = len(now.running) - SHOWN_RUNS
        yield f"running {shown}{f' and {more} more' if more > 0 else ''}"
    if now.waiting:
        yield f"{len(now.waiting)} more due"
    if stops:
        return
    if now.next_runs:
        name, at = min(now.next_runs.items(), key=lambda item: item[1])
        yield f"next: {name} at {_local(at, zone)}"
    else:
        yield "no job has a schedule"


def _run(run: RunNow) -> str:
    done = sum(source.done_bytes for source in run.sources)
    sources = ", ".join(source.name for source in run.sources[:2])
    return f"{run.job} ({sources}, {done / 1e6:,.0f} MB)" if sources else run.job


def _local(at: datetime, zone: ZoneInfo) -> str:
    return at.astimezone(zone).strftime("%Y-%m-%d %H:%M %Z")
