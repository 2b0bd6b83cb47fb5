"""Explain: which rights the keys of the store have, and what would grant those that they lack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from backupd.policy import Policy
from backupd.rights import Scope, require_bucket, right_to, rights, statements
from backupd.stores.s3_trial import Answer, Tried, try_rights


@dataclass(frozen=True, slots=True)
class Row:
    """One request that was tried, and whether the policy's jobs depend on it."""

    tried: Tried
    is_needed: bool
    use: str
    """Which verbs need it."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the keys may do."""

    rows: tuple[Row, ...]
    statements: tuple[dict[str, Any], ...]
    """What to add to the keys' policy for all that is needed and was refused."""
    left: tuple[str, ...]
    """Full keys of what the trial could not remove."""

    @property
    def missing(self) -> list[str]:
        """The rights that are needed and were refused."""
        refused = [row.tried.action for row in self.rows if _is_missing(row)]
        return list(dict.fromkeys(refused))


def explain(policy: Policy, host: str) -> Explanation:
    """Try each right in the policy's bucket.

    Raises UsageError for a directory, StoreError where nothing can be asked.
    """
    spec = policy.store
    require_bucket(spec, "cannot explain rights")
    trial = try_rights(spec, host)
    scope = Scope.NO_DELETE if policy.prune.when == "never" else Scope.EVERYTHING
    needed = {right.action for right in rights(spec, scope)}
    rows = tuple(_row(tried, tried.action in needed) for tried in trial.tried)
    missing = {row.tried.action: right_to(row.tried.action) for row in rows if _is_missing(row)}
    return Explanation(rows, tuple(statements(spec, host, missing.values())), trial.left)


def _row(tried: Tried, is_needed: bool) -> Row:
    if tried.extra_for:
        return Row(tried, False, tried.extra_for)
    return Row(tried, is_needed, right_to(tried.action).use)


def _is_missing(row: Row) -> bool:
    return row.is_needed and row.tried.answer is Answer.REFUSED
