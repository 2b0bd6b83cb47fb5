"""A year of hourly backups, pruned every day, against what the rules promise in plain words.

The oracle here knows nothing of the code under test: it remembers every backup ever made, labels
each by the local calendar and says which of all of them must be there after each day.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from backupd.retention import Rules, decide
from tests.unit.retention_cases import BERLIN, LORD_HOWE, NEW_YORK, UTC_ZONE, Backup

START = datetime(2024, 2, 10, 11, 20, tzinfo=UTC)
HOURS_A_DAY = 24
DAYS = 366
PROMISES = {  # the label of a period, and how many of them the rules below promise
    "%Y-%m-%d %H": 30,
    "%Y-%m-%d": 9,
    "%G-W%V": 6,
    "%Y-%m": 5,
}
RULES = Rules(keep_last=3, keep_hourly=30, keep_daily=9, keep_weekly=6, keep_monthly=5)


class Oracle:
    """All backups ever made, and for each kind of period the newest of each."""

    def __init__(self, zone: ZoneInfo) -> None:
        self.zone = zone
        self.made: list[datetime] = []
        self.newest: dict[str, dict[str, datetime]] = {label: {} for label in PROMISES}

    def remember(self, moment: datetime) -> None:
        self.made.append(moment)
        local = moment.astimezone(self.zone)
        for label, newest in self.newest.items():
            newest[local.strftime(label)] = moment

    def promised(self) -> set[datetime]:
        promised = set(self.made[-3:])
        for label, count in PROMISES.items():
            newest = sorted(self.newest[label].values())
            promised.update(newest[-count:])
            if len(newest) < count:
                promised.add(self.made[0])
        return promised


def days_of_hourly_backups() -> Iterator[list[Backup]]:
    for day in range(DAYS):
        hours = range(day * HOURS_A_DAY, (day + 1) * HOURS_A_DAY)
        yield [Backup(START + timedelta(hours=hour)) for hour in hours]


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK, LORD_HOWE, UTC_ZONE], ids=str)
def test_after_every_day_of_a_year_exactly_the_promised_backups_are_left(zone: ZoneInfo) -> None:
    oracle = Oracle(zone)
    left: list[Backup] = []

    for made_today in days_of_hourly_backups():
        for backup in made_today:
            oracle.remember(backup.taken_at)
        verdicts = decide([*left, *made_today], RULES, zone)
        left = [verdict.backup for verdict in verdicts if verdict.keep]

        assert oracle.promised() == {backup.taken_at for backup in left}
