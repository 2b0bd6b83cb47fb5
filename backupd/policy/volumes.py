"""Which volumes a job backs up, by name, pattern or label. Pure.

The forms are those of containers; see `backupd.policy.selectors`. Volumes of a container are also
selected by its own `with_volumes`.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from backupd.policy import reference as names
from backupd.policy.section import Section
from backupd.policy.selectors import Label, TextIsShort, name_or_pattern, telling_key

_VOLUME_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def check_volume_name(name: str) -> str:
    """`name` itself, if the engine could have such a volume. Raises ValueError."""
    if not _VOLUME_NAME.fullmatch(name):
        raise ValueError(
            "is not a volume's name; use letters, digits, dots, hyphens and underscores (a "
            "directory of the host belongs under a container's 'bind_mounts')"
        )
    return name


class VolumeLiteral(Section):
    """One volume by its name; that it is missing is a failure."""

    name: Annotated[str, AfterValidator(check_volume_name)]
    """Name of a volume."""


class VolumeGlob(Section):
    """All volumes whose name fits a pattern."""

    pattern: Annotated[str, AfterValidator(names.check_pattern)] = Field(validation_alias="name")
    """Pattern of names; * stands for any text."""

    def matches(self, name: str) -> bool:
        """Whether the volume of this name is meant."""
        return fnmatchcase(name, self.pattern)


class VolumeLabel(Section):
    """All volumes that carry a label."""

    label: Label
    """Label of volumes: key (whatever its value) or key=value."""


_TAGS: dict[type, str] = {VolumeLiteral: "name", VolumeGlob: "names", VolumeLabel: "label"}


def _tag(raw: Any) -> str:
    """Which class a mapping of the file means; `_read` has seen to it that it means one."""
    if isinstance(raw, dict):
        if "label" in raw:
            return "<label>"
        return name_or_pattern(raw.get("name"), literal="<name>", glob="<names>")
    return f"<{_TAGS[type(raw)]}>"


def _read(raw: object) -> object:
    """A selector's text as the mapping it is short for; a mapping only if it means one class."""
    if isinstance(raw, str):
        return {"name": raw}
    if isinstance(raw, dict):
        telling_key(raw, ("name", "label"), noun="volumes")
    elif type(raw) not in _TAGS:
        raise PydanticCustomError("string_type", "is neither a volume's name nor a mapping")
    return raw


VolumeSelector = Annotated[
    Annotated[VolumeLiteral, Tag("<name>")]
    | Annotated[VolumeGlob, Tag("<names>")]
    | Annotated[VolumeLabel, Tag("<label>")],
    Discriminator(_tag),
    BeforeValidator(_read),
    TextIsShort("Name of a volume, or a pattern of names with *, ? or [."),
]
