"""When a job is due: a cron expression and a time zone, turned into moments.

The meaning is that of Debian's cron (cron(8), crontab(5)): Sunday is 0 and 7; where both day fields
are restricted, either suffices; a fixed time fires once on the days when clocks change (a skipped
one at the first moment after the gap, a repeated one the first time); one with a `*` at the start
of its minute or hour follows the clock on the wall, and fires neither in the skipped hour nor only
once in the repeated one. `cronsim` walks the calendar; what a change of clocks means is worked out
here for the second kind, since its steps of an hour lose runs where clocks change by half an hour
or at midnight. Pure: no clock, `moment` is a parameter; nothing is run here.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

_SHORTHANDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS = {
    "Bad minute": "the minute (first field) takes 0 to 59",
    "Bad hour": "the hour (second field) takes 0 to 23",
    "Bad day-of-month": "the day of the month (third field) takes 1 to 31, and L for the last; "
    "the months must have that day",
    "Bad month": "the month (fourth field) takes 1 to 12 or JAN to DEC",
    "Bad day-of-week": "the day of the week (fifth field) takes 0 to 7 (Sunday is 0 and 7) or SUN "
    "to SAT",
}
_FORM = 'write five fields (minute hour day month weekday), such as "0 3 * * *", or @daily'
_LONGEST = 500
_NEVER = "the calendar ends before this schedule fires"
_NONE = timedelta(0)
_LONGEST_REPEAT = timedelta(hours=3)
"""No clock is set back by more (in the time zone database: two hours)."""
_ANY_MOMENT = datetime(2024, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=4096)
def check_expression(expression: str) -> str:
    """The five cron fields that `expression` stands for. Raises ValueError, never repeating it."""
    if expression.startswith("@"):
        return _expand(expression)
    fields = expression.split()
    if len(fields) == 6:
        raise ValueError(f"has six fields, but a schedule has no seconds; {_FORM}")
    if len(expression) > _LONGEST:
        raise ValueError(f"is longer than {_LONGEST} signs; {_FORM}")
    if len(fields) != 5:
        raise ValueError(f"has {len(fields)} fields, not five; {_FORM}")
    cron = " ".join(fields)
    try:
        next(CronSim(cron, _ANY_MOMENT))
    except CronSimError as error:
        why = _FIELDS.get(str(error), _FORM)
        raise ValueError(f"is not a schedule: {why}") from error
    except StopIteration:
        raise ValueError("is not a schedule: no day ever fits it") from None
    return cron


def _expand(shorthand: str) -> str:
    if shorthand == "@reboot":
        raise ValueError("is not a schedule: backupd does not run jobs at boot; write a time")
    try:
        return _SHORTHANDS[shorthand.lower()]
    except KeyError:
        known = ", ".join(sorted(_SHORTHANDS))
        raise ValueError(f"is not a schedule: known are {known}; or {_FORM}") from None


def check_zone(name: str) -> str:
    """`name`, if it is a time zone's IANA name. Raises ValueError with the nearest one known."""
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        near = difflib.get_close_matches(name, available_timezones(), n=1, cutoff=0.7)
        hint = f"did you mean {near[0]}?" if near else "write such as UTC or Europe/Berlin"
        raise ValueError(f"is not a time zone that this machine knows; {hint}") from None
    return name


@dataclass(frozen=True)
class Schedule:
    """A cron expression in one time zone, checked."""

    expression: str
    """As it was written."""
    zone: ZoneInfo
    _cron: str

    @classmethod
    def parse(cls, expression: str, zone: str) -> Schedule:
        """The schedule, if it fires at all. Raises ValueError with a sentence on what to write."""
        try:
            cron = check_expression(expression)
        except ValueError as error:
            raise ValueError(f"{expression!r} {error}") from error
        try:
            return cls(expression, ZoneInfo(check_zone(zone)), cron)
        except ValueError as error:
            raise ValueError(f"{zone!r} {error}") from error

    def next_after(self, moment: datetime) -> datetime:
        """The first moment, in UTC, that is due after `moment` (aware).

        Raises OverflowError where the calendar ends before.
        """
        if moment.tzinfo is None:
            raise ValueError("a moment needs its time zone")
        minute, hour, *_ = self._cron.split()
        if minute.startswith("*") or hour.startswith("*"):
            return self._next_by_the_wall(moment)
        for tick in CronSim(self._cron, moment.astimezone(self.zone)):
            # cronsim steps on the wall clock, so inside a repeated hour its first answer may have
            # passed already.
            due = tick.astimezone(UTC)
            if due > moment:
                return due
        raise OverflowError(_NEVER)

    def _next_by_the_wall(self, moment: datetime) -> datetime:
        """The first moment after `moment` at which clocks on the wall show a fitting time.

        They are asked to show each time that fits, the repeated ones twice; a skipped one never
        comes.
        """
        local, soon = (at.astimezone(self.zone) for at in (moment, moment + _LONGEST_REPEAT))
        start = local.replace(tzinfo=None, fold=0)
        # What the clock shows again soon lies behind what it shows now.
        start -= max((local.utcoffset() or _NONE) - (soon.utcoffset() or _NONE), _NONE)
        again = None
        for wall in CronSim(self._cron, start):
            first, second = (
                wall.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1)
            )
            if first.astimezone(self.zone).replace(tzinfo=None, fold=0) != wall:
                continue
            if first > moment:
                return min(first, again or first)
            if second > moment:
                again = again or second
        raise OverflowError(_NEVER)

    def explain(self) -> str:
        """The schedule in words, with its zone."""
        words = CronSim(self._cron, _ANY_MOMENT).explain()
        return f"{words[:1].lower()}{words[1:]}, {self.zone.key} time"
