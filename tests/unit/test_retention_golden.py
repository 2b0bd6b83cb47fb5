"""Whole tables of verdicts with their reasons, kept as text that a person can check.

After a wanted change, `python -m tests.unit.test_retention_golden` writes them anew; read the
difference before you keep it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from backupd.duration import Duration
from backupd.retention import ALL, Rules, decide
from tests.unit.retention_cases import BERLIN, LORD_HOWE, NEW_YORK, UTC_ZONE, Backup, at

GOLDEN = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class Table:
    """One group of backups, the rules for it, and the zone they are read in."""

    backups: list[Backup]
    rules: Rules
    zone: ZoneInfo = UTC_ZONE
    gone_since: datetime | None = None
    now: datetime | None = None


def every(step: timedelta, number: int, newest: str, zone: ZoneInfo = UTC_ZONE) -> list[Backup]:
    start = at(zone, newest)[0].taken_at
    return [Backup(start - step * place) for place in range(number)]


def marked(backups: list[Backup], change: Callable[[Backup], Backup], *places: int) -> list[Backup]:
    return [change(backup) if place in places else backup for place, backup in enumerate(backups)]


HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
UNEVEN = [
    "2024-09-20 11:20", "2024-09-20 11:08", "2024-09-19 23:59", "2024-09-11 10:23",
    "2024-09-10 10:23", "2024-08-31 23:00", "2024-08-10 10:20", "2024-08-10 08:00",
    "2024-01-01 00:00", "2023-12-31 23:59", "2023-06-20 12:00", "2022-11-22 12:00",
    "2022-11-10 12:00", "2020-10-01 12:00", "2020-09-30 12:00",
]  # fmt: skip

TABLES = {
    "no-rules": Table(every(DAY, 3, "2024-06-15 03:00"), Rules()),
    "last": Table(every(DAY, 5, "2024-06-15 03:00"), Rules(keep_last=3)),
    "hourly-berlin-autumn": Table(
        every(HOUR / 2, 14, "2024-10-27 04:00", BERLIN), Rules(keep_hourly=6), BERLIN
    ),
    "hourly-lord-howe-autumn": Table(
        every(HOUR / 4, 14, "2024-04-07 02:30", LORD_HOWE), Rules(keep_hourly=4), LORD_HOWE
    ),
    "daily-new-york-spring": Table(
        every(8 * HOUR, 14, "2024-03-11 23:00", NEW_YORK), Rules(keep_daily=4), NEW_YORK
    ),
    "weekly-year-of-53-weeks": Table(
        every(DAY, 20, "2021-01-06 03:00", BERLIN), Rules(keep_weekly=3), BERLIN
    ),
    "grandfather-father-son": Table(
        every(DAY, 75, "2024-09-20 03:00", BERLIN),
        Rules(keep_daily=7, keep_weekly=4, keep_monthly=12),
        BERLIN,
    ),
    "all-monthly-and-oldest": Table(at(UTC_ZONE, *UNEVEN), Rules(keep_monthly=ALL)),
    "counts-left-and-oldest": Table(
        at(UTC_ZONE, *UNEVEN), Rules(keep_daily=2, keep_monthly=6, keep_yearly=9)
    ),
    "within": Table(at(UTC_ZONE, *UNEVEN), Rules(keep_within=Duration(months=1, days=10))),
    "within-each-period": Table(
        at(UTC_ZONE, *UNEVEN),
        Rules(
            keep_within_hourly=Duration(hours=36),
            keep_within_daily=Duration(days=10),
            keep_within_weekly=Duration(months=1),
            keep_within_monthly=Duration(years=1, months=6),
            keep_within_yearly=Duration(years=9),
        ),
    ),
    "month-before-31-march": Table(
        every(DAY, 34, "2023-03-31 03:00"), Rules(keep_within=Duration(months=1))
    ),
    "pinned-held-and-damaged": Table(
        marked(
            marked(
                marked(
                    every(DAY, 8, "2024-06-15 03:00"),
                    lambda backup: replace(backup, good=False),
                    0,
                    1,
                ),
                lambda backup: replace(backup, pinned=True),
                1,
                6,
            ),
            lambda backup: replace(backup, held="newest backup that a restore has proven"),
            4,
        ),
        Rules(keep_last=1, minimum=2),
    ),
    "one-moment": Table(
        [Backup(datetime(2024, 6, 15, 3, tzinfo=UTC), id=name) for name in "dbca"],
        Rules(keep_last=1, keep_daily=2),
    ),
    "gone": Table(
        every(DAY, 9, "2024-06-15 03:00"),
        Rules(keep_last=2, keep_daily=7, keep_monthly=3, minimum=3, gone_after=Duration(days=30)),
        gone_since=datetime(2024, 6, 15, 12, tzinfo=UTC),
        now=datetime(2024, 8, 1, tzinfo=UTC),
    ),
}


def written_rules(rules: Rules) -> str:
    """The rules that differ from the defaults, as the policy writes them."""
    defaults = Rules()
    chosen: list[tuple[str, Any]] = [
        (rule.name, getattr(rules, rule.name))
        for rule in fields(rules)
        if getattr(rules, rule.name) != getattr(defaults, rule.name)
    ]
    return ", ".join(f"{name}: {'all' if value == ALL else value}" for name, value in chosen)


def written(table: Table) -> str:
    """The table as text: a head that tells the case, then a line for each backup."""
    lines = [f"zone    {table.zone}", f"rules   {written_rules(table.rules) or 'none'}"]
    if table.gone_since is not None and table.now is not None:
        lines.append(f"gone    since {table.gone_since:%Y-%m-%d %H:%M}Z")
        lines.append(f"now     {table.now:%Y-%m-%d %H:%M}Z")
    lines.append("")
    for verdict in decide(
        table.backups, table.rules, table.zone, gone_since=table.gone_since, now=table.now
    ):
        local = verdict.backup.taken_at.astimezone(table.zone)
        state = "keep" if verdict.keep else "go"
        name = "" if len(verdict.backup.id) > 1 else f"  {verdict.backup.id}"
        damaged = "" if verdict.backup.good else "  (damaged)"
        why = "; ".join(verdict.reasons)
        lines.append(
            f"{state:7} {local:%a %Y-%m-%d %H:%M %z  %G-W%V}{name}{damaged}  {why}".rstrip()
        )
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", TABLES)
def test_the_verdicts_and_reasons_are_those_of_the_golden_table(name: str) -> None:
    expected = (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")

    actual = written(TABLES[name])

    assert expected == actual


def test_every_golden_table_is_checked() -> None:
    actual = sorted(path.stem for path in GOLDEN.iterdir())

    assert sorted(TABLES) == actual


if __name__ == "__main__":
    for name, table in TABLES.items():
        (GOLDEN / f"{name}.txt").write_text(written(table), encoding="utf-8")
