"""What a container gets in its drill, which ones are not drilled, and when one has come up."""

from __future__ import annotations

from typing import Any

import pytest

from backupd.container_body import Ran
from backupd.drill_plan import (
    LONGEST_HEALTH_SECONDS,
    Names,
    Outlook,
    Patience,
    body,
    health_limit_seconds,
    judged,
    network_body,
    patience,
    refusals,
)
from tests.unit.test_container_plan import attached, ran, volume_mount

LABELS = {"of": "the drill"}
NAMES = Names("scratch:1", "scratch", {"data": "copy", "/srv": "copy-2"}, LABELS, empty=["data"])
WEB = Patience(seconds=10, health_seconds=60, may_end=False)
JOB = Patience(seconds=10, health_seconds=60, may_end=True)


def in_network(**host: Any) -> Ran:
    return ran(
        host={"NetworkMode": "app", **host},
        networks={"app": attached(IPAMConfig={"IPv4Address": "10.7.0.9"})},
    )


def drilled(one: Ran) -> dict[str, Any]:
    return body(one, NAMES)


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ({"Privileged": True}, "is privileged"),
        ({"NetworkMode": "host"}, "uses the network of the host"),
        ({"PidMode": "host"}, "uses the processes of the host"),
        ({"IpcMode": "host"}, "uses the shared memory of the host"),
        ({"NetworkMode": "container:1"}, "uses the network of container db"),
        ({"Devices": [{"PathOnHost": "/dev/fuse"}]}, "uses device /dev/fuse"),
        ({"DeviceRequests": [{"Count": -1}]}, "asks for devices such as graphics cards"),
        ({"DeviceCgroupRules": ["c 1:1 r"]}, "has rules for devices"),
        ({"CapAdd": ["CAP_SYS_TIME"]}, "has power over the whole machine (CAP_SYS_TIME)"),
        ({"ReadonlyPaths": []}, "may write the kernel's settings (systempaths=unconfined)"),
        ({"Mounts": [{"Type": "cluster"}]}, "has a mount of type cluster"),
        (
            {"Binds": ["/var/run/docker.sock:/s"]},
            "mounts the host's socket /var/run/docker.sock",
        ),
        (
            {"Binds": ["/etc/web:/etc/web:ro"]},
            "mounts /etc/web of the host, of which there is no backup",
        ),
        ({"Binds": ["cache:/c"]}, "mounts volume cache, of which there is no backup"),
    ],
)
def test_a_container_that_needs_the_host_is_refused_with_the_reason(
    host: dict[str, Any], reason: str
) -> None:
    assert [reason] == refusals(ran(host=host, lenders={"1": "db"}), ["data"])


def test_all_reasons_are_told_at_once() -> None:
    host = {"Privileged": True, "PidMode": "host", "Binds": ["/etc/web:/etc/web"]}

    assert 3 == len(refusals(ran(host=host), []))


def test_a_directory_of_the_host_that_has_a_backup_is_no_reason() -> None:
    host = {"Binds": ["/srv:/srv"], "CapAdd": ["NET_ADMIN"], "PidMode": "", "IpcMode": "private"}

    assert [] == refusals(ran(host=host), ["/srv"])


def test_what_would_be_felt_outside_is_left_out() -> None:
    one = in_network(
        RestartPolicy={"Name": "always", "MaximumRetryCount": 0},
        PortBindings={"80/tcp": [{"HostPort": "80"}]},
        PublishAllPorts=True,
        AutoRemove=True,
        Links=["/db:/web/db"],
        CgroupParent="/theirs",
        LogConfig={"Type": "gelf", "Config": {"gelf-address": "udp://logs"}},
        Memory=7,
    )
    host = drilled(one)["HostConfig"]

    assert {"Name": "no"} == host["RestartPolicy"]
    assert ({}, False, False) == (
        host["PortBindings"],
        host["PublishAllPorts"],
        host["AutoRemove"],
    )
    assert (None, "", "json-file") == (
        host["Links"],
        host["CgroupParent"],
        host["LogConfig"]["Type"],
    )
    assert 7 == host["Memory"]


def test_no_label_of_its_own_is_left_for_routers_and_jobs_to_go_by() -> None:
    one = ran(config={"Labels": {"traefik.enable": "true"}})

    assert LABELS == drilled(one)["Labels"]


def test_it_has_one_network_without_a_way_out_and_all_its_names_there() -> None:
    made = drilled(in_network())
    network = network_body(in_network(), NAMES)

    assert {"scratch": {"Aliases": ["web", "www"]}} == made["NetworkingConfig"]["EndpointsConfig"]
    assert "scratch" == made["HostConfig"]["NetworkMode"]
    assert network is not None
    assert ("scratch", True, False, LABELS) == (
        network["Name"],
        network["Internal"],
        network["EnableIPv6"],
        network["Labels"],
    )
    assert {"com.docker.network.bridge.inhibit_ipv4": "true"} == network["Options"]


