"""`backupd next`: the coming runs, in local time and in words."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from backupd.cli.session import Session, config_option, warn

if TYPE_CHECKING:
    from backupd.timetable import Timetable


_YEARS = range(1970, 9001)
"""Beyond lie moments of which some zones' local times cannot be written."""


@click.command(name="next")
@click.option(
    "-n", "count", type=click.IntRange(1, 10_000), default=10, help="How many runs; default 10."
)
@click.option("--from", "start", metavar="TIME", help="Runs after this time; default: now.")
@click.option("--json", "as_json", is_flag=True, help="An array of objects, the first run first.")
@config_option
@click.pass_obj
def next_runs(session: Session, *, count: int, start: str | None, as_json: bool) -> None:
    """Show the coming runs of the policy's jobs, by their schedules.

    Each is shown in the time zone of its job. TIME is such as 2027-01-01 or "2027-03-28 01:30", in
    the policy's time zone.

    \b
    Examples: backupd next
              backupd next -n 3 --from 2027-03-28
    """
    from backupd.daemon.generation import timetables_of

    timetables = timetables_of(session.policy, session.host)
    after = _moment(session, start) if start is not None else datetime.now(UTC)
    runs = [run for _, run in zip(range(count), _coming(timetables, after), strict=False)]
    if as_json:
        click.echo(json.dumps([_row(timetables, *run) for run in runs], indent=2))
    elif runs:
        _print(timetables, runs)
    else:
        warn("no job has a schedule: all run by hand only")


def _coming(timetables: dict[str, Timetable], after: datetime) -> Iterator[tuple[datetime, str]]:
    """(when, which) of all timetables, merged, without an end."""

    def of(name: str, timetable: Timetable) -> Iterator[tuple[datetime, str]]:
        return ((due, name) for due in timetable.coming(after))

    return heapq.merge(*(of(name, timetable) for name, timetable in timetables.items()))


def _row(timetables: dict[str, Timetable], due: datetime, name: str) -> dict[str, Any]:
    timetable = timetables[name]
    zone = timetable.schedule.zone
    return {
        "job": name,
        "due_at": due.isoformat().replace("+00:00", "Z"),
        "local": due.astimezone(zone).isoformat(),
        "timezone": zone.key,
        "schedule": timetable.schedule.expression,
        "words": timetable.schedule.explain(),
        "delay_seconds": int(timetable.delay.total_seconds()),
    }


def _print(timetables: dict[str, Timetable], runs: list[tuple[datetime, str]]) -> None:
    from backupd.cli.table import print_table

    rows = []
    for due, name in runs:
        timetable = timetables[name]
        rows.append([_local(due, timetable.schedule.zone), name, _words(timetable)])
    print_table(["DUE", "JOB", "SCHEDULE"], rows)


def _words(timetable: Timetable) -> str:
    words = timetable.schedule.explain()
    return f"{words}, {timetable.delay} later" if timetable.delay else words


def _local(due: datetime, zone: ZoneInfo) -> str:
    return due.astimezone(zone).strftime("%a %Y-%m-%d %H:%M:%S %Z")


def _moment(session: Session, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError(f"--from {text!r} is not a time: write 2027-01-01T03:00") from error
    if moment.year not in _YEARS:
        raise click.UsageError(f"--from {text!r}: the year must be from 1970 to 9000")
    return moment if moment.tzinfo else moment.replace(tzinfo=session.zone)
