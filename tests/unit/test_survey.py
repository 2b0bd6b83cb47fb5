"""When two archives would hold the same, so that one of them is enough."""

from __future__ import annotations

import pytest

from backupd.manifest import Container, Image
from backupd.sources import Survey

ID, OTHER_ID = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def image(reference: str = "web:1", image_id: str = ID, only_platform: str = "") -> Image:
    return Image(
        id=image_id,
        reference=reference,
        saved_as=(reference,),
        diff_ids=(),
        platform="linux/amd64",
        only_platform=only_platform,
    )


def content(*images: Image) -> str | None:
    return Survey(1, images=images).content


def test_two_tags_of_one_image_hold_the_same() -> None:
    assert content(image("web:1")) == content(image("web:latest"))


@pytest.mark.parametrize(
    "other",
    [image(image_id=OTHER_ID), image(only_platform="linux/amd64"), image("web:2", OTHER_ID)],
)
def test_another_image_or_another_choice_of_platforms_does_not(other: Image) -> None:
    assert content(image()) != content(other)


def test_a_bundle_is_its_images_with_their_names_in_any_order() -> None:
    one, two = image("a:1"), image("b:1", OTHER_ID)

    assert content(one, two) == content(two, one)
    assert content(one, two) != content(image("c:1"), two)
    assert content(one, two) != content(one)


def test_what_a_container_holds_is_unknown_before_it_is_read() -> None:
    container = Container(id="c", name="web", image="i", image_id=ID, state="running", paused=False)

    assert Survey(1, container=container).content is None
