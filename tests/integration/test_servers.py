"""The engines of the tests are what the other tests take them for."""

from __future__ import annotations

import docker
import docker.errors
import pytest

from tests.servers.dockerd import Engine
from tests.servers.rootfs import Layer, base_image, build_dockerfile, build_image, folder

AWKWARD = {
    "Cmd": ["sh", "-c", "echo '$HOME' \"two\"\nexit 0"],
    "Env": ["PATH=/bin", "TWO=two words", 'QUOTED="$X" \\', "LINES=a\nb"],
    "Labels": {"key=sign": "line\nline", "quote": "'\"$`"},
    "User": "65534:65534",
    "WorkingDir": "/var/with space",
    "ExposedPorts": {"53/udp": {}, "80/tcp": {}},
    "Volumes": {"/data": {}},
    "Healthcheck": {"Test": ["CMD-SHELL", 'test "$A"'], "Interval": 5_000_000_000},
    "StopSignal": "SIGUSR1",
    "Shell": ["/bin/sh", "-e", "-c"],
    "OnBuild": ["RUN echo 'x y'"],
}


def test_two_engines_share_nothing(api: docker.APIClient, second_api: docker.APIClient) -> None:
    build_image(api, "backupd-test-shared:1")

    with pytest.raises(docker.errors.ImageNotFound):
        second_api.inspect_image("backupd-test-shared:1")


def test_a_killed_engine_comes_back_with_its_images_and_without_running_containers() -> None:
    with Engine() as engine:
        api = engine.client()
        image_id = build_image(api, "backupd-test-kept:1")
        api.create_container(image_id, ["sleep", "1000"], name="backupd-test-kept")
        api.start("backupd-test-kept")
        engine.restart()

        assert image_id == api.inspect_image("backupd-test-kept:1")["Id"]
        assert "exited" == api.inspect_container("backupd-test-kept")["State"]["Status"]


def test_a_test_image_has_every_value_that_was_asked_for(api: docker.APIClient) -> None:
    layers: list[Layer] = [{"etc/one": b"1"}, {"etc/two": "one", "srv": folder(0o700, 5, 6)}]
    build_image(
        api, "backupd-test-awkward:1", "backupd-test-awkward:2", layers=layers, config=AWKWARD
    )
    found = api.inspect_image("backupd-test-awkward:2")

    assert AWKWARD == {name: found["Config"][name] for name in AWKWARD}
    assert 3 == len(found["RootFS"]["Layers"])
    assert ["backupd-test-awkward:1", "backupd-test-awkward:2"] == sorted(found["RepoTags"])


def test_a_test_image_can_be_built_upon_and_run(api: docker.APIClient) -> None:
    base = base_image(api)
    build_dockerfile(api, "backupd-test-built:1", f"FROM {base}\nRUN echo made > /made\n")
    container = api.create_container(
        "backupd-test-built:1", ["cat", "/made"], name="backupd-test-built"
    )
    api.start(container)
    api.wait(container)

    assert b"made\n" == api.logs(container)
