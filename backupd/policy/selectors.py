"""What a job backs up: selectors of images and of containers.

In the file a selector is a text (a name, or a pattern when it has `*`, `?` or `[`) or a mapping
with one telling key. Here each form is one class, so that whoever selects can match on the class
and mypy sees that none is forgotten. Pure: it says what is wanted, not what is there.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    Tag,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from backupd.policy import reference as names
from backupd.policy.consistency import Consistency
from backupd.policy.section import Flag, Section, check_filled

_CONTAINER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_JOB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def check_plain_name(name: str) -> str:
    """`name` itself, if it may be a job's or a bundle's. Raises ValueError."""
    if not _JOB_NAME.fullmatch(name):
        raise ValueError(
            "is not a name; use 1 to 100 letters, digits, dots, hyphens and underscores, with a "
            "letter or digit first"
        )
    return name


def check_container_name(name: str) -> str:
    """`name` without the slash that Docker's own listings put first. Raises ValueError."""
    bare = name.removeprefix("/")
    if not _CONTAINER_NAME.fullmatch(bare):
        raise ValueError(
            "is not a container's name; use letters, digits, dots, hyphens and underscores"
        )
    return bare


def check_container_pattern(pattern: str) -> str:
    """`pattern` without a slash at its start. Raises ValueError if it could never match."""
    return names.check_pattern(pattern.removeprefix("/"))


def check_host_path(path: str) -> str:
    """`path` as the engine spells it, without doubled slashes. Raises ValueError."""
    if not path.startswith("/") or "\0" in path:
        raise ValueError("is not a full path; begin it with /")
    steps = [step for step in path.split("/") if step]
    if not steps or {".", ".."} & set(steps):
        raise ValueError("is not the path of a directory to back up; write it without dots")
    return "/" + "/".join(steps)


def check_once(paths: tuple[str, ...]) -> tuple[str, ...]:
    """`paths` themselves, if none is there twice. Raises ValueError."""
    if len(set(paths)) != len(paths):
        raise ValueError("names a path twice; remove one")
    return paths


def check_label(label: str) -> str:
    """`label` itself: `key` (any value) or `key=value`. Raises ValueError."""
    if not label.partition("=")[0].strip():
        raise ValueError("is not a label; write key or key=value")
    return label


Reference = Annotated[str, AfterValidator(names.normalise)]
Label = Annotated[str, AfterValidator(check_label)]
HostPath = Annotated[str, AfterValidator(check_host_path)]
Platform = Annotated[str, AfterValidator(names.check_platform)]


class ImageLiteral(Section):
    """One image by its name; that it is missing is a failure."""

    reference: Reference = Field(validation_alias="image")
    """Name of an image, as name:tag, host:port/name:tag, name@sha256:… or sha256:<id>."""
    platform: Platform | None = None
    """Which variant of a multi-platform image, such as linux/arm64; without it, the engine's."""


class ImageGlob(Section):
    """All images whose name fits a pattern."""

    pattern: Annotated[str, AfterValidator(names.check_pattern)] = Field(validation_alias="image")
    """Pattern of names; * stands for any text, also with / and :."""
    platform: Platform | None = None
    """Which variant of multi-platform images, such as linux/arm64; without it, the engine's."""

    def matches(self, reference: str) -> bool:
        """Whether the image of this name (in Docker's short form, with its tag) is meant."""
        return names.matches(self.pattern, reference)


class ImageLabel(Section):
    """All tagged images that carry a label."""

    label: Label
    """Label of images: key (whatever its value) or key=value."""


class ImageInUse(Section):
    """All images that a container of the engine was made from."""

    # Built in code it needs no argument; in the file the key is what tells it apart.
    model_config = ConfigDict(json_schema_extra={"required": ["in_use"]})

    in_use: Literal[True] = True
    """Every image that a container, running or stopped, was made from."""


class ImageBundle(Section):
    """Several images in one archive, in which shared layers stand once."""

    bundle: Annotated[str, AfterValidator(check_plain_name)]
    """Name of the bundle, to list and restore it by."""
    images: Annotated[tuple[Reference, ...], AfterValidator(check_filled)] = Field(
        json_schema_extra={"minItems": 1}
    )
    """Names of the images, without patterns."""

    @model_validator(mode="after")
    def _names_no_image_twice(self) -> Self:
        if len(set(self.images)) != len(self.images):
            raise ValueError("names an image twice; remove one")
        return self


class ContainerContents(Consistency):
    """What is read of a container besides its own files."""

    with_volumes: Flag = False
    """Back up all its volumes too, each by itself, read while the container stands still."""
    bind_mounts: Annotated[tuple[HostPath, ...], AfterValidator(check_once)] = ()
    """Directories of the host to back up too, by their path there, where they are mounted."""


