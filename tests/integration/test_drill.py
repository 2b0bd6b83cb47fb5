"""`backupd drill` on a real engine: what passes, what does not, and that nothing is left of it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import docker
import pytest

from backupd.config import load
from backupd.engine import Engine as BackupdEngine
from backupd.leftovers import SCRATCH_REPOSITORY
from backupd.log import LogReport
from backupd.run_record import DRILL, RunRecord
from backupd.site import Site
from backupd.state import StateDir
from backupd.stores import open_store
from backupd.verbs.drilling import run_drill
from backupd.volume_access import owner
from tests.integration.aftermath import refuse_secrets, the_sentence, wait_until
from tests.integration.command import Command, Result
from tests.integration.conftest import WritePolicy
from tests.integration.holding import held
from tests.integration.services import PORT, PUBLISHED, answer, health, web_image
from tests.integration.trees import has_image, make_image, succeeded
from tests.integration.volumes import make_volume
from tests.servers.dockerd import Engine
from tests.servers.faulty_engine import START, Fault, FaultyEngine
from tests.servers.rootfs import base_image, file

WEB, DATA, IMAGE = "backupd-test-drill", "backupd-test-rows", "backupd-test-drill-image:1"
OTHER = "backupd-test-drill-image:2"
ROUTER = {"route.to": "me"}
"""What a router of the machine would go by, and a job's selector too."""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def make_service(api: docker.APIClient, *, check: str = "") -> None:
    """The service with a database file on a volume; healthy as long as it tells its rows."""
    make_volume(api, DATA, {"./rows": file(b"ten\nrows\n")}, labels=ROUTER)
    api.create_network(WEB)
    host = api.create_host_config(
        network_mode=WEB,
        binds=[f"{DATA}:/data"],
        port_bindings={PORT: PUBLISHED},
        restart_policy={"Name": "always"},
    )
    api.create_container(
        web_image(api),
        name=WEB,
        labels=ROUTER,
        ports=[PORT],
        stop_signal="SIGKILL",
        environment={"GREETING": "hello"},
        healthcheck={
            "test": ["CMD-SHELL", check or f"perl /srv/ask.pl shop {PORT}"],
            "interval": 200_000_000,
            "timeout": 5_000_000_000,
            "retries": 3,
        },
        host_config=host,
        networking_config={"EndpointsConfig": {WEB: {"Aliases": ["shop"]}}},
    )
    api.start(WEB)


def things(api: docker.APIClient) -> list[str]:
    """All that is on an engine: containers and volumes by name, networks and images by id."""
    found = [f"{each['Names'][0]} {each['State']}" for each in api.containers(all=True)]
    found += [each["Name"] for each in api.volumes()["Volumes"] or ()]
    found += [each["Id"] for each in api.networks()]
    found += [f"{each['Id']} {sorted(each['RepoTags'] or ())}" for each in api.images(all=True)]
    return sorted(found)


def states(backupd: Command) -> dict[str, list[str]]:
    """Name → in which states its newest backup is."""
    rows = succeeded(backupd("list", "--json")).json
    return {row["name"]: sorted({*row["states"], *row["proofs"]}) for row in rows}


def verdicts(result: Result) -> dict[str, str]:
    return {row["name"]: row["verdict"] for row in result.json}


def test_a_service_comes_up_in_its_drill_with_its_data_and_nothing_is_left(
    api: docker.APIClient, policy: WritePolicy, backupd: Command, store: Path
) -> None:
    make_service(api)
    wait_until(lambda: health(api, WEB) == "healthy")
    selectors = {"containers": [{"name": WEB, "with_volumes": True}]}
    policy({"nightly": selectors}, store={"url": f"file://{store}"})
    succeeded(backupd("backup"))
    before = things(api)
    done = succeeded(backupd("drill"))
    after = things(api)
    status = backupd("status", "--json").json
    kept = succeeded(backupd("drill", WEB, "--keep"))
    (name,) = [each["Names"][0][1:] for each in api.containers() if "drill-" in each["Names"][0]]
    found = api.inspect_container(name)
    (network,) = found["NetworkSettings"]["Networks"]
    said = answer(api, name, "shop")
    again = succeeded(backupd("drill", DATA, "-q"))

    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"container {WEB}, backup ")
    assert ": proven to start at " in lines[0]
    assert ": healthy after " in lines[0]
    assert lines[1].endswith(f"restored for container {WEB}")
    assert "proved 2 of 2 sources" == lines[2]
    assert before == after
    assert {WEB: ["drilled"], DATA: ["drilled"]} == states(backupd)
    assert {"drilled"} == {proof["how"] for proof in status["proofs"]}
    assert "hello\nten\nrows\n" == said
    assert (True, {}) == (
        api.inspect_network(network)["Internal"],
        found["HostConfig"]["PortBindings"],
    )
    assert "no" == found["HostConfig"]["RestartPolicy"]["Name"]
    assert set(ROUTER).isdisjoint(found["Config"]["Labels"])
    assert 4 == kept.stdout.count("kept: ")
    assert ("", "") == (again.stdout, again.stderr)
    assert name in {each["Names"][0][1:] for each in api.containers()}, "kept, and swept later"


