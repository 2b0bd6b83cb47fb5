"""One job of the policy, and how its archives are compressed. Pure."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from fnmatch import fnmatchcase
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    Field,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from backupd.policy import reference as names
from backupd.policy.encryption import Encryption
from backupd.policy.prune import Percent
from backupd.policy.retention import Retention
from backupd.policy.section import Flag, PositiveSpan, Schedule, Section, TimeSpan, WholeNumber
from backupd.policy.selectors import ContainerSelector, ImageBundle, ImageSelector
from backupd.policy.telling import PingUrls
from backupd.policy.volumes import VolumeSelector
from backupd.schedule import check_zone


class Method(Enum):
    """How an archive is compressed."""

    ZSTD = "zstd"
    GZIP = "gzip"
    NONE = "none"


_LEVELS = {Method.ZSTD: (1, 22, 2), Method.GZIP: (1, 9, 6), Method.NONE: (0, 0, 0)}
"""Lowest, highest and default level of each method."""


class Compression(Section):
    """A method and its level: `{zstd: 2}`, or only `zstd`, `gzip` or `none`."""

    method: Method = Method.ZSTD
    level: WholeNumber = 2

    @model_validator(mode="before")
    @classmethod
    def _read(cls, raw: Any) -> Any:
        """The file's short forms as `{method, level}`. Raises ValueError."""
        if isinstance(raw, Compression) or raw == {}:
            return raw
        if isinstance(raw, dict) and isinstance(raw.get("method"), Method):
            return raw
        written = {raw: None} if isinstance(raw, str) else raw
        if not isinstance(written, dict) or len(written) != 1:
            raise ValueError("is not a compression; write {zstd: 2}, {gzip: 6} or none")
        [(name, level)] = written.items()
        if name not in {method.value for method in Method}:
            raise ValueError("is not a compression; write {zstd: 2}, {gzip: 6} or none")
        method = Method(name)
        lowest, highest, default = _LEVELS[method]
        if level is None:
            return {"method": method, "level": default}
        if method is Method.NONE:
            raise ValueError("has a level for none; write only none")
        if type(level) is not int or not lowest <= level <= highest:
            raise ValueError(f"has a level that {name} lacks; write {lowest} to {highest}")
        return {"method": method, "level": level}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        def form(name: str, highest: int) -> dict[str, object]:
            level = {"type": "integer", "minimum": 1, "maximum": highest}
            return {
                "type": "object",
                "properties": {name: level},
                "required": [name],
                "additionalProperties": False,
            }

        return {
            "title": "Compression",
            "description": "Method and level, such as {zstd: 2}, {gzip: 6} or none.",
            "anyOf": [{"enum": ["zstd", "gzip", "none"]}, form("zstd", 22), form("gzip", 9)],
        }


ORPHAN_GRACE = timedelta(days=1)
"""How old an archive that no manifest names must be at least before anyone may remove it. A job's
timeout stays below, so that no running job is ever at work on such an archive."""

LONGEST_TIMEOUT = ORPHAN_GRACE - timedelta(hours=1)
"""An hour is left for what a job that timed out still does: undo, and commit what it has."""


def check_timeout(timeout: timedelta) -> timedelta:
    """`timeout`, if a job may have it. Raises ValueError."""
    if timeout > LONGEST_TIMEOUT:
        raise ValueError(
            "is too long; 23h is the most, since an archive without manifest is removed after a day"
        )
    return timeout


Pattern = Annotated[str, Field(min_length=1), AfterValidator(names.check_pattern)]


class Job(Section):
    """What is backed up together, when, and how long it stays."""

    schedule: Schedule | None = None
    """When: five cron fields in quotes, or @hourly, @daily, @weekly …; without it, by hand only."""
    timezone: Annotated[str, AfterValidator(check_zone)] | None = None
    """Time zone of the schedule and of retention's periods; without it, the policy's."""
    images: tuple[ImageSelector, ...] = ()
    """Images to save, by name, pattern, label, use, or bundled into one archive."""
    containers: tuple[ContainerSelector, ...] = ()
    """Containers whose files to export, by name, pattern or label."""
    volumes: tuple[VolumeSelector, ...] = ()
    """Volumes whose files to back up, by name, pattern or label."""
    exclude: tuple[Pattern, ...] = ()
    """Patterns to leave out of what patterns, labels, in_use and with_volumes select; full names
    stay."""
    retention: Retention | None = None
    """Which backups stay; without it, that of 'defaults', and without that, all."""
    anomaly: Percent | None = None
    """By how much, in percent, a backup may be smaller than is usual for its source before it is
    flagged and pruning of the source waits; without it, that of 'defaults'."""
    compression: Compression | None = None
    """Compression of this job's archives; without it, the policy's."""
    encryption: Encryption | None = None
    """For whom this job's archives and records are encrypted, or none; without it, as in
    'defaults'."""
    ping: PingUrls | None = None
    """Addresses asked for when a run of this job starts and ends; without it, the policy's."""
    timeout: Annotated[PositiveSpan, AfterValidator(check_timeout)] = Field(
        default=timedelta(hours=12), json_schema_extra={"default": "12h"}
    )
    """How long one run of the job may take; what is not backed up by then has failed."""

    jitter: TimeSpan = Field(default=timedelta(0), json_schema_extra={"default": "0"})
    """Longest delay of a scheduled run; how long it is, host and job decide, always the same."""
    catch_up: Flag = True
    """Whether a run that was missed while machine or daemon were down is run once at start."""

    @model_validator(mode="after")
    def _selects_something(self) -> Self:
        if not self.images and not self.containers and not self.volumes:
            raise ValueError(
                "selects nothing; name something under 'images', 'containers' or 'volumes'"
            )
        return self

    @model_validator(mode="after")
    def _bundles_have_their_own_names(self) -> Self:
        bundles = [one.bundle for one in self.images if isinstance(one, ImageBundle)]
        if len(set(bundles)) != len(bundles):
            raise ValueError("has two bundles of one name; give each its own")
        return self

    def excludes_image(self, reference: str) -> bool:
        """Whether the image of this name (Docker's short form, with its tag) would be left out."""
        return any(names.matches(pattern, reference) for pattern in self.exclude)

    def excludes_container(self, name: str) -> bool:
        """Whether the container of this name (without a leading slash) would be left out."""
        return any(fnmatchcase(name, pattern) for pattern in self.exclude)

    def excludes_volume(self, name: str) -> bool:
        """Whether the volume of this name, or directory of this path, would be left out."""
        return any(fnmatchcase(name, pattern) for pattern in self.exclude)
