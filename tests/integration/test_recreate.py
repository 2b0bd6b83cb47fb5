"""`backupd restore container --run`: on an empty engine the service answers with its data again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest
from docker.types import IPAMConfig, IPAMPool, LogConfig, Mount, Ulimit

from backupd.container_body import passed_over
from backupd.engine import Engine as BackupdEngine
from backupd.policy import DockerSpec
from backupd.state import StateDir
from backupd.volume_access import trial
from tests.integration.aftermath import the_sentence, wait_until
from tests.integration.command import Command
from tests.integration.conftest import WritePolicy
from tests.integration.services import (
    IMAGE,
    PORT,
    PUBLISHED,
    answer,
    answer_outside,
    facts_of,
    health,
    joined,
    wait_for_answer,
    web_image,
)
from tests.integration.trees import succeeded
from tests.integration.volumes import files_in, helpers, make_volume
from tests.servers.dockerd import Engine
from tests.servers.rootfs import base_image, file

WEB, DATA, NET, SIDE = (f"backupd-test-{name}" for name in ("web", "data", "net", "side"))
OPTIONS_LABELS = {"key=sign": "line\nline", "quote": "'\"$`", "empty": ""}
ROWS = "".join(f"row {number}\n" for number in range(500))
ENVIRONMENT = [
    *('GREETING=Grüße  "$X" `id`', "LINES=a\nb\n", "EMPTY=", "EQUALS=a=b=c", "TRAILING=\\"),
    *("PATH=/bin", "TAB=\t#no comment"),
]


@pytest.fixture
def store(tmp_path: Path) -> dict[str, str]:
    return {"url": f"file://{tmp_path / 'store'}"}


def make_network(api: docker.APIClient, name: str, subnet: str, **options: Any) -> None:
    ipam = IPAMConfig(pool_configs=[IPAMPool(subnet)])
    api.create_network(name, ipam=ipam, check_duplicate=True, **options)


def make_service(api: docker.APIClient) -> None:
    """The service with one of everything that a container can be given."""
    make_volume(api, DATA, {"./rows": file(ROWS.encode(), uid=5)}, labels={"keep": "yes"})
    make_network(api, NET, "10.99.7.0/24", labels={"a": "b\nc"}, internal=False)
    make_network(api, SIDE, "10.99.8.0/24", internal=True)
    host = api.create_host_config(
        network_mode=NET,
        binds=[f"{DATA}:/data"],
        mounts=[Mount("/scratch", "", type="tmpfs", tmpfs_size=1 << 20)],
        port_bindings={PORT: PUBLISHED, "53/udp": 10053},
        restart_policy={"Name": "on-failure", "MaximumRetryCount": 3},
        cap_add=["NET_ADMIN"],
        cap_drop=["MKNOD"],
        mem_limit="64m",
        cpu_shares=512,
        pids_limit=100,
        log_config=LogConfig(type="json-file", config={"max-size": "1m"}),
        devices=["/dev/zero:/dev/nought:r"],
        extra_hosts={"elsewhere": "192.0.2.7"},
        tmpfs={"/quick": "size=1m,mode=1777"},
        ulimits=[Ulimit(name="nofile", soft=100, hard=200)],
        sysctls={"net.ipv4.ip_forward": "1"},
        shm_size=1 << 20,
        security_opt=["no-new-privileges"],
        dns=["192.0.2.53"],
        group_add=["7"],
        init=False,
        read_only=True,
    )
    endpoint = api.create_endpoint_config(aliases=["www", "shop"], ipv4_address="10.99.7.77")
    made = api.create_container(
        web_image(api),
        name=WEB,
        hostname="shop.example",
        environment=ENVIRONMENT,
        labels=OPTIONS_LABELS,
        ports=[PORT, (53, "udp")],
        working_dir="/srv",
        volumes=["/anonymous"],
        stop_signal="SIGTERM",
        stop_timeout=3,
        mac_address="02:42:0a:63:07:99",
        healthcheck={
            "test": ["CMD-SHELL", f"perl /srv/ask.pl www {PORT}"],
            "interval": 200_000_000,
            "timeout": 5_000_000_000,
            "retries": 20,
        },
        host_config=host,
        networking_config=joined(api, NET, endpoint),
    )
    api.connect_container_to_network(made, SIDE, aliases=["beside"], ipv4_address="10.99.8.88")
    api.start(made)


def lose(api: docker.APIClient) -> None:
    """The service with its volumes and networks; the image is still there."""
    api.remove_container(WEB, force=True, v=True)
    api.remove_volume(DATA)
    for network in (NET, SIDE):
        api.remove_network(network)


def things(api: docker.APIClient) -> list[str]:
    """All that is on an engine, by name."""
    found = [each["Names"][0] for each in api.containers(all=True)]
    found += [each["Name"] for each in api.volumes()["Volumes"] or ()]
    found += [each["Name"] for each in api.networks()]
    return sorted([*found, *(tag for each in api.images() for tag in each["RepoTags"] or ["-"])])


def test_a_service_answers_with_its_data_on_an_empty_second_engine(
    api: docker.APIClient,
    second_api: docker.APIClient,
    second_engine: Engine,
    policy: WritePolicy,
    bucket: dict[str, str],
    backupd: Command,
) -> None:
    make_service(api)
    wait_until(lambda: health(api, WEB) == "healthy")
    said, ran, anonymous = wait_for_answer(api, WEB), facts_of(api, WEB), files_in(api, DATA)
    policy({"nightly": {"containers": [{"name": WEB, "with_volumes": True}]}}, store=bucket)
    succeeded(backupd("backup"))
    lose(api)
    policy({"nightly": {"containers": [WEB]}}, store=bucket, host="another")
    there = ("--host", "testhost", "--docker-host", second_engine.host)
    succeeded(backupd("restore", "container", WEB, "--run", *there))
    wait_until(lambda: health(second_api, WEB) == "healthy")

    assert f'Grüße  "$X" `id`\n{ROWS}' == said
    assert said == wait_for_answer(second_api, WEB)
    assert said == answer_outside(second_engine)
    assert said == answer(second_api, WEB, "shop")
    assert ran.config == facts_of(second_api, WEB).config
    assert ran.networks == facts_of(second_api, WEB).networks
    assert ran.mounts == facts_of(second_api, WEB).mounts
    assert anonymous == files_in(second_api, DATA)
    assert {"keep": "yes"} == second_api.inspect_volume(DATA)["Labels"]
    assert {"a": "b\nc"} == second_api.inspect_network(NET)["Labels"]
    assert second_api.inspect_network(SIDE)["Internal"]
    assert [] == helpers(second_api)
    kept = {k: v for k, v in ran.host.items() if k != "Mounts"}
    assert kept == {k: v for k, v in facts_of(second_api, WEB).host.items() if k != "Mounts"}


def make(api: docker.APIClient, name: str = WEB, **options: Any) -> None:
    """A container that never ran and has no network, with these options of its host."""
    command = options.pop("command", ["sh", "-c", "exit 0"])
    host = api.create_host_config(**{"network_mode": "none", **options})
    api.create_container(base_image(api), command, name=name, host_config=host)


def test_what_cannot_be_given_back_is_told_and_stops_it_before_anything_is_made(
    api: docker.APIClient,
    second_api: docker.APIClient,
    second_engine: Engine,
    tmp_path: Path,
    policy: WritePolicy,
    store: dict[str, str],
    backupd: Command,
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    make_volume(api, DATA)
    devices = [f"{tmp_path}/device:/dev/device:rwm"]
    make(api, binds=[f"{gone}:/gone:ro", f"{DATA}:/data"], devices=devices, mem_limit="32m")
    policy({"nightly": {"containers": [WEB]}}, store=store)
    succeeded(backupd("backup"))
    gone.rmdir()
    before, there = things(second_api), ("--docker-host", second_engine.host)
    refused = backupd("restore", "container", WEB, "--run", *there)
    after = things(second_api)
    done = succeeded(backupd("restore", "container", WEB, "--run", "--best-effort", *there))
    found = second_api.inspect_container(WEB)

    assert 8 == refused.code
    assert [
        f"backupd:   {WEB}: {gone} at /gone: no such path on the engine's host",
        f"backupd:   {WEB}: volume {DATA} at /data: no backup holds its files",
        f"backupd:   {WEB}: device {tmp_path}/device: not on the engine's host",
    ] == refused.stderr.splitlines()[1:]
    assert before == after
    assert f"left out: {WEB}: device" in done.stderr
    assert [f"{DATA}:/data"] == found["HostConfig"]["Binds"]
    assert [] == found["HostConfig"]["Devices"]
    assert 32 << 20 == found["HostConfig"]["Memory"]


def test_when_it_does_not_start_everything_that_was_made_is_removed_again(
    api: docker.APIClient,
    second_api: docker.APIClient,
    second_engine: Engine,
    policy: WritePolicy,
    store: dict[str, str],
    backupd: Command,
) -> None:
    make_volume(api, DATA, {"./rows": b"rows"})
    make_network(api, NET, "10.99.7.0/24")
    make(api, command=["/no/such/program"], binds=[f"{DATA}:/data"], network_mode=NET)
    policy({"nightly": {"containers": [{"name": WEB, "with_volumes": True}]}}, store=store)
    succeeded(backupd("backup"))
    before, there = things(second_api), ("--docker-host", second_engine.host)
    failed = backupd("restore", "container", WEB, "--run", *there)
    after = things(second_api)
    succeeded(backupd("restore", "container", WEB, "--create", *there))

    assert 3 == failed.code
    assert "/no/such/program" in failed.stderr
    assert before == after
    assert {DATA, NET} <= set(things(second_api))
    assert "created" == second_api.inspect_container(WEB)["State"]["Status"]


def test_a_dry_run_tells_the_plan_and_makes_nothing(
    api: docker.APIClient,
    second_api: docker.APIClient,
    second_engine: Engine,
    policy: WritePolicy,
    store: dict[str, str],
    backupd: Command,
) -> None:
    make_volume(api, DATA, {"./rows": b"rows"})
    make_network(api, NET, "10.99.7.0/24")
    make(api, binds=[f"{DATA}:/data"], network_mode=NET)
    policy({"nightly": {"containers": [{"name": WEB, "with_volumes": True}]}}, store=store)
    succeeded(backupd("backup"))
    before, there = things(second_api), ("--docker-host", second_engine.host)
    planned = succeeded(backupd("restore", "container", WEB, "--run", "--dry-run", *there))
    refused = backupd("restore", "container", WEB, "--run")
    lines = [line.partition(", from backup")[0] for line in planned.stdout.splitlines()]

    assert f"container {WEB}: made and started" == lines[0]
    assert lines[1].startswith(f"  image restored/{WEB}:")
    assert f"  network {NET}: made" == lines[2]
    assert lines[3].startswith(f"  volume {DATA}: restored from backup ")
    assert 4 == len(lines)
    assert before == things(second_api)
    assert 2 == refused.code
    assert f"cannot make container {WEB}: there is one of that name" in the_sentence(refused)


def test_what_is_there_is_used_as_it_is_and_the_original_image_comes_from_its_backup(
    api: docker.APIClient,
    second_api: docker.APIClient,
    second_engine: Engine,
    policy: WritePolicy,
    store: dict[str, str],
    backupd: Command,
) -> None:
    web_image(api)
    make_volume(api, DATA, {"./rows": b"old"})
    host = api.create_host_config(binds=[f"{DATA}:/data"], network_mode="none")
    api.create_container(IMAGE, name=WEB, host_config=host)
    job = {"containers": [{"name": WEB, "with_volumes": True}], "images": [IMAGE]}
    policy({"nightly": job}, store=store)
    succeeded(backupd("backup"))
    make_volume(second_api, DATA, {"./rows": b"new"})
    new = f"{WEB}-again"
    options = ("--create", "--name", new, "--from-image", "--docker-host", second_engine.host)
    done = succeeded(backupd("restore", "container", WEB, *options))
    found = second_api.inspect_container(new)

    assert f"backupd: volume {DATA} is there and used as it is" in done.stderr
    assert {"./rows"} < files_in(second_api, DATA).keys()
    assert 3 == files_in(second_api, DATA)["./rows"].size_bytes
    assert (IMAGE, api.inspect_image(IMAGE)["Id"]) == (found["Config"]["Image"], found["Image"])


def test_an_option_that_the_engine_does_not_know_is_found_by_trying(
    api: docker.APIClient, engine: Engine, tmp_path: Path
) -> None:
    before = things(api)
    asked = {
        "Cmd": ["true"],
        "Labels": {"a": "b"},
        "HostConfig": {"Memory": 32 << 20, "NetworkMode": "none", "OfTomorrow": {"a": "b"}},
    }
    real = BackupdEngine(DockerSpec(), host=engine.host)
    with trial(real, StateDir(tmp_path / "state"), asked) as made:
        found = real.inspect_state(made)
    real.close()

    assert ["HostConfig.OfTomorrow"] == passed_over(asked, found)
    assert before == things(api)


def test_a_volume_without_a_backup_of_the_moment_comes_from_the_newest_before_it(
    api: docker.APIClient,
    second_engine: Engine,
    policy: WritePolicy,
    store: dict[str, str],
    backupd: Command,
) -> None:
    make_volume(api, DATA)
    make(api, binds=[f"{DATA}:/data"])
    policy({"files": {"volumes": [DATA]}, "nightly": {"containers": [WEB]}}, store=store)
    for job in ("files", "files", "nightly", "files"):
        succeeded(backupd("backup", job))
    listed = backupd("list", "--json", "--kind", "volume").json
    second = sorted(listed, key=lambda backup: str(backup["taken_at"]))[1]["id"]
    options = ("--run", "--dry-run", "--docker-host", second_engine.host)
    planned = succeeded(backupd("restore", "container", WEB, *options)).stdout

    assert f"  volume {DATA}: restored from backup {second} of " in planned
    assert f"note: volume {DATA} is of another moment than its container" in planned


@pytest.mark.parametrize(
    "options",
    [
        ("--run", "--create"),
        ("--run", "--tag", "web:again"),
        ("--run", "--output", "-"),
        ("--dry-run",),
        ("--name", "new"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    options: tuple[str, ...], policy: WritePolicy, store: dict[str, str], backupd: Command
) -> None:
    policy({"nightly": {"containers": [WEB]}}, store=store)
    refused = backupd("restore", "container", WEB, *options)

    assert 2 == refused.code
    assert options[0] in refused.stderr
