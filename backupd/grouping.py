"""Which backups the retention rules look at together. Pure: it only reads names."""

from __future__ import annotations

import re
from typing import Literal, Protocol

_IMAGE_ID = re.compile(r"sha256:[0-9a-f]+")


class Named(Protocol):
    """A backup as far as its group depends on it."""

    @property
    def host(self) -> str: ...
    @property
    def job(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...


def group_key(backup: Named, group: Literal["name", "repository"]) -> tuple[str, str, str, str]:
    """Host, job, kind, and the name or (for images, by `repository`) the name without its tag.

    Backups whose keys are equal form one group. Bundles, containers and volumes have no tags, so
    their names count whole, whatever `group` says.
    """
    by_repository = group == "repository" and backup.kind == "image"
    name = repository_of(backup.name) if by_repository else backup.name
    return (backup.host, backup.job, backup.kind, name)


def repository_of(reference: str) -> str:
    """An image reference without tag and digest: `registry:5000/team/app:1@sha256:…` loses two.

    A colon before the last slash belongs to the registry's port. An image that is named by its id
    has no repository and stands for itself, or all of them would share one.
    """
    if _IMAGE_ID.fullmatch(reference):
        return reference
    untagged, _, _ = reference.partition("@")
    path, slash, last = untagged.rpartition("/")
    return path + slash + last.partition(":")[0]
