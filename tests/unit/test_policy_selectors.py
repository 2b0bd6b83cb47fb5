"""What a job selects: the forms of selectors, names of images, and patterns."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from backupd.policy import (
    ContainerGlob,
    ContainerLabel,
    ContainerLiteral,
    ImageBundle,
    ImageGlob,
    ImageInUse,
    ImageLabel,
    ImageLiteral,
    Job,
)
from backupd.policy import reference as names

DIGEST = "sha256:" + "a" * 64


def words_of(error: pytest.ExceptionInfo[ValidationError]) -> str:
    return "; ".join(one["msg"] for one in error.value.errors())


@pytest.mark.parametrize(
    ("written", "selector"),
    [
        ("nginx", ImageLiteral(reference="nginx:latest")),
        ("team/*", ImageGlob(pattern="team/*")),
        ("web-?", ImageGlob(pattern="web-?")),
        ("web-[ab]:1", ImageGlob(pattern="web-[ab]:1")),
        (
            {"image": "app:2", "platform": "linux/arm64"},
            ImageLiteral(reference="app:2", platform="linux/arm64"),
        ),
        (
            {"image": "app:*", "platform": "linux/arm/v7"},
            ImageGlob(pattern="app:*", platform="linux/arm/v7"),
        ),
        ({"label": "backup=true"}, ImageLabel(label="backup=true")),
        ({"label": "backup"}, ImageLabel(label="backup")),
        ({"in_use": True}, ImageInUse()),
        (
            {"bundle": "stack", "images": ["nginx", "app:2"]},
            ImageBundle(bundle="stack", images=("nginx:latest", "app:2")),
        ),
    ],
)
def test_images_are_selected_in_five_ways(written: object, selector: object) -> None:
    assert (selector,) == Job.model_validate({"images": [written]}).images


@pytest.mark.parametrize(
    ("written", "selector"),
    [
        ("web", ContainerLiteral(name="web")),
        ("/web", ContainerLiteral(name="web")),
        ("db-*", ContainerGlob(pattern="db-*")),
        ({"name": "web", "pause": True}, ContainerLiteral(name="web", pause=True)),
        ({"name": "db-*", "pause": True}, ContainerGlob(pattern="db-*", pause=True)),
        ({"label": "backup", "pause": True}, ContainerLabel(label="backup", pause=True)),
    ],
)
def test_containers_are_selected_in_three_ways(written: object, selector: object) -> None:
    assert (selector,) == Job.model_validate({"containers": [written]}).containers


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ({"images": [{}]}, "does not say which images"),
        ({"images": [{"platform": "linux/arm64"}]}, "does not say which images"),
        ({"images": [{"reference": "nginx"}]}, "does not say which images"),
        ({"images": [{"image": "a", "label": "b"}]}, "make two of it"),
        ({"images": [{"in_use": False}]}, "Input should be True"),
        ({"images": [{"label": "=x"}]}, "is not a label"),
        ({"images": [{"image": "a", "platform": "arm64 linux"}]}, "is not a platform"),
        ({"images": [{"bundle": "x", "images": []}]}, "is empty; name at least one"),
        ({"images": [{"bundle": "x"}]}, "Field required"),
        ({"images": [{"bundle": "x", "images": ["a*"]}]}, "is a pattern, where only a name"),
        ({"images": [{"bundle": "x", "images": ["a", "a:latest"]}]}, "names an image twice"),
        ({"images": [{"bundle": "a b", "images": ["a"]}]}, "is not a name"),
        ({"images": [3]}, "is neither an image's name nor a mapping"),
        ({"images": ["web-[ab"]}, "'[' without its ']'"),
        ({"images": [{"image": "a", "in_use": True, "bundle": "x"}]}, "make two of it"),
        ({"containers": [{}]}, "does not say which containers"),
        ({"containers": [{"pause": True}]}, "does not say which containers"),
        ({"containers": [{"name": "a", "pause": "yes"}]}, "valid boolean"),
        ({"containers": ["a b"]}, "is not a container's name"),
        ({"containers": [["a"]]}, "is neither a container's name nor a mapping"),
    ],
)
def test_a_selector_that_is_none_gets_exactly_one_reason(job: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as error:
        Job.model_validate(job)

    assert (error.value.error_count(), words in words_of(error)) == (1, True), words_of(error)


def test_two_bundles_of_one_name_are_refused() -> None:
    bundle = {"bundle": "stack", "images": ["nginx"]}

    with pytest.raises(ValidationError) as error:
        Job.model_validate({"images": [bundle, bundle]})

    assert "two bundles of one name" in words_of(error)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("nginx", "nginx:latest"),
        ("nginx:1.27", "nginx:1.27"),
        ("library/nginx", "nginx:latest"),
        ("docker.io/nginx", "nginx:latest"),
        ("docker.io/library/nginx:1", "nginx:1"),
        ("index.docker.io/library/nginx:1", "nginx:1"),
        ("docker.io/team/app", "team/app:latest"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("registry.example.com:5000/team/app:v1.2", "registry.example.com:5000/team/app:v1.2"),
        ("quay.io/library/nginx:1", "quay.io/library/nginx:1"),
        (f"nginx@{DIGEST}", f"nginx@{DIGEST}"),
        (f"docker.io/library/nginx:1@{DIGEST}", f"nginx:1@{DIGEST}"),
        (DIGEST, DIGEST),
        ("[::1]:5000/app:1", "[::1]:5000/app:1"),
    ],
)
def test_a_name_is_kept_as_docker_shows_it(written: str, kept: str) -> None:
    assert kept == names.normalise(written)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("Nginx", "upper-case"),
        ("team/App:1", "upper-case"),
        ("nginx:", "ends with ':'"),
        ("nginx/", "ends with '/'"),
        ("nginx@", "ends with '@'"),
        ("nginx 1", "space"),
        (" nginx", "space"),
        ("https://registry.example.com/app", "starts with a scheme"),
        ("a" * 64, "write sha256: before it"),
        ("nginx:1:2", "is not an image's name"),
        ("nginx@sha256:abc", "is not an image's name"),
        ("", "is not an image's name"),
        ("a" * 256, "more than 255"),
        ("nginx\n", "space"),
    ],
)
def test_a_name_that_docker_refuses_is_refused(written: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        names.normalise(written)


@pytest.mark.parametrize(
    ("pattern", "reference", "fits"),
    [
        ("*", "registry.example.com:5000/team/app:1", True),
        ("registry.example.com:5000/team/*:v1.*", "registry.example.com:5000/team/a/b:v1.2", True),
        ("registry.example.com:5000/team/*:v1.*", "registry.example.com:5000/team/a:v2", False),
        ("web-?", "web-1:1.4", True),
        ("web-?", "web-12:1.4", False),
        ("web-?:1.4", "web-1:1.4", True),
        ("web-?:1.4", "web-1:1.5", False),
        ("localhost:5000/web", "localhost:5000/web:2", True),
        ("*:test", "a/b:test", True),
        ("*:test", "a/test:1", False),
        ("WEB*", "web:1", False),
    ],
)
def test_a_pattern_fits_a_name(pattern: str, reference: str, fits: bool) -> None:
    assert fits == names.matches(pattern, reference)


def test_a_pattern_is_written_with_or_without_dockers_own_registry() -> None:
    assert ImageGlob(pattern="nginx:1.*") == ImageGlob(pattern="docker.io/library/nginx:1.*")


def test_a_job_leaves_out_what_it_excludes() -> None:
    job = Job.model_validate(
        {"images": ["*"], "containers": ["*"], "exclude": ["*:test", "scratch", "db-?"]}
    )

    expected = [True, True, False, True, False]
    assert expected == [
        job.excludes_image("team/app:test"),
        job.excludes_image("scratch:1"),
        job.excludes_image("app:1"),
        job.excludes_container("db-1"),
        job.excludes_container("db-10"),
    ]


@given(st.from_regex(r"[a-z0-9.:/@_-]{1,40}", fullmatch=True))
def test_a_kept_name_stays_as_it_is(text: str) -> None:
    try:
        kept = names.normalise(text)
    except ValueError:
        return

    assert kept == names.normalise(kept)
