"""Prune by a schedule of its own: done by the daemon and recorded like a job."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from backupd.layout import BackupKey, parse_backup_key
from backupd.run_record import PRUNE
from backupd.state import StateDir
from tests.integration.aftermath import kept_in
from tests.integration.command import Command
from tests.integration.conftest import WritePolicy, leaving_no_trace
from tests.integration.daemon_process import YEARLY, promised_long_ago, running, standing, states
from tests.integration.trees import make_image, succeeded
from tests.servers.dockerd import Engine
from tests.servers.seaweedfs import SeaweedFS

IMAGE = "backupd-test-pruning:1"


@pytest.fixture(scope="module", autouse=True)
def image(engine: Engine) -> Iterator[None]:
    with leaving_no_trace(engine) as client:
        make_image(client, IMAGE)
        yield


@pytest.fixture
def two_backups(
    policy: WritePolicy, backupd: Command, bucket: dict[str, Any], s3: SeaweedFS
) -> list[str]:
    """The keys of two backups of which the rules let the first one go, at the next prune."""
    job = {"images": [IMAGE], "retention": {"keep_last": 1}}
    policy({"nightly": job}, store=bucket, prune={"schedule": YEARLY})
    for _ in range(2):
        succeeded(backupd("backup"))
    promised_long_ago(backupd, PRUNE)
    return manifests(s3, bucket)


def manifests(s3: SeaweedFS, bucket: dict[str, Any]) -> list[str]:
    """The keys of all backups, oldest first."""
    return [key for key in kept_in(s3, bucket) if "/backups/" in key]


def test_a_scheduled_prune_removes_what_the_rules_let_go_and_is_recorded(
    two_backups: list[str], backupd: Command, bucket: dict[str, Any], s3: SeaweedFS
) -> None:
    with running(backupd) as daemon:
        daemon.wait_for(f"job {PRUNE} ended: good")
        daemon.stop()

    assert 2 == len(two_backups)
    assert two_backups[1:] == manifests(s3, bucket)
    assert (["good"], True) == (
        states(backupd, PRUNE),
        standing(backupd, PRUNE)["last_success_ended_at"] is not None,
    )


def test_a_prune_that_leaves_a_backup_which_is_being_restored_has_not_failed(
    two_backups: list[str], backupd: Command, bucket: dict[str, Any], s3: SeaweedFS
) -> None:
    first = parse_backup_key(two_backups[0].removeprefix("docker/"))
    assert isinstance(first, BackupKey)
    with StateDir(backupd.state_dir).reading(first.archive_id), running(backupd) as daemon:
        daemon.wait_for(f"job {PRUNE} ended: ")
        daemon.stop()
    (run,) = backupd("history", PRUNE, "--json").json

    assert two_backups == manifests(s3, bucket)
    assert "good" == run["state"]
    assert "is being restored: it stays for now" in run["note"]
