"""Volumes in the policy: what selects them, and what a selector may not be."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from backupd.layout import Kind
from backupd.policy import ContainerLiteral, Job, VolumeGlob, VolumeLabel, VolumeLiteral
from backupd.verbs.prune import literals


@pytest.mark.parametrize(
    ("written", "selector"),
    [
        ("pgdata", VolumeLiteral(name="pgdata")),
        ("app_*", VolumeGlob(pattern="app_*")),
        ({"name": "app_?"}, VolumeGlob(pattern="app_?")),
        ({"label": "backup=true"}, VolumeLabel(label="backup=true")),
    ],
)
def test_volumes_are_selected_in_three_ways(written: object, selector: object) -> None:
    assert (selector,) == Job.model_validate({"volumes": [written]}).volumes


def test_paths_of_the_host_are_spelled_as_the_engine_spells_them() -> None:
    written = {"name": "web", "with_volumes": True, "bind_mounts": ["/srv//app/", "/data"]}

    assert (
        ContainerLiteral(name="web", with_volumes=True, bind_mounts=("/srv/app", "/data")),
    ) == Job.model_validate({"containers": [written]}).containers


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ({"volumes": [{}]}, "does not say which volumes"),
        ({"volumes": [3]}, "is neither a volume's name nor a mapping"),
        ({"volumes": ["/srv/app"]}, "belongs under a container's 'bind_mounts'"),
        ({"volumes": [{"name": "a", "label": "b"}]}, "make two of it"),
        ({"containers": [{"name": "a", "with_volumes": "yes"}]}, "valid boolean"),
        ({"containers": [{"name": "a", "bind_mounts": ["srv"]}]}, "is not a full path"),
        ({"containers": [{"name": "a", "bind_mounts": ["/srv/../etc"]}]}, "without dots"),
        ({"containers": [{"name": "a", "bind_mounts": ["/"]}]}, "not the path of a directory"),
        ({"containers": [{"name": "a", "bind_mounts": ["/a", "/a/"]}]}, "names a path twice"),
    ],
)
def test_a_selector_that_is_none_gets_exactly_one_reason(job: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as error:
        Job.model_validate(job)

    assert (1, True) == (error.value.error_count(), words in str(error.value))


def test_what_a_job_names_is_its_own_even_when_it_is_missing() -> None:
    job = Job.model_validate(
        {
            "volumes": ["pgdata", "app_*"],
            "containers": [
                {"name": "web", "bind_mounts": ["/srv/app"]},
                {"name": "db-*", "bind_mounts": ["/srv/db"]},
            ],
        }
    )

    assert {
        (Kind.VOLUME, "pgdata"),
        (Kind.CONTAINER, "web"),
        (Kind.VOLUME, "/srv/app"),
    } == literals(job)
