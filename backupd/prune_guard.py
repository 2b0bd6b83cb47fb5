"""The last look at a prune plan: a plan that smells of an accident is refused as a whole.

`retention.decide` judges each backup by itself and trusts the clock and the rules; `review` asks
whether the outcome can be what anybody wants. Pure: the clock is a parameter; nothing is removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from backupd.retention import Verdict
from backupd.timeline import Candidate

CLOCK_TOLERANCE = timedelta(hours=1)
"""How far in the future the newest backup may lie before its clock, or ours, counts as wrong."""
SMALL_GROUP = 10
"""A source with no more backups than this may lose any part of them, but not all."""


@dataclass(frozen=True)
class Objection:
    """Why a plan may not be carried out."""

    cause: Literal["everything", "future", "suspect", "limit"]
    sentence: str
    """What is wrong and what to do, for the person who must decide."""
    overridable: bool
    """Whether a person's explicit yes is enough to go on."""


def review(
    verdicts: Sequence[Verdict[Candidate]],
    *,
    now: datetime,
    prune_limit_percent: int = 50,
    source: str = "this source",
    suspects: Sequence[str] = (),
) -> Objection | None:
    """What speaks against removing all that one group's verdicts let go; None if nothing does.

    A plan that removes nothing is never refused. What goes because its source was gone for longer
    than `gone_after` was asked for in so many words: it counts towards neither limit. `source`
    names the group in the sentence; `suspects` are the ids of its newest backups that are oddly
    small, so that the older ones may be all that is left of the source.
    """
    if all(verdict.keep for verdict in verdicts):
        return None
    return (
        _future(verdicts, now, source)
        or _everything(verdicts, source)
        or _suspect(suspects, source)
        or _too_many(verdicts, prune_limit_percent, source)
    )


def _future(verdicts: Sequence[Verdict[Candidate]], now: datetime, source: str) -> Objection | None:
    newest = max((verdict.backup for verdict in verdicts), key=lambda backup: backup.taken_at)
    if newest.taken_at - now <= CLOCK_TOLERANCE:
        return None
    return Objection(
        "future",
        f"cannot prune {source}: its newest backup {newest.id} is dated {_written(newest.taken_at)}"
        f", but it is {_written(now)} now, so a clock went wrong; set the clock right, and if the "
        f"backup's date is the wrong one, remove it with 'backupd forget {newest.id}'",
        overridable=False,
    )


def _everything(verdicts: Sequence[Verdict[Candidate]], source: str) -> Objection | None:
    if any(verdict.keep or _is_gone(verdict) for verdict in verdicts):
        return None
    return Objection(
        "everything",
        f"cannot prune {source}: the plan would remove every one of its backups "
        f"({len(verdicts)}), and prune never empties a source; check its retention rules, or "
        f"remove single backups with 'backupd forget ID'",
        overridable=False,
    )


def _suspect(suspects: Sequence[str], source: str) -> Objection | None:
    if not suspects:
        return None
    return Objection(
        "suspect",
        f"cannot prune {source} without a yes: its newest backup {suspects[0]} is much smaller "
        f"than those before it ('backupd show {suspects[0]}' tells by how much); look at the "
        "source, then repeat with --yes if it is as it should be",
        overridable=True,
    )


def _too_many(
    verdicts: Sequence[Verdict[Candidate]], prune_limit_percent: int, source: str
) -> Objection | None:
    total = len(verdicts)
    leaving = sum(1 for verdict in verdicts if not verdict.keep and not _is_gone(verdict))
    if total <= SMALL_GROUP or leaving * 100 <= total * prune_limit_percent:
        return None
    return Objection(
        "limit",
        f"cannot prune {source} without a yes: the plan would remove {leaving} of its {total} "
        f"backups, more than prune_limit allows ({prune_limit_percent} %); look at 'backupd prune "
        f"--dry-run --explain', then repeat with --yes if it is what you want",
        overridable=True,
    )


def _is_gone(verdict: Verdict[Candidate]) -> bool:
    return not verdict.keep and "gone_after" in verdict.rules


def _written(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
