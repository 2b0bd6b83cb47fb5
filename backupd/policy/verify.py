"""When backups are proven, and how much of them at once, as the policy says it. Pure."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from backupd.policy.prune import Percent
from backupd.policy.section import Flag, Schedule, Section


def _check_share(percent: int) -> int:
    if percent < 1:
        raise ValueError("proves nothing; write a share from 1% to 100%")
    return percent


Share = Annotated[Percent, AfterValidator(_check_share)]


class Verify(Section):
    """When backups are read back and checked, and which share of them each time."""

    schedule: Schedule | None = None
    """When: five cron fields in quotes, or @daily, @weekly …; without it, by hand only."""
    sample: Share = 10
    """Which share of the archives each time, in percent: those that were not proven for longest."""
    data: Flag = True
    """Whether every byte of them is read; false only looks whether their objects are there."""
