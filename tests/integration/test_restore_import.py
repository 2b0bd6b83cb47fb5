"""`backupd restore container --via import`: Docker's own import, with what it can carry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import docker
import pytest

from tests.integration.command import Command
from tests.integration.conftest import leaving_no_trace
from tests.integration.trees import files_of, files_of_image, output_of, succeeded
from tests.servers.dockerd import Engine
from tests.servers.rootfs import build_image

NAME, IMAGE, RESTORED = "backupd-test-bar", "backupd-test-bar:1", "backupd-test-bar:restored"
CONFIG: dict[str, Any] = {
    "Entrypoint": ["/bin/sh", "-c"],
    "Cmd": ["echo $TWO; cat /etc/motd; echo 'a\nb'"],
    "Env": ["PATH=/bin", "TWO=two words", 'QUOTED="$X" \\ \'', "EMPTY=", "EQUALS=a=b"],
    "Labels": {"owner": 'the "bar" for $5', "empty": ""},
    "User": "65534:65534",
    "WorkingDir": "/tmp",  # noqa: S108
    "ExposedPorts": {"53/udp": {}, "80/tcp": {}},
    "Volumes": {"/data": {}, "/with space": {}},
    "Healthcheck": {"Test": ["CMD-SHELL", 'test "$A"'], "Interval": 5_000_000_000, "Retries": 7},
    "OnBuild": ["RUN echo 'x y'"],
}
NOT_CARRIED = {"Shell": ["/bin/sh", "-e", "-c"]}
NOT_WRITTEN = {"Labels": {"key=sign": "1"}, "Env": ["LINES=a\nb"]}


@pytest.fixture(scope="module")
def backupd(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """The command, with a backup of a container that is still there."""
    command = Command(tmp_path_factory.mktemp("import"))
    config = {
        **CONFIG,
        **NOT_CARRIED,
        "Env": CONFIG["Env"] + NOT_WRITTEN["Env"],
        "Labels": CONFIG["Labels"] | NOT_WRITTEN["Labels"],
    }
    with leaving_no_trace(engine) as api:
        build_image(api, IMAGE, layers=[{"etc/motd": b"hello\n"}], config=config)
        api.create_container(IMAGE, name=NAME)
        sections = {"state_dir": str(command.state_dir), "docker": {"host": engine.host}}
        store = {"url": f"file://{command.directory}/store"}
        command.write({**sections, "store": store, "jobs": {"nightly": {"containers": [NAME]}}})
        succeeded(command("backup"))
        yield command


def imported(backupd: Command, *options: str) -> str:
    """What was said while the container came back as RESTORED."""
    arguments = ("restore", "container", NAME, "--via", "import", "--tag", RESTORED, *options)
    return succeeded(backupd(*arguments)).stderr


def test_an_import_carries_all_that_an_instruction_can_say(
    api: docker.APIClient, backupd: Command
) -> None:
    imported(backupd)
    found = api.inspect_image(RESTORED)["Config"]

    assert CONFIG == {name: found[name] for name in CONFIG}


def test_an_import_brings_the_files_back(api: docker.APIClient, backupd: Command) -> None:
    imported(backupd)

    assert files_of(api, NAME) == files_of_image(api, RESTORED, f"{NAME}-again")


def test_an_imported_container_runs_as_before(api: docker.APIClient, backupd: Command) -> None:
    imported(backupd)

    assert "two words\nhello\na\nb\n" == output_of(api, RESTORED, f"{NAME}-again")


def test_an_import_names_what_it_cannot_carry(api: docker.APIClient, backupd: Command) -> None:
    said = [line for line in imported(backupd).splitlines() if "cannot" in line]

    assert [
        f"backupd: docker import cannot carry {what}; `--via load` can"
        for what in ("ENV LINES", "LABEL key=sign", "SHELL")
    ] == said


def test_a_change_wins_over_what_was_recorded(api: docker.APIClient, backupd: Command) -> None:
    changes = ["--change", 'CMD ["echo", "changed"]', "--change", "ENV TWO=2"]
    imported(backupd, *changes)
    found = api.inspect_image(RESTORED)["Config"]

    assert (["echo", "changed"], True) == (found["Cmd"], "TWO=2" in found["Env"])
    assert CONFIG["Labels"] == found["Labels"]


def test_a_message_becomes_the_comment_of_the_image(
    api: docker.APIClient, backupd: Command
) -> None:
    imported(backupd, "--message", "before the flood: 100% & more")

    assert "before the flood: 100% & more" == api.inspect_image(RESTORED)["Comment"]


def test_without_configuration_an_import_brings_the_files_alone(
    api: docker.APIClient, backupd: Command
) -> None:
    imported(backupd, "--no-config", "--change", "LABEL only=this")
    found = api.inspect_image(RESTORED)["Config"]

    assert {"only": "this"} == found["Labels"]
    assert [None, None, None] == [found[name] or None for name in ("Cmd", "Entrypoint", "User")]


def test_an_import_hands_the_platform_to_the_engine(
    api: docker.APIClient, backupd: Command
) -> None:
    # What engines make of an architecture differs; none imports for a system that it cannot run.
    arguments = ("--via", "import", "--tag", RESTORED, "--platform", "plan9/amd64")
    result = backupd("restore", "container", NAME, *arguments)

    assert (3, []) == (result.code, api.images(name=RESTORED))
    assert "cannot import the archive: the engine says: " in result.stderr


def test_a_loaded_container_takes_a_message_too(api: docker.APIClient, backupd: Command) -> None:
    succeeded(backupd("restore", "container", NAME, "--tag", RESTORED, "--message", "again"))

    assert "again" == api.history(RESTORED)[0]["Comment"]


@pytest.mark.parametrize("option", [["--change", "USER root"], ["--no-config"]], ids=str)
def test_options_of_import_are_refused_without_it(
    option: list[str], api: docker.APIClient, backupd: Command
) -> None:
    result = backupd("restore", "container", NAME, "--tag", RESTORED, *option)

    assert (2, True) == (result.code, "belong to --via import" in result.stderr)
    assert [] == api.images(name=RESTORED)


def test_a_change_that_is_refused_leaves_nothing_and_shows_no_secret(
    api: docker.APIClient, backupd: Command
) -> None:
    before = {image["Id"] for image in api.images()}
    arguments = ("--via", "import", "--tag", RESTORED, "--change", "STOP swordfish=1")
    result = backupd("restore", "container", NAME, *arguments)

    assert (3, before) == (result.code, {image["Id"] for image in api.images()})
    assert "two words" not in result.stderr
