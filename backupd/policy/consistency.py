"""How the files of a container come to agree with each other while it is read. Pure.

It may be paused or stopped, and commands may run inside it before and after. What is written here
holds for every container that the selector finds.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from backupd.policy.section import Flag, PositiveSpan, Section, WholeNumber

_USER = re.compile(r"[^\s:]+(:[^\s:]+)?")


def check_user(user: str) -> str:
    """`user`, if it may stand before the engine as one. Raises ValueError."""
    if not _USER.fullmatch(user):
        raise ValueError("is not a user; write a name or a number, or user:group")
    return user


def _read_command(raw: object) -> object:
    """A text as what the shell is to run, a list as the program and its arguments."""
    if isinstance(raw, str):
        if not raw.strip():
            raise ValueError("is empty; write the command that is to run")
        return ("sh", "-c", raw)
    if not isinstance(raw, list | tuple):
        raise PydanticCustomError("string_type", "is neither a text nor a list")
    return raw


def _check_command(argv: tuple[str, ...]) -> tuple[str, ...]:
    if not argv or not argv[0]:
        raise ValueError("names no program; write [program, argument, …], or a text for the shell")
    return argv


Command = Annotated[
    tuple[str, ...],
    BeforeValidator(_read_command),
    AfterValidator(_check_command),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
            ]
        }
    ),
]


class Hook(Section):
    """One command that runs inside the container, before or after it is read."""

    exec: Command
    """Text for the container's own shell (sh -c), or a list of the program and its arguments."""
    user: Annotated[str, AfterValidator(check_user)] | None = None
    """Who runs it, as user or user:group; without it, the container's own user."""
    timeout: PositiveSpan = Field(default=timedelta(minutes=5), json_schema_extra={"default": "5m"})
    """How long it may take; then it counts as failed."""
    on_failure: Literal["abort", "warn"] | None = None
    """What a failure means: abort (no backup of this container) or warn; without it, abort under
    'before' and warn under 'after'."""


class Consistency(Section):
    """What is done to a container so that its files are of one moment."""

    pause: Flag = False
    """Pause it while its files are read, so that they belong to one moment."""
    stop: Flag = False
    """Stop it while its files are read, with its own stop timeout, and start it again."""
    stop_order: WholeNumber = 0
    """Containers with a number are down together: the lowest is stopped first, started last."""
    before: tuple[Hook, ...] = ()
    """Commands to run inside it before it is paused, stopped or read."""
    after: tuple[Hook, ...] = ()
    """Commands to run inside it when it goes on, whatever happened in between."""

    @model_validator(mode="after")
    def _is_paused_or_stopped(self) -> Self:
        if self.pause and self.stop:
            raise ValueError("has both 'pause' and 'stop'; a stopped container needs no pause")
        if self.stop_order and not self.stop:
            raise ValueError("has 'stop_order' without 'stop: true'; add that, or remove it")
        return self


AS_IT_IS = Consistency()
"""Nothing is done: it is read while it runs."""
