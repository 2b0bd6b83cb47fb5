"""The policy's `limits`, as a whole run keeps to them."""

from __future__ import annotations

from typing import Any

import docker
import pytest

from tests.integration.command import Command
from tests.integration.conftest import WritePolicy
from tests.integration.trees import has_image, lose, make_image, succeeded

IMAGE = "backupd-test-limits:1"


def test_several_threads_cut_the_archive_otherwise_and_it_comes_back(
    api: docker.APIClient, policy: WritePolicy, backupd: Command
) -> None:
    make_image(api, IMAGE)
    digests = set()
    for threads in (1, 4):
        policy(
            {"nightly": {"images": [IMAGE]}},
            reuse_max_age="0",
            compression="zstd",
            limits={"compression_threads": threads, "upload": "1GiB", "download": "1GiB"},
        )
        saved = succeeded(backupd("backup", "--json")).json[0]
        shown = succeeded(backupd("show", saved["id"], "--json")).json
        digests.add(shown["archive"]["stored_sha256"])
    lose(api, IMAGE)
    succeeded(backupd("restore", "image", IMAGE))

    assert 2 == len(digests)
    assert has_image(api, IMAGE)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"upload": "1KiB"}, "limits.upload"),
        ({"download": "fast"}, "limits.download: 'fast' is not a size"),
        ({"compression_threads": 0}, "limits.compression_threads"),
        ({"uplaod": "1MiB"}, "limits.uplaod"),
    ],
)
def test_a_limit_that_makes_no_sense_is_told(
    policy: WritePolicy, backupd: Command, limits: dict[str, Any], words: str
) -> None:
    policy({"nightly": {"images": [IMAGE]}}, limits=limits)

    result = backupd("check")

    assert 2 == result.code
    assert words in result.stderr
