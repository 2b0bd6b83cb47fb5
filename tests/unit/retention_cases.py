"""Backups made of nothing but their moment, and Hypothesis strategies for groups of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from backupd.duration import Duration
from backupd.retention import ALL, Rules, decide

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
UTC_ZONE = ZoneInfo("UTC")
ZONES = (BERLIN, NEW_YORK, LORD_HOWE, UTC_ZONE)

_numbers = count(1)


@dataclass(frozen=True)
class Backup:
    """A backup as retention sees it; ids grow in the order of making unless one is given."""

    taken_at: datetime
    id: str = field(default_factory=lambda: f"b{next(_numbers):06}")
    pinned: bool = False
    held: str | None = None
    good: bool = True


def at(zone: ZoneInfo, *texts: str) -> list[Backup]:
    """Backups at these local times, such as `2024-10-27 02:30`; a `*` after it: the second such."""
    backups = []
    for text in texts:
        wall = datetime.fromisoformat(text.removesuffix("*"))
        local = wall.replace(tzinfo=zone, fold=1 if text.endswith("*") else 0)
        backups.append(Backup(local.astimezone(UTC)))
    return backups


def kept_times(backups: Iterable[Backup], rules: Rules, zone: ZoneInfo) -> list[str]:
    """The local times of those that stay, newest first, with their offset from UTC."""
    return [
        f"{verdict.backup.taken_at.astimezone(zone):%Y-%m-%d %H:%M %z}"
        for verdict in decide(backups, rules, zone)
        if verdict.keep
    ]


def kept_ids(backups: Iterable[Backup], rules: Rules, zone: ZoneInfo) -> set[str]:
    return {verdict.backup.id for verdict in decide(backups, rules, zone) if verdict.keep}


_CHANGES = (
    datetime(2024, 3, 31, 1, tzinfo=UTC),  # Berlin, spring
    datetime(2024, 10, 27, 1, tzinfo=UTC),  # Berlin, autumn
    datetime(2024, 3, 10, 7, tzinfo=UTC),  # New York, spring
    datetime(2024, 11, 3, 6, tzinfo=UTC),  # New York, autumn
    datetime(2024, 4, 6, 15, tzinfo=UTC),  # Lord Howe, autumn, by half an hour
    datetime(2021, 1, 3, 23, tzinfo=UTC),  # the end of week 53
    datetime(2020, 2, 29, 12, tzinfo=UTC),
)
_SPREADS_SECONDS = (2 * 3600, 2 * 86400, 40 * 86400, 900 * 86400)

zones = st.sampled_from(ZONES)


@st.composite
def moments(draw: st.DrawFn, max_size: int = 30) -> list[datetime]:
    """At least one moment, in no order, equal ones among them, around a turn of the calendar."""
    around = draw(st.sampled_from(_CHANGES))
    spread = draw(st.sampled_from(_SPREADS_SECONDS))
    seconds = st.integers(-spread, spread)
    return [
        around + timedelta(seconds=second)
        for second in draw(st.lists(seconds, min_size=1, max_size=max_size))
    ]


@st.composite
def groups(draw: st.DrawFn) -> list[Backup]:
    """The backups of one group, a few of them pinned, held or damaged."""
    rarely = st.integers(0, 9).map(lambda number: number == 0)
    return [
        Backup(
            moment,
            id=f"b{number:03}",
            pinned=draw(rarely),
            held="held for the test" if draw(rarely) else None,
            good=not draw(rarely),
        )
        for number, moment in enumerate(draw(moments()))
    ]


COUNTED = ("keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")
SPANS = (
    "keep_within",
    "keep_within_hourly",
    "keep_within_daily",
    "keep_within_weekly",
    "keep_within_monthly",
    "keep_within_yearly",
)

counts = st.one_of(st.integers(1, 8), st.just(ALL))
durations = st.builds(
    Duration,
    years=st.integers(0, 1),
    months=st.integers(0, 3),
    days=st.integers(0, 40),
    hours=st.integers(1, 40),
)


@st.composite
def some_rules(draw: st.DrawFn) -> Rules:
    """Rules of which at least one says what to keep."""
    names = draw(st.lists(st.sampled_from(COUNTED + SPANS), min_size=1, max_size=4, unique=True))
    chosen: dict[str, Any] = {
        name: draw(counts if name in COUNTED else durations) for name in names
    }
    return Rules(minimum=draw(st.integers(1, 4)), **chosen)


@st.composite
def more_generous(draw: st.DrawFn, rules: Rules) -> Rules:
    """`rules` with one of them added, raised or lengthened."""
    name = draw(st.sampled_from((*COUNTED, *SPANS, "minimum")))
    present = getattr(rules, name)
    wider: Any
    if name in SPANS:
        longer = Duration(days=draw(st.integers(0, 30)), hours=draw(st.integers(1, 30)))
        wider = longer
        if present is not None:
            wider = replace(
                present, days=present.days + longer.days, hours=present.hours + longer.hours
            )
    elif present in (None, ALL):
        wider = draw(counts) if present is None else ALL
    else:
        wider = present + draw(st.integers(1, 5))
    return replace(rules, **{name: wider})
