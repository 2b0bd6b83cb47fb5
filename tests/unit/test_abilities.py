"""What follows from what a server can do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backupd.abilities import Ability, Can, Found, advice, failures
from backupd.policy import StoreSpec
from backupd.stores.s3_ability.bucket import skew

NOW = datetime(2026, 1, 2, 3, 4, 5, 500_000, tzinfo=UTC)


def advised(found: dict[Ability, Can], **store: Any) -> dict[str, str | None]:
    spec = StoreSpec.model_validate(
        {"url": "s3://my-backups", "endpoint": "https://s3.example.com", **store}
    )
    settings = advice(spec, [Found(ability, can) for ability, can in found.items()])
    return {setting.key: setting.value for setting in settings}


WELL = {Ability.PATH: Can.YES, Ability.VIRTUAL: Can.YES, Ability.CHECKSUMS: Can.YES}


def test_a_server_that_can_everything_needs_no_setting() -> None:
    assert {} == advised(WELL)


@pytest.mark.parametrize("checksums", ["auto", "when_supported"])
def test_checksums_that_are_refused_are_turned_off(checksums: str) -> None:
    found = {**WELL, Ability.CHECKSUMS: Can.NO}

    assert {"checksums": "when_required"} == advised(found, checksums=checksums)


def test_checksums_that_are_off_already_need_no_setting() -> None:
    assert {} == advised({**WELL, Ability.CHECKSUMS: Can.NO}, checksums="when_required")


def test_a_server_that_takes_the_bucket_in_its_name_only_is_addressed_so() -> None:
    found = {**WELL, Ability.PATH: Can.NO}

    assert ({"addressing": "virtual"}, {"addressing": "virtual"}, {}) == (
        advised(found),
        advised(found, addressing="path"),
        advised(found, addressing="virtual"),
    )


def test_a_server_that_takes_the_bucket_in_the_path_only_is_addressed_so() -> None:
    found = {**WELL, Ability.VIRTUAL: Can.NO}

    assert ({"addressing": "path"}, {}) == (advised(found, addressing="virtual"), advised(found))


def test_what_the_server_refuses_is_to_go() -> None:
    found = {**WELL, Ability.CLASS: Can.NO, Ability.ENCRYPTION: Can.NO}
    store = {"storage_class": "COLD", "sse": "aws:kms", "sse_kms_key": "alias/b"}

    assert {"storage_class": None, "sse": None, "sse_kms_key": None} == advised(found, **store)


def test_what_cannot_be_told_is_no_reason_to_change_anything() -> None:
    assert {} == advised(dict.fromkeys(Ability, Can.UNKNOWN), sse="AES256", storage_class="COLD")


def test_a_setting_is_a_line_of_yaml_with_its_reason() -> None:
    spec = StoreSpec(url="s3://my-backups", endpoint="https://s3.example.com", storage_class="COLD")
    found = [Found(Ability.CHECKSUMS, Can.NO), Found(Ability.CLASS, Can.NO)]
    lines = [str(setting) for setting in advice(spec, found)]

    assert lines[0].startswith("checksums: when_required  # the server refuses uploads")
    assert lines[1] == "# no storage_class  # the server refuses objects of the class COLD"


@pytest.mark.parametrize(
    ("ability", "fails"),
    [(Ability.PARTS, True), (Ability.KEYS, True), (Ability.ABSENT, False), (Ability.LOCK, False)],
)
def test_only_what_backups_depend_on_is_a_failure(ability: Ability, fails: bool) -> None:
    assert fails == bool(failures([Found(ability, Can.NO)]))


@pytest.mark.parametrize(
    ("told", "can", "words"),
    [
        (timedelta(0), Can.YES, "to the second"),
        (timedelta(seconds=-0.5), Can.YES, "to the second"),
        (timedelta(seconds=30), Can.YES, "30 s apart"),
        (timedelta(seconds=61), Can.NO, "61 s ahead of this machine's"),
        (timedelta(minutes=-5), Can.NO, "299 s behind this machine's"),
    ],
)
def test_clocks_are_compared_to_the_second(told: timedelta, can: Can, words: str) -> None:
    found = skew(NOW + told, NOW, NOW)

    assert can is found.can
    assert words in found.detail


def test_a_slow_answer_is_no_wrong_clock() -> None:
    assert skew(NOW, NOW - timedelta(minutes=3), NOW + timedelta(minutes=3)).can is Can.YES
