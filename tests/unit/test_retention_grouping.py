"""Which backups the rules look at together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from backupd.grouping import group_key, repository_of


@dataclass(frozen=True)
class Named:
    """A backup as grouping sees it."""

    name: str
    kind: str = "image"
    job: str = "nightly"
    host: str = "web01"


HEX = "0123456789abcdef" * 4
GROUPS: tuple[Literal["name", "repository"], ...] = ("name", "repository")


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("nginx", "nginx"),
        ("nginx:latest", "nginx"),
        ("team/app:v1.2", "team/app"),
        ("registry.example.com/team/app:v1", "registry.example.com/team/app"),
        ("registry.example.com:5000/team/app:v1", "registry.example.com:5000/team/app"),
        ("registry.example.com:5000/app", "registry.example.com:5000/app"),
        ("localhost:5000/app:1", "localhost:5000/app"),
        ("localhost:5000", "localhost"),
        ("[::1]:5000/app:1", "[::1]:5000/app"),
        (f"nginx@sha256:{HEX}", "nginx"),
        (f"localhost:5000/app:1@sha256:{HEX}", "localhost:5000/app"),
        (f"sha256:{HEX}", f"sha256:{HEX}"),
        ("sha256:0123456789ab", "sha256:0123456789ab"),
    ],
)
def test_a_repository_is_the_reference_without_tag_and_digest(
    reference: str, expected: str
) -> None:
    actual = repository_of(reference)

    assert expected == actual


def test_by_name_every_tag_is_a_group_of_its_own() -> None:
    assert group_key(Named("app:1"), "name") != group_key(Named("app:2"), "name")


def test_by_repository_all_tags_are_one_group() -> None:
    expected = ("web01", "nightly", "image", "app")

    assert expected == group_key(Named("app:1"), "repository")
    assert expected == group_key(Named("app:2"), "repository")


@pytest.mark.parametrize(
    "other",
    [
        Named("app2:1"),
        Named("team/app:1"),
        Named("app:1", job="weekly"),
        Named("app:1", host="web02"),
        Named("app", kind="container"),
    ],
)
@pytest.mark.parametrize("group", GROUPS)
def test_another_repository_job_host_or_kind_is_another_group(
    other: Named, group: Literal["name", "repository"]
) -> None:
    assert group_key(Named("app:1"), group) != group_key(other, group)


@pytest.mark.parametrize("kind", ["bundle", "container", "volume"])
def test_names_that_are_no_references_count_whole(kind: str) -> None:
    actual = group_key(Named("stack:1", kind=kind), "repository")

    assert ("web01", "nightly", kind, "stack:1") == actual
