"""When backups are restored for a trial, which, and what has to come up then. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from backupd.policy import reference as names
from backupd.policy.consistency import Command
from backupd.policy.section import Schedule, Section, WholeNumber
from backupd.policy.selectors import TextIsShort

USUAL_SECONDS = 10
_LONGEST_SECONDS = 3600


Seconds = Annotated[WholeNumber, Field(ge=1, le=_LONGEST_SECONDS)]


@dataclass(frozen=True, slots=True)
class Trial:
    """What a container has to do in its drill."""

    seconds: int = USUAL_SECONDS
    """How long it has to run, or has time for `command`, where no health check tells."""
    command: tuple[str, ...] = ()
    """What has to exit with 0 inside it; empty for nothing."""


class DrillSource(Section):
    """Sources to drill, and what is special to them."""

    name: Annotated[str, AfterValidator(names.check_pattern)]
    """Name of an image, bundle, container or volume, or a pattern of names."""
    seconds: Seconds | None = None
    """As 'seconds' of the drill, for these alone."""
    command: Command | None = None
    """As 'command' of the drill, for these alone."""

    def matches(self, name: str) -> bool:
        """Whether the source of this name is meant."""
        return names.matches(self.name, name)


def _read_source(raw: object) -> object:
    if isinstance(raw, str):
        return {"name": raw}
    if not isinstance(raw, dict | DrillSource):
        raise PydanticCustomError("string_type", "is neither a source's name nor a mapping")
    return raw


class Drill(Section):
    """When the newest backup of each source is restored under another name, and tried out."""

    schedule: Schedule | None = None
    """When: five cron fields in quotes, or @daily, @weekly …; without it, by hand only."""
    sources: tuple[
        Annotated[
            DrillSource,
            BeforeValidator(_read_source),
            TextIsShort("Name of a source, or a pattern of names with *, ? or [."),
        ],
        ...,
    ] = ()
    """Which sources, by name or pattern; without any, all."""
    seconds: Seconds = USUAL_SECONDS
    """How long a container without a health check has to run to pass; with 'command', how long
    that may take to exit with 0."""
    command: Command | None = None
    """What has to exit with 0 inside each container, after it is healthy."""

    def trial_of(self, name: str) -> Trial:
        """What the container of this name has to do: by the first entry that means it."""
        own = next((source for source in self.sources if source.matches(name)), None)
        seconds = own.seconds if own and own.seconds else self.seconds
        command = own.command if own and own.command else self.command
        return Trial(seconds, command or ())