def test_every_cause_of_failure_is_found_told_and_cleaned_up(
    api: docker.APIClient, policy: WritePolicy, backupd: Command, store: Path
) -> None:
    make_service(api, check="echo out of order; exit 1")
    missing, bad, once, root = (f"{WEB}-{name}" for name in ("missing", "bad", "once", "root"))
    base = base_image(api)
    api.create_container(base, ["/no/such/program"], name=missing)
    api.create_container(base, ["sh", "-c", "exit 3"], name=bad)
    api.create_container(base, ["sh", "-c", "exit 0"], name=once)
    privileged = api.create_host_config(privileged=True)
    api.create_container(base, ["true"], name=root, host_config=privileged)
    own = {"name": once, "command": "exit 7", "seconds": 1}
    names = [{"name": WEB, "with_volumes": True}, missing, bad, once, root]
    policy(
        {"nightly": {"containers": names}},
        store={"url": f"file://{store}"},
        drill={"sources": [own, f"{WEB}*"], "seconds": 1},
    )
    succeeded(backupd("backup"))
    before = things(api)
    result = backupd("drill", "--json")
    words = {row["name"]: row["words"] for row in result.json}
    refused = backupd("drill", root)

    assert 1 == result.code
    failed = dict.fromkeys((WEB, missing, bad), "failed")
    assert {**failed, once: "proven", root: "cannot be drilled"} == verdicts(result)
    assert (8, f"container {root} cannot be drilled: it is privileged") == (
        refused.code,
        the_sentence(refused),
    )
    assert "its health check failed: unhealthy" in words[WEB]
    assert "(out of order)" in words[WEB]
    assert "it does not start: " in words[missing]
    assert "/no/such/program" in words[missing]
    assert words[bad].startswith("it ended with exit code 3 ")
    assert "ended with exit code 0" in words[once]
    assert before == things(api)
    unproven: dict[str, list[str]] = {name: [] for name in (WEB, DATA, missing, bad, root)}
    assert {**unproven, once: ["drilled"]} == states(backupd)
    refuse_secrets(result)