def test_a_container_without_a_network_gets_none() -> None:
    assert None is network_body(ran(), NAMES)
    assert "none" == drilled(ran())["HostConfig"]["NetworkMode"]
    assert "NetworkingConfig" not in drilled(ran())


@pytest.mark.parametrize(
    ("host", "mounts", "expected"),
    [
        (
            {"Binds": ["data:/d:ro,z"]},
            [],
            {
                "Source": "copy",
                "Target": "/d",
                "ReadOnly": True,
                "VolumeOptions": {"NoCopy": True},
            },
        ),
        (
            {"Binds": ["/srv:/srv"]},
            [],
            {"Source": "copy-2", "Target": "/srv", "VolumeOptions": {"NoCopy": True}},
        ),
        (
            {
                "Mounts": [
                    {
                        "Type": "volume",
                        "Source": "data",
                        "Target": "/d",
                        "VolumeOptions": {"Subpath": "a", "Labels": {"of": "theirs"}},
                    }
                ]
            },
            [],
            {
                "Source": "copy",
                "Target": "/d",
                "VolumeOptions": {"Subpath": "a", "NoCopy": True},
            },
        ),
        (
            {},
            [volume_mount("data", "/d", writable=False)],
            {
                "Source": "copy",
                "Target": "/d",
                "ReadOnly": True,
                "VolumeOptions": {"NoCopy": True},
            },
        ),
    ],
)
def test_copies_are_mounted_where_the_originals_were(
    host: dict[str, Any], mounts: list[dict[str, Any]], expected: dict[str, Any]
) -> None:
    made = drilled(ran(host=host, mounts=mounts))["HostConfig"]

    assert [{"Type": "volume", **expected}] == made["Mounts"]
    assert None is made["Binds"]


@pytest.mark.parametrize(
    ("state", "waited_seconds", "patient", "outlook", "words"),
    [
        ({"Running": True}, 9, WEB, Outlook.OPEN, ""),
        ({"Running": True}, 10, WEB, Outlook.PASSED, "still running after 10 s"),
        ({"Running": True, "Health": {"Status": "none"}}, 9, WEB, Outlook.OPEN, ""),
        ({"Running": True, "Health": {"Status": "starting"}}, 59, WEB, Outlook.OPEN, ""),
        (
            {"Running": True, "Health": {"Status": "starting"}},
            61,
            WEB,
            Outlook.FAILED,
            "its health check came to no end after 61 s",
        ),
        (
            {"Running": True, "Health": {"Status": "healthy"}},
            1,
            WEB,
            Outlook.PASSED,
            "healthy after 1 s",
        ),
        (
            {"Running": True, "Health": {"Status": "unhealthy"}},
            1,
            WEB,
            Outlook.FAILED,
            "its health check failed: unhealthy after 1 s",
        ),
        (
            {"Running": False, "ExitCode": 0},
            1,
            WEB,
            Outlook.FAILED,
            "it ended with exit code 0 after 1 s",
        ),
        (
            {"Running": False, "ExitCode": 0},
            1,
            JOB,
            Outlook.PASSED,
            "ended with exit code 0 after 1 s",
        ),
        (
            {"Running": False, "ExitCode": 2},
            1,
            JOB,
            Outlook.FAILED,
            "it ended with exit code 2 after 1 s",
        ),
        (
            {"Running": False, "ExitCode": 137, "OOMKilled": True},
            1,
            JOB,
            Outlook.FAILED,
            "it ran out of memory after 1 s",
        ),
    ],
)
def test_when_a_container_has_come_up(
    state: dict[str, Any], waited_seconds: float, patient: Patience, outlook: Outlook, words: str
) -> None:
    assert (outlook, words) == judged(state, waited_seconds, patient)


@pytest.mark.parametrize(
    ("status", "exit_code", "may_end"),
    [("running", 0, False), ("exited", 0, True), ("exited", 1, False), ("created", 0, True)],
)
def test_only_what_had_ended_well_may_end(status: str, exit_code: int, may_end: bool) -> None:
    one = ran()
    state = {"Status": status, "ExitCode": exit_code}

    assert may_end is patience(Ran({**one.container, "State": state}), 10).may_end


def test_a_health_check_has_the_time_that_its_own_settings_need() -> None:
    second = 1_000_000_000
    check = {"StartPeriod": 7 * second, "Interval": second, "Timeout": 2 * second, "Retries": 4}

    assert 7 + 5 * (1 + 2) + 30 == health_limit_seconds(check)
    assert 4 * (30 + 30) + 30 == health_limit_seconds({})
    assert LONGEST_HEALTH_SECONDS == health_limit_seconds({"StartPeriod": 9999 * second})