class ContainerLiteral(ContainerContents):
    """One container by its name; that it is missing is a failure."""

    name: Annotated[str, AfterValidator(check_container_name)]
    """Name of a container."""


class ContainerGlob(ContainerContents):
    """All containers whose name fits a pattern."""

    pattern: Annotated[str, AfterValidator(check_container_pattern)] = Field(
        validation_alias="name"
    )
    """Pattern of names; * stands for any text."""

    def matches(self, name: str) -> bool:
        """Whether the container of this name (without a leading slash) is meant."""
        return fnmatchcase(name, self.pattern)


class ContainerLabel(ContainerContents):
    """All containers that carry a label."""

    label: Label
    """Label of containers: key (whatever its value) or key=value."""


def name_or_pattern(value: object, *, literal: str, glob: str) -> str:
    """The tag of the class that a name in the file means."""
    return glob if isinstance(value, str) and names.is_pattern(value) else literal


def _image_tag(raw: Any) -> str:
    """Which class a mapping of the file means; `read_image` has seen to it that it means one."""
    if isinstance(raw, dict):
        for key in ("bundle", "label", "in_use"):
            if key in raw:
                return f"<{key}>"
        return name_or_pattern(raw.get("image"), literal="<image>", glob="<images>")
    return f"<{_IMAGE_TAGS[type(raw)]}>"


def _container_tag(raw: Any) -> str:
    if isinstance(raw, dict):
        if "label" in raw:
            return "<label>"
        return name_or_pattern(raw.get("name"), literal="<name>", glob="<names>")
    return f"<{_CONTAINER_TAGS[type(raw)]}>"


_IMAGE_TAGS: dict[type, str] = {
    ImageLiteral: "image",
    ImageGlob: "images",
    ImageLabel: "label",
    ImageInUse: "in_use",
    ImageBundle: "bundle",
}
_CONTAINER_TAGS: dict[type, str] = {
    ContainerLiteral: "name",
    ContainerGlob: "names",
    ContainerLabel: "label",
}


def telling_key(raw: dict[object, object], keys: tuple[str, ...], *, noun: str) -> None:
    """Raise ValueError unless exactly one of `keys` says which kind of selector `raw` is."""
    found = [key for key in keys if key in raw]
    if len(found) == 1:
        return
    choice = f"{', '.join(repr(key) for key in keys[:-1])} or {keys[-1]!r}"
    if found:
        mixed = " and ".join(repr(key) for key in found)
        raise ValueError(f"has {mixed}, but one selector has one of {choice}; make two of it")
    raise ValueError(f"does not say which {noun}; write a name, or a mapping with {choice}")


def read_image(raw: object) -> object:
    """A selector's text as the mapping it is short for; a mapping only if it means one class."""
    if isinstance(raw, str):
        return {"image": raw}
    if isinstance(raw, dict):
        telling_key(raw, ("image", "label", "in_use", "bundle"), noun="images")
    elif type(raw) not in _IMAGE_TAGS:
        raise PydanticCustomError("string_type", "is neither an image's name nor a mapping")
    return raw


def read_container(raw: object) -> object:
    """As `read_image`, for containers."""
    if isinstance(raw, str):
        return {"name": raw}
    if isinstance(raw, dict):
        telling_key(raw, ("name", "label"), noun="containers")
    elif type(raw) not in _CONTAINER_TAGS:
        raise PydanticCustomError("string_type", "is neither a container's name nor a mapping")
    return raw


class TextIsShort:
    """Tells the JSON Schema that a selector may also be written as a text."""

    def __init__(self, description: str) -> None:
        self.description = description

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        inner = handler(core_schema)
        forms = inner.get("oneOf", [inner])
        text = {"type": "string", "minLength": 1, "description": self.description}
        return {"anyOf": [text, *forms]}


ImageSelector = Annotated[
    Annotated[ImageLiteral, Tag("<image>")]
    | Annotated[ImageGlob, Tag("<images>")]
    | Annotated[ImageLabel, Tag("<label>")]
    | Annotated[ImageInUse, Tag("<in_use>")]
    | Annotated[ImageBundle, Tag("<bundle>")],
    Discriminator(_image_tag),
    BeforeValidator(read_image),
    TextIsShort("Name of an image, or a pattern of names with *, ? or [."),
]
ContainerSelector = Annotated[
    Annotated[ContainerLiteral, Tag("<name>")]
    | Annotated[ContainerGlob, Tag("<names>")]
    | Annotated[ContainerLabel, Tag("<label>")],
    Discriminator(_container_tag),
    BeforeValidator(read_container),
    TextIsShort("Name of a container, or a pattern of names with *, ? or [."),
]
