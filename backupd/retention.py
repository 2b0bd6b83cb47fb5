"""Which backups of one group stay, and why.

`decide` takes all backups of a group (see `grouping.py`) and gives each a verdict with its reasons;
`prune_guard.review` then looks at the plan as a whole, and only what both let through is removed.
The rules mean what those of `restic forget` mean: newest first, a counted rule keeps the newest
backup of each calendar period until its count is used up and, with counts left, the oldest backup
too; what any rule keeps, stays. Pure: the clock is a parameter; nothing is read or removed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Generic, Literal, NamedTuple
from zoneinfo import ZoneInfo

from backupd.duration import Duration
from backupd.timeline import (
    PERIODS,
    B,
    B_co,
    Candidate,
    Entry,
    count_newer,
    heads,
    in_utc,
    newest_first,
    period_numbers,
)

ALL = -1
"""The count of a rule that is never used up."""


@dataclass(frozen=True)
class Rules:
    """What to keep; the rules add up. None and 0 both mean: no such rule, as in restic.

    Raises ValueError for a count below `ALL` and for a `minimum` below 1.
    """

    keep_last: int | None = None
    keep_hourly: int | None = None
    keep_daily: int | None = None
    keep_weekly: int | None = None
    keep_monthly: int | None = None
    keep_yearly: int | None = None
    keep_within: Duration | None = None
    keep_within_hourly: Duration | None = None
    keep_within_daily: Duration | None = None
    keep_within_weekly: Duration | None = None
    keep_within_monthly: Duration | None = None
    keep_within_yearly: Duration | None = None
    minimum: int = 1
    """The newest so many good backups stay, whatever the other rules say."""
    gone_after: Duration | None = None
    """Once a source was away for so long, its backups are no longer sheltered from growing old."""
    group: Literal["name", "repository"] = "name"
    """Whether they hold for each source by itself or for all tags of a repository together."""

    def __post_init__(self) -> None:
        for name, count in zip(("last", *PERIODS), (self.keep_last, *self.counts), strict=True):
            if count is not None and count < ALL:
                raise ValueError(f"keep_{name} cannot be {count}; give a count from 0 up, or all")
        if self.minimum < 1:
            raise ValueError(f"minimum cannot be {self.minimum}; give a count from 1 up")

    @property
    def counts(self) -> tuple[int | None, ...]:
        """The counted rules, in the order of `PERIODS`."""
        return (
            self.keep_hourly,
            self.keep_daily,
            self.keep_weekly,
            self.keep_monthly,
            self.keep_yearly,
        )

    @property
    def spans(self) -> tuple[Duration | None, ...]:
        """The rules that keep one of each period of a duration, in the order of `PERIODS`."""
        return (
            self.keep_within_hourly,
            self.keep_within_daily,
            self.keep_within_weekly,
            self.keep_within_monthly,
            self.keep_within_yearly,
        )

    @property
    def keeps_all(self) -> bool:
        """Whether no rule says what to keep, so that nothing may go."""
        return not any((self.keep_last, *self.counts, self.keep_within, *self.spans))


@dataclass(frozen=True, slots=True)
class Verdict(Generic[B_co]):
    """Whether a backup stays. `reasons` are for people; `rules` name them, one for one."""

    backup: B_co
    keep: bool
    reasons: tuple[str, ...]
    """Empty for a backup that goes simply because no rule keeps it."""
    rules: tuple[str, ...]
    """The policy's own keys, and `pinned`, `held`, `no_rules`."""


def decide(
    backups: Iterable[B],
    rules: Rules,
    zone: ZoneInfo,
    *,
    gone_since: datetime | None = None,
    now: datetime | None = None,
) -> list[Verdict[B]]:
    """A verdict for each backup of one group, newest first, those of one moment by id.

    Periods are those of the calendar in `zone`. `gone_since` is the moment since which the source
    is missing on the engine, None while it is there or nobody knows. Once `rules.gone_after` has
    passed since then, the source loses its minimum, and the rules count from `now` instead of from
    its newest backup, so that what it left behind grows old. Raises ValueError for a moment
    without a time zone, and for `gone_since` without `now`.
    """
    entries = newest_first(backups, zone)
    marks = _marks(entries, rules, zone)
    if not is_gone(rules, zone, gone_since, now):
        return [_verdict(entry, found) for entry, found in zip(entries, marks, strict=True)]
    aged = _marks(entries, rules, zone, as_of=now)
    gone = _Mark("gone_after", f"gone for more than {rules.gone_after}")
    return [
        _verdict(entry, found) if found or not before else _verdict(entry, [gone], keep=False)
        for entry, before, found in zip(entries, marks, aged, strict=True)
    ]


def survivors(entries: Sequence[Entry[B]], rules: Rules, zone: ZoneInfo) -> list[Entry[B]]:
    """The entries (newest first) that `decide` would keep while their source is there."""
    return [
        entry for entry, found in zip(entries, _marks(entries, rules, zone), strict=True) if found
    ]


class _Mark(NamedTuple):
    """One rule that speaks for a backup."""

    rule: str
    reason: str


