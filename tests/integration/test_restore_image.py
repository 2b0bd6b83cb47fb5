"""`backupd restore image` and `bundle`: what was lost comes back, and nothing else moves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import docker
import pytest

from tests.integration.command import Command
from tests.integration.conftest import WritePolicy
from tests.integration.objects import Objects
from tests.integration.shelf import IMAGE as SHELVED
from tests.integration.shelf import OTHER_HOST, SECOND_TAG, Shelf, stocked
from tests.integration.trees import (
    has_image,
    image_facts,
    image_ids,
    lose,
    make_image,
    succeeded,
)
from tests.servers.dockerd import Engine
from tests.servers.seaweedfs import SeaweedFS

IMAGE, OTHER = "backupd-test-app:1", "backupd-test-app:2"


@pytest.fixture(scope="module")
def shelf(
    engine: Engine, s3: SeaweedFS, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shelf]:
    with stocked(engine, s3, tmp_path_factory.mktemp("shelf")) as filled:
        yield filled


@pytest.mark.parametrize("tag", [SHELVED, SECOND_TAG])
def test_each_tag_of_a_shared_archive_comes_back_alone(
    tag: str, api: docker.APIClient, shelf: Shelf
) -> None:
    succeeded(shelf.backupd("restore", "image", tag))

    assert (shelf.new.id, (tag,)) == (image_facts(api, tag).id, image_facts(api, tag).tags)


def test_a_restore_leaves_every_other_tag_where_it_is(api: docker.APIClient, shelf: Shelf) -> None:
    before = make_image(api, SECOND_TAG, OTHER, text="not in the store")
    succeeded(shelf.backupd("restore", "image", SHELVED))

    assert before == image_facts(api, OTHER)


def test_several_images_come_back_at_once(api: docker.APIClient, shelf: Shelf) -> None:
    succeeded(shelf.backupd("restore", "image", SHELVED, SECOND_TAG))

    assert shelf.new == image_facts(api, SHELVED)


def test_a_bundle_comes_back_with_all_its_images(api: docker.APIClient, shelf: Shelf) -> None:
    succeeded(shelf.backupd("restore", "bundle", "both"))

    assert shelf.new == image_facts(api, SECOND_TAG)


def test_the_newest_backup_comes_back_by_default(api: docker.APIClient, shelf: Shelf) -> None:
    succeeded(shelf.backupd("restore", "image", SHELVED))

    assert shelf.new.id == image_facts(api, SHELVED).id


def test_the_backup_of_an_earlier_time_comes_back(api: docker.APIClient, shelf: Shelf) -> None:
    succeeded(shelf.backupd("restore", "image", SHELVED, "--at", shelf.rows[0]["taken_at"]))

    assert shelf.old == image_facts(api, SHELVED)


def test_a_time_before_the_first_backup_is_not_found(api: docker.APIClient, shelf: Shelf) -> None:
    result = shelf.backupd("restore", "image", SHELVED, "--at", "2020-01-01")

    assert (5, False) == (result.code, has_image(api, SHELVED))
    assert f"its oldest backup is from {shelf.rows[0]['taken_at'][:10]}" in result.stderr


@pytest.mark.parametrize("digits", [12, 8])
def test_a_backup_comes_back_by_its_id(digits: int, api: docker.APIClient, shelf: Shelf) -> None:
    succeeded(shelf.backupd("restore", "image", "--id", shelf.rows[0]["id"][:digits]))

    assert shelf.old == image_facts(api, SHELVED)


def test_the_backup_of_one_job_comes_back(api: docker.APIClient, shelf: Shelf) -> None:
    succeeded(shelf.backupd("restore", "image", SHELVED, "--job", "weekly"))

    assert shelf.old == image_facts(api, SHELVED)


def test_the_backup_of_another_host_comes_back(api: docker.APIClient, shelf: Shelf) -> None:
    succeeded(shelf.backupd("restore", "image", SHELVED, "--host", OTHER_HOST))

    assert shelf.foreign == image_facts(api, SHELVED)


def test_an_image_comes_back_with_no_policy_at_all(
    api: docker.APIClient, shelf: Shelf, engine: Engine
) -> None:
    host = ("--host", "testhost", "--docker-host", engine.host)
    succeeded(shelf.no_policy("restore", "image", SHELVED, *shelf.store_options, *host))

    assert shelf.new.id == image_facts(api, SHELVED).id


def test_without_a_policy_it_must_be_said_whose_image_is_meant(
    api: docker.APIClient, shelf: Shelf, engine: Engine
) -> None:
    engine_option = ("--docker-host", engine.host)
    result = shelf.no_policy("restore", "image", SHELVED, *shelf.store_options, *engine_option)

    assert (2, False) == (result.code, has_image(api, SHELVED))
    assert "otherhost, testhost have one; choose with --host" in result.stderr


def test_an_image_comes_back_on_a_second_engine(
    second_api: docker.APIClient, second_engine: Engine, shelf: Shelf
) -> None:
    succeeded(shelf.backupd("restore", "image", SHELVED, "--docker-host", second_engine.host))

    assert replace(shelf.new, tags=(SHELVED,)) == image_facts(second_api, SHELVED)


def test_a_tag_of_ones_own_leaves_the_image_its_name_holds_alone(
    api: docker.APIClient, shelf: Shelf
) -> None:
    now = make_image(api, SHELVED, text="of today")
    succeeded(shelf.backupd("restore", "image", SHELVED, "--tag", OTHER))

    assert now == image_facts(api, SHELVED)
    assert (shelf.new.id, (OTHER,)) == (image_facts(api, OTHER).id, image_facts(api, OTHER).tags)


def test_a_tag_that_another_image_holds_is_taken_only_after_saying_so(
    api: docker.APIClient, shelf: Shelf
) -> None:
    now = make_image(api, SHELVED, text="of today")
    result = succeeded(shelf.backupd("restore", "image", SHELVED))

    assert (
        f"backupd: {SHELVED} names image {now.id[:19]} now, which loses this name "
        "(--tag NAME:TAG restores under another one)"
    ) == result.stderr.splitlines()[0]
    assert shelf.new.id == image_facts(api, SHELVED).id
    assert now.id in image_ids(api)


def test_an_image_that_is_there_is_not_loaded_again(
    api: docker.APIClient,
    policy: WritePolicy,
    backupd: Command,
    s3: SeaweedFS,
    bucket: dict[str, Any],
) -> None:
    before = make_image(api, IMAGE)
    policy({"nightly": {"images": [IMAGE]}})
    succeeded(backupd("backup"))
    Objects(s3, bucket).remove_archives()
    result = succeeded(backupd("restore", "image", IMAGE))

    assert result.stdout.startswith(f"was there image      {IMAGE}  {before.id}  from backup ")
    assert before == image_facts(api, IMAGE)


def test_an_image_that_lost_only_its_tag_gets_it_back_without_a_download(
    api: docker.APIClient,
    policy: WritePolicy,
    backupd: Command,
    s3: SeaweedFS,
    bucket: dict[str, Any],
) -> None:
    before = make_image(api, IMAGE)
    policy({"nightly": {"images": [IMAGE]}})
    succeeded(backupd("backup"))
    Objects(s3, bucket).remove_archives()
    api.tag(IMAGE, "backupd-test-app", "kept")
    lose(api, IMAGE)
    succeeded(backupd("restore", "image", IMAGE))

    assert ("backupd-test-app:1", "backupd-test-app:kept") == image_facts(api, before.id).tags


def test_one_unknown_name_stops_a_restore_before_any_image_is_loaded(
    api: docker.APIClient, shelf: Shelf
) -> None:
    result = shelf.backupd("restore", "image", SHELVED, "backupd-test-unknown:1")

    assert (5, False) == (result.code, has_image(api, SHELVED))
    assert "cannot find image backupd-test-unknown:1" in result.stderr


def test_a_quiet_restore_says_nothing(api: docker.APIClient, shelf: Shelf) -> None:
    result = succeeded(shelf.backupd("restore", "image", "--quiet", SHELVED))

    assert (b"", "") == (result.output, result.stderr)
    assert shelf.new.id == image_facts(api, SHELVED).id


def test_a_platform_is_loaded_by_engines_that_know_how_and_refused_by_others(
    api: docker.APIClient, shelf: Shelf
) -> None:
    version = tuple(map(int, api.api_version.split(".")))
    platform = f"linux/{api.inspect_image(make_image(api, OTHER).id)['Architecture']}"
    result = shelf.backupd("restore", "image", SHELVED, "--platform", platform)
    expected = version >= (1, 48)

    assert (0 if expected else 3, expected) == (result.code, has_image(api, SHELVED))
