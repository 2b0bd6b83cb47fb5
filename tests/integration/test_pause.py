"""`pause: true`: a container stands still for its export, and goes on whatever it was before."""

from __future__ import annotations

import time

import docker

from tests.integration.command import Command
from tests.integration.conftest import WritePolicy
from tests.integration.trees import start_container, succeeded

NAME = "backupd-test-paused"


def back_up(policy: WritePolicy, backupd: Command, *, pause: bool) -> None:
    """Back the container up into a directory."""
    store = {"url": f"file://{backupd.directory}/store"}
    policy({"nightly": {"containers": [{"name": NAME, "pause": pause}]}}, store=store)
    succeeded(backupd("backup"))


def test_a_container_is_paused_for_its_export_and_goes_on_afterwards(
    api: docker.APIClient, policy: WritePolicy, backupd: Command
) -> None:
    identity = start_container(api, NAME)
    since = int(time.time())
    back_up(policy, backupd, pause=True)
    filters = {"container": identity, "event": ["pause", "export", "unpause"]}
    events = api.events(since=since, until=int(time.time()) + 1, decode=True, filters=filters)

    assert ["pause", "export", "unpause"] == [event["Action"] for event in events]
    assert "running" == api.inspect_container(NAME)["State"]["Status"]
    assert [] == list((backupd.state_dir / "journal").iterdir())


def test_a_container_that_a_person_paused_stays_paused(
    api: docker.APIClient, policy: WritePolicy, backupd: Command
) -> None:
    start_container(api, NAME)
    api.pause(NAME)
    back_up(policy, backupd, pause=True)

    assert "paused" == api.inspect_container(NAME)["State"]["Status"]


def test_a_container_that_is_not_to_be_paused_is_not(
    api: docker.APIClient, policy: WritePolicy, backupd: Command
) -> None:
    identity = start_container(api, NAME)
    since = int(time.time())
    back_up(policy, backupd, pause=False)
    filters = {"container": identity, "event": ["pause", "unpause"]}

    assert [] == list(api.events(since=since, until=int(time.time()) + 1, filters=filters))