_Marked = Iterator[tuple[Iterable[int], _Mark]]
"""Places in the list of entries, and what keeps the backups that stand there."""


def is_gone(
    rules: Rules, zone: ZoneInfo, gone_since: datetime | None, now: datetime | None
) -> bool:
    """Whether a source has been missing for longer than `rules.gone_after`.

    Raises ValueError for `gone_since` without `now` where there is such a rule.
    """
    if gone_since is None or rules.gone_after is None:
        return False
    if now is None:
        raise ValueError("cannot tell how long the source has been gone: give decide() the time")
    return in_utc(gone_since) < rules.gone_after.before(in_utc(now), zone)


def _verdict(entry: Entry[B], marks: Sequence[_Mark], *, keep: bool | None = None) -> Verdict[B]:
    return Verdict(
        entry.backup,
        keep=bool(marks) if keep is None else keep,
        reasons=tuple(mark.reason for mark in marks),
        rules=tuple(mark.rule for mark in marks),
    )


def _marks(
    entries: Sequence[Entry[Candidate]],
    rules: Rules,
    zone: ZoneInfo,
    as_of: datetime | None = None,
) -> list[list[_Mark]]:
    """For each entry, all that keeps it: the rules as of the newest backup, or as of `as_of`."""
    marks: list[list[_Mark]] = [[] for _ in entries]
    for places, mark in _all_marks(entries, rules, zone, as_of):
        for place in places:
            marks[place].append(mark)
    return marks


def _all_marks(
    entries: Sequence[Entry[Candidate]], rules: Rules, zone: ZoneInfo, as_of: datetime | None
) -> _Marked:
    yield from _marked_by_hand(entries)
    if not entries:
        return
    if rules.keeps_all:
        yield range(len(entries)), _Mark("no_rules", "no rules: keep all")
    start = entries[0].moment if as_of is None else in_utc(as_of)
    yield from _within(entries, rules, zone, start)
    if as_of is None:
        yield from _counted(entries, rules)
    else:
        yield from _counted_back_from(entries, rules, period_numbers(start, zone))
    yield from _within_periods(entries, rules, zone, start)
    if as_of is None and not rules.keeps_all:
        good = (place for place, entry in enumerate(entries) if entry.backup.good)
        yield islice(good, rules.minimum), _Mark("minimum", f"minimum {rules.minimum}")


def _marked_by_hand(entries: Sequence[Entry[Candidate]]) -> _Marked:
    for place, entry in enumerate(entries):
        if entry.backup.pinned:
            yield (place,), _Mark("pinned", "pinned")
        if entry.backup.held is not None:
            yield (place,), _Mark("held", entry.backup.held)


def _within(
    entries: Sequence[Entry[Candidate]], rules: Rules, zone: ZoneInfo, start: datetime
) -> _Marked:
    if rules.keep_within is not None:
        inside = count_newer(entries, rules.keep_within.before(start, zone))
        yield range(inside), _Mark("keep_within", f"within {rules.keep_within}")


def _counted(entries: Sequence[Entry[Candidate]], rules: Rules) -> _Marked:
    """What the counted rules keep, counting only periods that have a backup."""
    if rules.keep_last:
        last = range(len(entries))
        yield last if rules.keep_last == ALL else last[: rules.keep_last], _LAST
    for column, (word, count) in enumerate(zip(PERIODS, rules.counts, strict=True)):
        if not count:
            continue
        places = list(islice(heads(entries, column), None if count == ALL else count))
        yield places, _Mark(f"keep_{word}", f"{word} backup")
        oldest = len(entries) - 1
        if len(places) != count and places[-1] != oldest:
            yield (oldest,), _Mark(f"keep_{word}", f"oldest {word} backup")


_LAST = _Mark("keep_last", "last backup")


def _counted_back_from(
    entries: Sequence[Entry[Candidate]], rules: Rules, current: Sequence[int]
) -> _Marked:
    """What the counted rules keep when every period up to `current` counts, empty or not.

    So would it be had the source been backed up in each of them; of `keep_last` nothing is left
    then but `all`, and the oldest backup has no claim of its own.
    """
    if rules.keep_last == ALL:
        yield range(len(entries)), _LAST
    for column, (word, count) in enumerate(zip(PERIODS, rules.counts, strict=True)):
        if not count:
            continue
        first = 0 if count == ALL else current[column] - count + 1
        yield heads(entries, column, first), _Mark(f"keep_{word}", f"{word} backup")


def _within_periods(
    entries: Sequence[Entry[Candidate]], rules: Rules, zone: ZoneInfo, start: datetime
) -> _Marked:
    """One backup of each period of a duration, and the oldest if all lie inside, as in restic."""
    for column, (word, span) in enumerate(zip(PERIODS, rules.spans, strict=True)):
        if span is None:
            continue
        inside = count_newer(entries, span.before(start, zone))
        places = list(heads(entries[:inside], column))
        rule = f"keep_within_{word}"
        yield places, _Mark(rule, f"{word} within {span}")
        oldest = len(entries) - 1
        if inside > oldest and places[-1] != oldest:
            yield (oldest,), _Mark(rule, f"oldest {word} within {span}")
