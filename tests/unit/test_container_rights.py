"""What a forged record may not hide."""

from __future__ import annotations

from typing import Any

import pytest

from backupd.container_rights import disguised


@pytest.mark.parametrize("key", ["privileged", "BINDS", "deviceſ", "pidmode", "restartpolicy"])
def test_a_key_that_only_an_engine_would_understand_is_found(key: str) -> None:
    host = {"Privileged": False, "Memory": 1, key: "x"}

    assert [key] == disguised({"HostConfig": host})


@pytest.mark.parametrize(
    ("container", "key"),
    [
        ({"Config": {"hostconfig": {"Privileged": True}}}, "hostconfig"),
        ({"Config": {"NetworkingConfig": {"EndpointsConfig": {"bridge": {}}}}}, "NetworkingConfig"),
        ({"Config": {"Image": "web:1", "image": "other:1"}}, "image"),
        ({"HostConfig": {"Mounts": [{"Type": "tmpfs", "type": "bind", "Target": "/"}]}}, "type"),
        ({"HostConfig": {"Mounts": [{"VolumeOptions": {"driverconfig": {}}}]}}, "driverconfig"),
        ({"HostConfig": {"Devices": [{"PathOnHost": "/a", "pathonhost": "/b"}]}}, "pathonhost"),
        ({"HostConfig": {"DeviceRequests": [{"capabilities": [["gpu"]]}]}}, "capabilities"),
    ],
)
def test_a_key_is_found_wherever_it_would_count(container: dict[str, Any], key: str) -> None:
    assert [key] == disguised(container)


def test_keys_as_engines_write_them_are_none() -> None:
    logs = {"Type": "json-file", "Config": {"labels": "a", "env": "b"}}
    host = {"Privileged": True, "Binds": [], "Dns": [], "SomethingNew": 1, "LogConfig": logs}
    mount = {"Type": "volume", "VolumeOptions": {"Labels": {"type": "x"}, "NoCopy": True}}
    config = {"Env": ["A=b"], "Labels": {"hostconfig": "x"}, "Healthcheck": {"Test": ["NONE"]}}

    assert [] == disguised({"HostConfig": {**host, "Mounts": [mount]}, "Config": config})
