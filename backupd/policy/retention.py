"""Which backups stay, as the policy says it. Deciding is the work of `backupd.retention`. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from backupd.duration import Duration as CalendarSpan
from backupd.policy.section import Section, WholeNumber
from backupd.retention import ALL, Rules


def _count(raw: object) -> object:
    """`raw`, if it is a count or `all`. Raises ValueError."""
    if raw is None or raw == "all" or (type(raw) is int and raw >= 0):
        return raw
    raise ValueError("is not a count; write a whole number from 0 up, or all")


def _duration(text: str) -> str:
    """`text`, if `backupd.duration` reads it. Raises ValueError, never repeating it."""
    try:
        CalendarSpan.parse(text)
    except ValueError:
        raise ValueError(
            "is not a duration; write whole numbers with y (years), m (months), w (weeks), "
            "d (days) and h (hours), such as 36h, 14d or 1y6m"
        ) from None
    return text


Count = Annotated[
    int | Literal["all"],
    BeforeValidator(_count),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"const": "all"}]}),
]
Duration = Annotated[str, AfterValidator(_duration)]


class Retention(Section):
    """Which backups of a source stay when old ones are pruned; the rules add up."""

    keep_last: Count | None = None
    """Keep the newest so many."""
    keep_hourly: Count | None = None
    """Keep the newest of each of the last so many hours that have one."""
    keep_daily: Count | None = None
    """Keep the newest of each of the last so many days that have one."""
    keep_weekly: Count | None = None
    """Keep the newest of each of the last so many weeks (ISO, from Monday) that have one."""
    keep_monthly: Count | None = None
    """Keep the newest of each of the last so many months that have one."""
    keep_yearly: Count | None = None
    """Keep the newest of each of the last so many years that have one."""
    keep_within: Duration | None = None
    """Keep all that are at most so much older than the newest, such as 14d or 1y6m."""
    keep_within_hourly: Duration | None = None
    """Keep one for each hour of this duration before the newest."""
    keep_within_daily: Duration | None = None
    """Keep one for each day of this duration before the newest."""
    keep_within_weekly: Duration | None = None
    """Keep one for each week of this duration before the newest."""
    keep_within_monthly: Duration | None = None
    """Keep one for each month of this duration before the newest."""
    keep_within_yearly: Duration | None = None
    """Keep one for each year of this duration before the newest."""
    minimum: WholeNumber = Field(default=1, ge=1)
    """The newest so many good backups stay, whatever the rules say."""
    gone_after: Duration | None = None
    """A source not seen on the engine for so long loses its minimum; without it, never."""
    group: Literal["name", "repository"] = "name"
    """Apply the rules to each name by itself, or to all tags of a repository together."""

    def rules(self) -> Rules:
        """What `backupd.retention.decide` works by."""
        return Rules(
            keep_last=_number(self.keep_last),
            keep_hourly=_number(self.keep_hourly),
            keep_daily=_number(self.keep_daily),
            keep_weekly=_number(self.keep_weekly),
            keep_monthly=_number(self.keep_monthly),
            keep_yearly=_number(self.keep_yearly),
            keep_within=_span(self.keep_within),
            keep_within_hourly=_span(self.keep_within_hourly),
            keep_within_daily=_span(self.keep_within_daily),
            keep_within_weekly=_span(self.keep_within_weekly),
            keep_within_monthly=_span(self.keep_within_monthly),
            keep_within_yearly=_span(self.keep_within_yearly),
            minimum=self.minimum,
            gone_after=_span(self.gone_after),
            group=self.group,
        )


def _number(count: int | Literal["all"] | None) -> int | None:
    return ALL if count == "all" else count


def _span(text: str | None) -> CalendarSpan | None:
    return None if text is None else CalendarSpan.parse(text)