def test_a_damaged_archive_is_found_of_a_volume_too_and_marked(
    api: docker.APIClient, policy: WritePolicy, backupd: Command, store: Path
) -> None:
    make_volume(api, DATA, {"./rows": b"rows" * 1000})
    host = api.create_host_config(binds=[f"{DATA}:/data"])
    api.create_container(base_image(api), ["true"], name=WEB, host_config=host)
    make_image(api, IMAGE)
    selectors = {"containers": [{"name": WEB, "with_volumes": True}], "images": [IMAGE]}
    policy({"nightly": selectors}, store={"url": f"file://{store}"})
    succeeded(backupd("backup"))
    for kind in ("volume", "image"):
        (archive,) = (store / "testhost/archives" / kind).glob("*/*.tar.zst")
        data = bytearray(archive.read_bytes())
        data[len(data) // 2] ^= 1
        archive.write_bytes(data)
    before = things(api)
    result = backupd("drill", "--json")

    assert 6 == result.code
    assert dict.fromkeys((WEB, DATA, IMAGE), "damaged") == verdicts(result)
    assert before == things(api)
    assert {WEB: [], DATA: ["damaged"], IMAGE: ["damaged"]} == states(backupd)


def test_images_are_loaded_under_names_of_their_own_whether_they_are_there_or_not(
    api: docker.APIClient, policy: WritePolicy, backupd: Command, store: Path
) -> None:
    make_image(api, IMAGE)
    make_image(api, OTHER, text="another")
    bundle = {"bundle": "both", "images": [IMAGE, OTHER]}
    policy({"nightly": {"images": [IMAGE, OTHER, bundle]}}, store={"url": f"file://{store}"})
    succeeded(backupd("backup"))
    api.remove_image(OTHER)
    make_image(api, OTHER, text="newer, which must keep its name")
    before = things(api)
    done = succeeded(backupd("drill", "--json"))
    after = things(api)
    api.remove_image(OTHER)
    succeeded(backupd("drill", OTHER, "--keep"))
    names = {tag for each in api.images() for tag in each["RepoTags"] or ()}

    assert dict.fromkeys((IMAGE, OTHER, "both"), "proven") == verdicts(done)
    assert before == after
    assert ["drilled"] == states(backupd)["both"]
    assert not has_image(api, OTHER)
    assert [True] == [name.startswith("backupd-drill/kept/") for name in names if "drill/" in name]


@pytest.fixture
def faulty(engine: Engine) -> Iterator[FaultyEngine]:
    with FaultyEngine(engine.host) as proxy:
        yield proxy


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_a_drill_that_was_ended_in_the_middle(
    number: signal.Signals,
    api: docker.APIClient,
    policy: WritePolicy,
    backupd: Command,
    faulty: FaultyEngine,
    store: Path,
) -> None:
    make_service(api)
    make_image(api, IMAGE)
    selectors: dict[str, Any] = {"containers": [{"name": WEB, "with_volumes": True}]}
    sections = {"store": {"url": f"file://{store}"}, "docker": {"host": faulty.host}}
    policy({"nightly": selectors}, **sections)
    succeeded(backupd("backup"))
    before = things(api)
    with held(backupd, faulty, Fault(START), "drill") as drill:
        in_between = things(api)
        drill.end(number)
    if number == signal.SIGKILL:
        # An image that came back as it was has no label, so its name tells whose it is.
        whose = owner(StateDir(backupd.state_dir))
        api.tag(IMAGE, f"{SCRATCH_REPOSITORY}/{whose}/1-dead", "1")
        # A job that takes all there is must not take a drill's things; and it clears them away.
        everything = {"containers": ["*"], "volumes": ["*"], "images": ["*"]}
        policy({"nightly": everything}, **sections)
        rows = succeeded(backupd("backup", "--json")).json
        assert not [row["name"] for row in rows if SCRATCH_REPOSITORY in row["name"]]

    assert 4 == len(set(in_between) - set(before))
    assert before == things(api)


class Records:
    """Takes what is recorded of a run."""

    def __init__(self) -> None:
        self.ended: list[RunRecord] = []

    def begin(self, job: str, at: datetime) -> int | None:
        del job, at
        return None

    def end(self, run_id: int | None, record: RunRecord) -> None:
        del run_id
        self.ended.append(record)


def test_a_scheduled_drill_runs_commands_inside_and_is_recorded(
    api: docker.APIClient,
    engine: Engine,
    policy: WritePolicy,
    backupd: Command,
    store: Path,
) -> None:
    sleeper = ["sh", "-c", "sleep 0.5; echo done >/ready; sleep 1000"]
    for name in (WEB, f"{WEB}-bad"):
        api.create_container(base_image(api), sleeper, name=name)
    wishes = {"sources": [{"name": WEB, "command": "test -e /ready"}, "*"], "command": "exit 7"}
    sections = {"store": {"url": f"file://{store}"}, "drill": {"seconds": 1, **wishes}}
    path = policy({"nightly": {"containers": [f"{WEB}*"]}}, **sections)
    succeeded(backupd("backup"))
    before, records = things(api), Records()
    loaded = load(path, environ={}).policy
    site = Site(
        "testhost",
        BackupdEngine(loaded.docker, host=engine.host),
        open_store(loaded.store),
        StateDir(backupd.state_dir),
        lambda: datetime.now(UTC),
    )
    run_drill(records, site, loaded, DRILL, LogReport())
    (record,) = records.ended

    assert ("@drill", "failed") == (record.job, record.state)
    assert record.note.startswith(f"proved 1 of 2 sources, 1 failed; container {WEB}-bad, backup ")
    assert "the drill failed: its command gave 7, and had 1 s to give 0" in record.note
    assert {WEB: ["drilled"], f"{WEB}-bad": []} == states(backupd)
    assert before == things(api)
