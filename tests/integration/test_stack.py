"""`backupd restore stack`: a whole Compose project on an empty engine, in its order."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.integration.aftermath import the_sentence
from tests.integration.command import Command
from tests.integration.conftest import WritePolicy
from tests.integration.services import joined, wait_for_answer, web_image
from tests.integration.trees import run_inside, succeeded
from tests.integration.volumes import files_in, make_volume
from tests.servers.dockerd import Engine
from tests.servers.rootfs import base_image

PROJECT = "backupd-test-shop"
DB, WEB, SIDE = (f"{PROJECT}-{service}-1" for service in ("db", "web", "side"))
DATA, CACHE, NET = f"{PROJECT}_data", f"{PROJECT}_cache", f"{PROJECT}_default"
FIND_DB = "perl -e 'print q(db) if gethostbyname(q(db))'"
ROWS = b"a row\n" * 1000


@pytest.fixture
def store(tmp_path: Path) -> dict[str, str]:
    return {"url": f"file://{tmp_path / 'store'}"}


def labels(service: str, depends_on: str = "", project: str = PROJECT) -> dict[str, str]:
    """As Compose puts them on its containers."""
    prefix = "com.docker.compose"
    return {
        f"{prefix}.project": project,
        f"{prefix}.service": service,
        f"{prefix}.depends_on": depends_on,
        f"{prefix}.container-number": "1",
    }


def up(
    api: docker.APIClient, name: str, image: str, command: list[str] | None, **options: Any
) -> None:
    host = {"network_mode": NET, **options.pop("host", {})}
    connected = not host["network_mode"].startswith("container:")
    alias = options["labels"]["com.docker.compose.service"]
    endpoint = api.create_endpoint_config(aliases=[alias])
    config = joined(api, NET, endpoint) if connected else None
    api.create_container(
        image,
        command,
        name=name,
        host_config=api.create_host_config(**host),
        networking_config=config,
        **options,
    )
    api.start(name)


def make_stack(api: docker.APIClient) -> None:
    """A database that gets healthy late, a service over it, and one within that one's network."""
    web_image(api)
    make_volume(api, DATA, {"./rows": ROWS})
    make_volume(api, CACHE, {"./hot": b"hot"})
    api.create_network(NET, labels={"com.docker.compose.project": PROJECT})
    slow = "sleep 1; echo up >/up; trap 'exit 0' TERM; while :; do sleep 0.1; done"
    check = {"test": ["CMD", "cat", "/up"], "interval": 100_000_000, "retries": 100}
    up(
        api,
        DB,
        base_image(api),
        ["sh", "-c", f"rm -f /up; {slow}"],
        labels=labels("db"),
        healthcheck=check,
        host={"binds": [f"{CACHE}:/cache"]},
    )
    up(
        api,
        WEB,
        "backupd-test-web:1",
        None,
        environment=["GREETING=stack"],
        labels=labels("web", "db:service_healthy:false"),
        host={"binds": [f"{DATA}:/data"]},
    )
    up(
        api,
        SIDE,
        "backupd-test-web:1",
        ["sleep", "1000"],
        labels=labels("side", "web:service_started:false"),
        stop_signal="SIGKILL",
        host={"network_mode": f"container:{WEB}"},
    )


def happened_at(api: docker.APIClient, name: str, event: str) -> int:
    """When this first happened to the container, in nanoseconds.

    By the engine's own events: a container's inspect keeps only its last few health checks.
    """
    now = int(time.time()) + 1
    filters = {"type": "container", "container": name}
    for told in api.events(since=now - 600, until=now, filters=filters, decode=True):
        if told["status"] == event:
            return int(told["timeNano"])
    raise AssertionError(f"{name} had no {event}")


def test_a_stack_comes_back_in_its_order_with_its_volumes_and_networks(
    api: docker.APIClient,
    second_api: docker.APIClient,
    second_engine: Engine,
    policy: WritePolicy,
    store: dict[str, str],
    backupd: Command,
) -> None:
    make_stack(api)
    said = wait_for_answer(api, SIDE)
    each = {"with_volumes": True, "stop": True}
    names = [{"name": name, **each} for name in (WEB, SIDE, DB)]
    policy({"nightly": {"containers": names}}, store=store)
    succeeded(backupd("backup"))
    there = ("--docker-host", second_engine.host)
    planned = succeeded(backupd("restore", "stack", PROJECT, "--dry-run", *there))
    done = succeeded(backupd("restore", "stack", PROJECT, *there))
    web, side = second_api.inspect_container(WEB), second_api.inspect_container(SIDE)

    assert [DB, WEB, SIDE] == [line.split()[2] for line in done.stdout.splitlines()]
    assert "not read at one moment" not in done.stderr + planned.stdout
    assert "another moment" not in done.stderr + planned.stdout
    assert f"stack\n{ROWS.decode()}" == said == wait_for_answer(second_api, SIDE)
    assert {"./hot"} < files_in(second_api, CACHE).keys()
    order = [(DB, "health_status: healthy"), (WEB, "start"), (SIDE, "start")]
    moments = [happened_at(second_api, name, event) for name, event in order]
    assert sorted(moments) == moments
    assert side["HostConfig"]["NetworkMode"] in (f"container:{WEB}", f"container:{web['Id']}")
    assert "db" == run_inside(second_api, WEB, FIND_DB)


def test_a_stack_is_taken_from_the_moment_that_all_of_it_has(
    api: docker.APIClient,
    second_api: docker.APIClient,
    second_engine: Engine,
    policy: WritePolicy,
    store: dict[str, str],
    backupd: Command,
) -> None:
    for name, service in ((DB, "db"), (WEB, "web")):
        host = api.create_host_config(network_mode="none", binds=[f"{DATA}:/data"])
        api.create_container(
            base_image(api), ["true"], name=name, host_config=host, labels=labels(service)
        )
    both = [{"name": name, "with_volumes": True} for name in (DB, WEB)]
    policy({"nightly": {"containers": both}}, store=store)
    succeeded(backupd("backup"))
    together = {each["id"] for each in backupd("list", "--json").json}
    policy({"nightly": {"containers": both[:1]}}, store=store)
    succeeded(backupd("backup"))
    missing = backupd("restore", "stack", "backupd-test-nothing")
    there = ("--docker-host", second_engine.host)
    done = succeeded(backupd("restore", "stack", PROJECT, "--create", *there))

    assert 2 == len(done.stdout.splitlines())
    assert {line.split()[-1] for line in done.stdout.splitlines()} < together
    assert "not read at one moment" not in done.stderr
    assert 5 == missing.code
    assert "cannot find a container of project 'backupd-test-nothing'" in the_sentence(missing)
