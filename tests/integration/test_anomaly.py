"""A source that lost most of its content: its backup is kept, flagged, told, and prunes nothing."""

from __future__ import annotations

import os

import docker

from tests.integration.aftermath import refuse_secrets
from tests.integration.command import Command
from tests.integration.conftest import WritePolicy
from tests.integration.trees import lose, succeeded
from tests.servers.rootfs import build_image

IMAGE = "backupd-test-anomaly:1"
MIB = 1 << 20


def test_an_oddly_small_backup_holds_pruning_until_a_yes(
    api: docker.APIClient, backupd: Command, policy: WritePolicy
) -> None:
    job = {"images": [IMAGE], "anomaly": "50%", "retention": {"keep_last": 1}}
    policy({"nightly": job}, store={"url": f"file://{backupd.directory}/store"})
    build_image(api, IMAGE, layers=[{"data": os.urandom(8 * MIB)}])
    succeeded(backupd("backup"))
    lose(api, IMAGE)
    build_image(api, IMAGE, layers=[{"data": b"lost"}])

    small = succeeded(backupd("backup"))
    listed = succeeded(backupd("list", "--json")).json
    run = succeeded(backupd("history", "--json")).json[0]
    refused = backupd("prune")
    yes = backupd("prune", "--yes")

    refuse_secrets(small)
    assert "% smaller than usual" in small.stderr
    assert "cannot prune" in small.stderr
    assert [[], ["suspect"]] == [row["states"] for row in listed]
    assert "smaller than usual" in run["sources"][0]["oddity"]
    assert (1, True) == (refused.code, "much smaller than those before it" in refused.stdout)
    assert (0, [listed[1]["id"]]) == (
        yes.code,
        [row["id"] for row in succeeded(backupd("list", "--json")).json],
    )
