"""daemon.json in the state directory: what the daemon does now, for `backupd status`.

Replaced whole, so a reader sees the old one or the new. It holds no secret.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from backupd.errors import UsageError
from backupd.state import StateDir

FILE_NAME = "daemon.json"


@dataclass(frozen=True, slots=True)
class PolicyInForce:
    """Which policy the daemon follows, and why no newer one."""

    path: str
    read_at: datetime
    modified_at: datetime | None
    error: str = ""
    """Why the last reload kept the old policy; empty if it did not."""
    error_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SourceNow:
    """One source that is being read."""

    kind: str
    name: str
    done_bytes: int


@dataclass(frozen=True, slots=True)
class RunNow:
    """One run under way."""

    job: str
    started_at: datetime
    sources: Sequence[SourceNow]


@dataclass(frozen=True, slots=True)
class DaemonNow:
    """What the daemon does."""

    pid: int
    version: str
    host: str
    started_at: datetime
    written_at: datetime
    policy: PolicyInForce
    waits_for: str
    running: Sequence[RunNow]
    waiting: Sequence[str]
    next_runs: Mapping[str, datetime]
    """The first few."""


def write(state: StateDir, now: DaemonNow) -> None:
    """Replace the file. Raises OSError, UsageError."""
    text = json.dumps(asdict(now), default=datetime.isoformat, indent=1)
    state.write(FILE_NAME, text.encode() + b"\n")


def read(state: StateDir) -> DaemonNow | None:
    """What the daemon last wrote; None where there is nothing that can be read."""
    try:
        raw = json.loads((state.path / FILE_NAME).read_bytes())
        return _daemon(raw)
    except PermissionError as error:
        raise UsageError(
            f"cannot read {state.path / FILE_NAME}: run as root or as the service's user"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _daemon(raw: dict[str, Any]) -> DaemonNow:
    policy = raw["policy"]
    return DaemonNow(
        pid=raw["pid"],
        version=raw["version"],
        host=raw["host"],
        started_at=_moment(raw["started_at"]),
        written_at=_moment(raw["written_at"]),
        policy=PolicyInForce(
            policy["path"],
            _moment(policy["read_at"]),
            policy["modified_at"] and _moment(policy["modified_at"]),
            policy["error"],
            policy["error_at"] and _moment(policy["error_at"]),
        ),
        waits_for=raw["waits_for"],
        running=[
            RunNow(
                run["job"],
                _moment(run["started_at"]),
                [SourceNow(**source) for source in run["sources"]],
            )
            for run in raw["running"]
        ],
        waiting=list(raw["waiting"]),
        next_runs={name: _moment(at) for name, at in raw["next_runs"].items()},
    )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
