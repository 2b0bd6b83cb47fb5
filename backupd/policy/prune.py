"""When old backups are pruned, and how much at once, as the policy says it. Pure."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, WithJsonSchema

from backupd.policy.section import Schedule, Section

_PERCENT = re.compile(r"(\d{1,3})%")


class Prune(Section):
    """When prune runs: after each job, by a schedule of its own, or never by itself."""

    when: Literal["after", "schedule", "never"] = "after"
    schedule: Schedule | None = None
    """When: five cron fields in quotes, or @daily, @weekly …"""


def _read(raw: object) -> Any:
    """The file's forms as `Prune` takes them. Raises ValueError."""
    if isinstance(raw, Prune):
        return raw
    if raw in ("after", "never"):
        return {"when": raw}
    if isinstance(raw, dict) and set(raw) == {"schedule"}:
        return {"when": "schedule", **raw}
    raise ValueError("is not a time to prune; write after, never, or {schedule: '30 5 * * *'}")


def _percent(raw: object) -> object:
    """A percentage as a number. Raises ValueError."""
    match = _PERCENT.fullmatch(raw) if isinstance(raw, str) else None
    number = int(match[1]) if match else raw
    if type(number) is not int or not 0 <= number <= 100:
        raise ValueError("is not a percentage; write a whole number from 0% to 100%")
    return number


PruneWhen = Annotated[
    Prune,
    BeforeValidator(_read),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["after", "never"]},
                {
                    "type": "object",
                    "properties": {"schedule": {"type": "string"}},
                    "required": ["schedule"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
Percent = Annotated[
    int,
    BeforeValidator(_percent),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": 100},
                {"type": "string", "pattern": "^[0-9]{1,3}%$"},
            ]
        }
    ),
]
