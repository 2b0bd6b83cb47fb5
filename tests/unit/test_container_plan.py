"""How a container comes back: what is asked of the engine, and what is told that cannot be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from backupd.container_body import Ran, lenders_of, passed_over, trial_of
from backupd.container_plan import Plan, Seen, host_paths, plan, volumes_of

ID = "0fef3bd3ee2f5ff24edc08af8020872dbdb9491e4a11dc9799e93ee54f3313a3"
OTHER_ID = "1" * 64
NETWORK = {
    "Name": "app",
    "Id": "d" * 64,
    "Scope": "local",
    "Driver": "bridge",
    "EnableIPv6": False,
    "Internal": True,
    "IPAM": {"Driver": "default", "Options": None, "Config": [{"Subnet": "10.7.0.0/24"}]},
    "Options": {"com.docker.network.driver.mtu": "1400"},
    "Labels": {"a": "b\nc"},
}
VOLUME = {"Name": "data", "Driver": "local", "Options": None, "Labels": {"a": "b"}}


def ran(
    *,
    config: dict[str, Any] | None = None,
    host: dict[str, Any] | None = None,
    networks: dict[str, Any] | None = None,
    mounts: list[dict[str, Any]] | None = None,
    lenders: dict[str, str] | None = None,
) -> Ran:
    container = {
        "Id": ID,
        "Name": "/web",
        "Config": {"Hostname": ID[:12], "Image": "web:1", "Entrypoint": None, **(config or {})},
        "HostConfig": {"NetworkMode": "none", **(host or {})},
        "NetworkSettings": {"Networks": networks or {}},
        "Mounts": mounts or [],
    }
    return Ran(container, lenders=lenders or {})


def planned(one: Ran, seen: Seen | None = None, **options: Any) -> Plan:
    chosen = {"name": "web", "image": "restored/web:1", "backed_up": (), **options}
    return plan(one, seen or Seen(), **chosen)


def attached(**endpoint: Any) -> dict[str, Any]:
    return {"NetworkID": "d" * 64, "Aliases": ["www", ID[:12]], "IPAddress": "10.7.0.9", **endpoint}


def in_app_container(**endpoint: Any) -> dict[str, Any]:
    one = ran(host={"NetworkMode": "app"}, networks={"app": attached(**endpoint)})
    return dict(one.container)


def volume_mount(name: str, destination: str, *, writable: bool = True) -> dict[str, Any]:
    return {"Type": "volume", "Name": name, "Destination": destination, "RW": writable}


def test_what_inspect_tells_is_asked_for_as_it_is() -> None:
    config = {"Env": ["A=x\ny", "B="], "Labels": {"k": "v\n"}, "OfTomorrow": [1]}
    host = {"Memory": 7, "Sysctls": {"net.ipv4.ip_forward": "1"}, "OfTomorrow": {"a": None}}
    body = planned(ran(config=config, host=host)).body

    assert config == {key: body[key] for key in config}
    assert host == {key: body["HostConfig"][key] for key in host}


def test_the_body_is_json_and_the_record_is_left_alone() -> None:
    one = ran(host={"Binds": ["data:/data"]}, config={"MacAddress": "02:42:00:00:00:01"})
    before = json.dumps(one.container)
    json.dumps(planned(one, backed_up={"data"}, empty={"data"}).body)

    assert before == json.dumps(one.container)


def test_the_image_is_the_one_that_was_restored() -> None:
    assert "restored/web:1" == planned(ran()).body["Image"]


def test_no_entry_point_stays_none_whatever_the_image_has() -> None:
    assert [] == planned(ran()).body["Entrypoint"]


def test_a_host_name_that_the_engine_chose_is_not_asked_for() -> None:
    assert "Hostname" not in planned(ran()).body
    assert "shop" == planned(ran(config={"Hostname": "shop"})).body["Hostname"]


def test_a_container_in_anothers_network_asks_for_no_ports_and_names_the_other() -> None:
    host = {"NetworkMode": f"container:{OTHER_ID}"}
    one = ran(host=host, config={"ExposedPorts": {"80/tcp": {}}}, lenders={OTHER_ID: "db"})
    found = planned(one, Seen(containers={"db": "2" * 64}))

    assert () == found.lacks
    assert "container:db" == found.body["HostConfig"]["NetworkMode"]
    assert "ExposedPorts" not in found.body
    assert "Hostname" not in found.body


def test_a_lender_that_is_not_there_is_a_lack() -> None:
    one = ran(host={"IpcMode": f"container:{OTHER_ID}"}, lenders={OTHER_ID: "db"})
    found = planned(one)

    assert ("what it shares with container db: that container is not here",) == found.lacks
    assert "" == found.body["HostConfig"]["IpcMode"]


def test_links_are_asked_for_in_the_engines_words_and_need_the_other_container() -> None:
    one = ran(host={"Links": ["/db:/web/database", "/gone:/web/old"]})
    found = planned(one, Seen(containers={"db": "2" * 64}))

    assert ["db:database"] == found.body["HostConfig"]["Links"]
    assert ("link to container gone: that container is not here",) == found.lacks


def test_a_missing_network_is_made_as_it_was() -> None:
    one = Ran(in_app_container(), networks={"app": NETWORK})
    found = planned(one)
    endpoint = found.body["NetworkingConfig"]["EndpointsConfig"]["app"]

    assert () == found.lacks
    assert NETWORK["IPAM"] == found.networks["app"]["IPAM"]
    assert NETWORK["Options"] == found.networks["app"]["Options"]
    assert NETWORK["Labels"] == found.networks["app"]["Labels"]
    assert found.networks["app"]["Internal"]
    assert {"Aliases": ["www"]} == endpoint


def test_a_mode_that_is_a_networks_id_is_asked_for_by_its_name() -> None:
    one = ran(host={"NetworkMode": "d" * 64}, networks={"app": attached()})
    found = planned(Ran(one.container, networks={"app": NETWORK}))

    assert "app" == found.body["HostConfig"]["NetworkMode"]


def test_only_one_network_is_asked_for_at_first_and_the_others_follow() -> None:
    networks = {"side": attached(Aliases=["s"]), "app": attached()}
    one = ran(host={"NetworkMode": "app"}, networks=networks)
    side = {**NETWORK, "Name": "side"}
    found = planned(Ran(one.container, networks={"app": NETWORK, "side": side}))

    assert ["app"] == list(found.body["NetworkingConfig"]["EndpointsConfig"])
    assert (("side", {"Aliases": ["s"]}),) == found.connections


def test_a_fixed_address_comes_back_and_one_that_the_engine_chose_does_not() -> None:
    fixed = in_app_container(IPAMConfig={"IPv4Address": "10.7.0.9", "IPv6Address": ""})
    given, chosen = (
        planned(Ran(each, networks={"app": NETWORK})).body["NetworkingConfig"]["EndpointsConfig"]
        for each in (fixed, in_app_container(IPAMConfig=None))
    )

    assert {"IPv4Address": "10.7.0.9"} == given["app"]["IPAMConfig"]
    assert "IPAMConfig" not in chosen["app"]


@pytest.mark.parametrize(
    ("existing", "reason"),
    [
        (
            {"app": {"IPAM": {"Config": [{"Subnet": "10.8.0.0/24"}]}}},
            "it is outside of the network that is here",
        ),
        (
            {
                "app": {
                    "IPAM": {"Config": [{"Subnet": "10.7.0.0/16"}]},
                    "Containers": {"x": {"Name": "db", "IPv4Address": "10.7.0.9/16"}},
                }
            },
            "container db has it",
        ),
        (
            {"other": {"IPAM": {"Config": [{"Subnet": "10.7.0.128/25"}]}}},
            "its subnet overlaps with network other here",
        ),
    ],
)
def test_a_fixed_address_that_cannot_be_had_is_a_lack(
    existing: dict[str, Any], reason: str
) -> None:
    one = Ran(in_app_container(IPAMConfig={"IPv4Address": "10.7.0.9"}), networks={"app": NETWORK})
    found = planned(one, Seen(networks=existing))

    assert (f"address 10.7.0.9 in network app: {reason}",) == found.lacks
    assert "IPAMConfig" not in found.body["NetworkingConfig"]["EndpointsConfig"]["app"]


def test_a_network_whose_addresses_are_taken_gets_others_where_none_is_fixed() -> None:
    other = {"IPAM": {"Config": [{"Subnet": "10.0.0.0/8"}]}}
    found = planned(
        Ran(in_app_container(), networks={"app": NETWORK}), Seen(networks={"other": other})
    )

    assert () == found.lacks
    assert [] == found.networks["app"]["IPAM"]["Config"]
    assert "network app gets another subnet" in found.notes[0]


@pytest.mark.parametrize(
    ("described", "seen", "reason"),
    [
        ({}, Seen(), "it is not here, and the backup's record does not describe it"),
        (
            {"app": {**NETWORK, "Driver": "weave"}},
            Seen(drivers={"Network": ["bridge"]}),
            "this engine has no driver weave",
        ),
        (
            {"app": {**NETWORK, "Scope": "swarm"}},
            Seen(),
            "it is a swarm's, which has to make it first",
        ),
        (
            {"app": {**NETWORK, "ConfigFrom": {"Network": "base"}}},
            Seen(),
            "its configuration is network base's, which is not here",
        ),
    ],
)
def test_a_network_that_cannot_be_made_is_a_lack(
    described: dict[str, Any], seen: Seen, reason: str
) -> None:
    found = planned(Ran(in_app_container(), networks=described), seen)

    assert (f"network app: {reason}",) == found.lacks
    assert "none" == found.body["HostConfig"]["NetworkMode"]
    assert {} == found.networks


def test_the_engines_own_network_is_joined_without_aliases() -> None:
    one = ran(host={"NetworkMode": "default"}, networks={"bridge": attached()})
    there, gone = planned(one, Seen(networks={"bridge": {}})), planned(one)

    assert {"bridge": {}} == there.body["NetworkingConfig"]["EndpointsConfig"]
    assert "default" == there.body["HostConfig"]["NetworkMode"]
    assert ("network bridge: this engine was started without it",) == gone.lacks


def test_a_chosen_mac_address_is_asked_for_as_old_and_new_engines_want_it() -> None:
    one = ran(
        host={"NetworkMode": "app"},
        networks={"app": attached()},
        config={"MacAddress": "02:42:00:00:00:01"},
    )
    described = Ran(one.container, networks={"app": NETWORK})
    old, new = (planned(described, Seen(wants_endpoint_mac=each)).body for each in (False, True))

    assert "02:42:00:00:00:01" == old["MacAddress"]
    assert "MacAddress" not in new
    endpoint = new["NetworkingConfig"]["EndpointsConfig"]["app"]
    assert "02:42:00:00:00:01" == endpoint["MacAddress"]


def test_volumes_are_used_restored_or_lacking() -> None:
    binds = ["here:/a", "stored:/b:ro", "lost:/c"]
    one = Ran(ran(host={"Binds": binds}).container, volumes={"lost": VOLUME})
    found = planned(one, Seen(volumes={"here"}), backed_up={"stored"})

    assert ("volume here is there and used as it is",) == found.notes
    assert ("stored",) == found.volumes
    assert ("volume lost at /c: no backup holds its files",) == found.lacks
    assert {"lost": VOLUME} == found.empty_volumes
    assert binds == found.body["HostConfig"]["Binds"]


def test_a_volume_whose_driver_is_not_here_is_left_out() -> None:
    described = {"data": {**VOLUME, "Driver": "nfs4"}}
    one = Ran(ran(host={"Binds": ["data:/data"]}).container, volumes=described)
    found = planned(one, Seen(drivers={"Volume": ["local"]}), backed_up={"data"})

    assert ("volume data at /data: no driver nfs4 here",) == found.lacks
    assert ((), None) == (found.volumes, found.body["HostConfig"]["Binds"])


def test_a_volume_without_a_name_of_its_own_is_the_same_volume_again() -> None:
    mounts = [
        volume_mount("a" * 64, "/anonymous"),
        volume_mount("b" * 64, "/other", writable=False),
    ]
    asked = [{"Type": "volume", "Target": "/other/", "ReadOnly": True}]
    found = planned(
        ran(config={"Volumes": {"/anonymous": {}}}, host={"Mounts": asked}, mounts=mounts),
        backed_up={"a" * 64, "b" * 64},
    )

    assert [
        {**asked[0], "Source": "b" * 64},
        {"Type": "volume", "Source": "a" * 64, "Target": "/anonymous"},
    ] == found.body["HostConfig"]["Mounts"]


def test_volumes_of_another_container_are_mounted_without_it() -> None:
    mounts = [volume_mount("data", "/data", writable=False)]
    found = planned(ran(host={"VolumesFrom": ["db:ro"]}, mounts=mounts), backed_up={"data"})

    assert () == found.lacks
    assert found.body["HostConfig"]["VolumesFrom"] is None
    assert [
        {"Type": "volume", "Source": "data", "Target": "/data", "ReadOnly": True}
    ] == found.body["HostConfig"]["Mounts"]


def test_a_volume_that_was_empty_is_not_filled_from_the_image() -> None:
    mount = {"Type": "volume", "Source": "b", "Target": "/b"}
    one = ran(host={"Binds": ["a:/a:ro"], "Mounts": [mount]})
    host = planned(one, backed_up={"a", "b"}, empty={"a", "b"}).body["HostConfig"]

    assert ["a:/a:ro,nocopy"] == host["Binds"]
    assert [{**mount, "VolumeOptions": {"NoCopy": True}}] == host["Mounts"]


def test_paths_and_devices_of_the_host_that_are_missing_are_lacks() -> None:
    devices = [{"PathOnHost": "/dev/a"}, {"PathOnHost": "/dev/b"}]
    mounts = [{"Type": "bind", "Source": "/srv", "Target": "/srv"}]
    one = ran(host={"Binds": ["/etc/x:/x", "/y:/y"], "Mounts": mounts, "Devices": devices})
    found = planned(one, Seen(absent={"/etc/x", "/srv", "/dev/a"}), backed_up={"/srv"})
    host = found.body["HostConfig"]

    assert ["/etc/x", "/y", "/srv", "/dev/a", "/dev/b"] == host_paths(one)
    assert (("/y", "/y"),) == found.paths
    assert (
        "/etc/x at /x: no such path on the engine's host",
        "/srv at /srv: no such path on the engine's host; make it, and `backupd restore volume "
        "/srv` brings its files back",
        "device /dev/a: not on the engine's host",
    ) == found.lacks
    assert (["/y:/y"], [], devices[1:]) == (host["Binds"], host["Mounts"], host["Devices"])


def test_a_log_driver_and_a_runtime_that_are_missing_are_lacks() -> None:
    one = ran(host={"LogConfig": {"Type": "loki"}, "Runtime": "nvidia"})
    found = planned(one, Seen(drivers={"Log": ["json-file"]}, runtimes=["runc"]))

    assert (
        "log driver loki: this engine has none of that name",
        "runtime nvidia: this engine has none of that name",
    ) == found.lacks
    assert ({}, "") == (found.body["HostConfig"]["LogConfig"], found.body["HostConfig"]["Runtime"])


def test_a_subnet_with_bits_of_a_host_is_the_subnet_around_it() -> None:
    described = {**NETWORK, "IPAM": {"Config": [{"Subnet": "10.7.0.1/24"}]}}
    one = Ran(in_app_container(IPAMConfig={"IPv4Address": "10.7.0.9"}), networks={"app": described})
    other = {"IPAM": {"Config": [{"Subnet": "10.7.0.129/25"}]}}

    assert () == planned(one).lacks
    assert (
        "address 10.7.0.9 in network app: its subnet overlaps with network other here",
    ) == planned(one, Seen(networks={"other": other})).lacks


def test_a_volume_that_lies_elsewhere_lacks_its_backup_and_is_not_without_files() -> None:
    options = {"type": "cifs", "device": "//nas/share", "o": "username=a,password=secret"}
    described = {"data": {**VOLUME, "Options": options}}
    one = Ran(ran(host={"Binds": ["data:/data"]}).container, volumes=described)

    assert (
        "volume data at /data: no backup holds its files, which lie at //nas/share",
    ) == planned(one).lacks


@pytest.mark.parametrize(
    ("host", "right"),
    [
        ({"Privileged": True}, "privileged: it may do all that root may on the engine's host"),
        ({"CapAdd": ["SYS_ADMIN"]}, "capability SYS_ADMIN: added"),
        ({"NetworkMode": "host"}, "network of the host: shared"),
        ({"PidMode": "host"}, "processes of the host: shared"),
        ({"IpcMode": "host"}, "shared memory of the host: shared"),
        ({"UTSMode": "host"}, "host name of the host: shared"),
        ({"UsernsMode": "host"}, "users of the host: shared"),
        (
            {"Devices": [{"PathOnHost": "/dev/sda", "PathInContainer": "/dev/x"}]},
            "device /dev/sda of the host: given as /dev/x",
        ),
        ({"DeviceCgroupRules": ["b *:* rwm"]}, "devices of the host: b *:* rwm is allowed"),
        (
            {"DeviceRequests": [{"Driver": "nvidia", "Capabilities": [["gpu"]]}]},
            "devices of the host: nvidia gpu",
        ),
        ({"SecurityOpt": ["seccomp=unconfined"]}, "security option seccomp=unconfined"),
        ({"SecurityOpt": ["apparmor:unconfined"]}, "security option apparmor=unconfined"),
        ({"SecurityOpt": ["label=disable"]}, "security option label=disable"),
        ({"SecurityOpt": ['seccomp={"a":1}']}, "security option seccomp=a profile of its own"),
        (
            {"MaskedPaths": [], "ReadonlyPaths": []},
            "security option systempaths: it sees of /proc and /sys what others do not",
        ),
        (
            {
                "Mounts": [
                    {
                        "Type": "volume",
                        "Target": "/x",
                        "VolumeOptions": {"DriverConfig": {"Options": {"device": "/", "o": "s"}}},
                    }
                ]
            },
            "volume at /x: its files lie at /",
        ),
    ],
)
def test_what_reaches_the_engines_host_is_named(host: dict[str, Any], right: str) -> None:
    assert (right,) == planned(ran(host=host)).rights


def test_what_every_container_has_and_what_only_tightens_is_not_named() -> None:
    host = {
        "SecurityOpt": ["no-new-privileges"],
        "IpcMode": "private",
        "CapDrop": ["MKNOD"],
        "MaskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware", "/x"],
        "ReadonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    }

    assert () == planned(ran(host=host)).rights


def test_volumes_are_named_once_and_paths_are_none_of_them() -> None:
    one = ran(host={"Binds": ["data:/a", "data:/b", "/srv:/c"]})

    assert ["data"] == volumes_of(one)


def test_lenders_are_all_containers_that_it_leans_on() -> None:
    host = {"NetworkMode": "container:a", "PidMode": "container:b", "VolumesFrom": ["c:ro", "a"]}

    assert ["a", "b", "c"] == lenders_of(ran(host=host).container)


def test_a_trial_needs_nothing_but_the_engine() -> None:
    host = {"Binds": ["data:/data"], "NetworkMode": "container:db", "Memory": 7}
    body = planned(ran(host=host, config={"Volumes": {"/x": {}}}), Seen(volumes={"data"})).body
    trial = trial_of(body)

    assert {"Memory": 7, "NetworkMode": "none"} == {
        key: value for key, value in trial["HostConfig"].items() if value
    }
    assert not {"Volumes", "NetworkingConfig", "Image"} & trial.keys()


def test_options_that_an_engine_passed_over_are_named_and_never_shown() -> None:
    asked = {
        "Env": ["SECRET=x"],
        "Healthcheck": {"Test": ["CMD"], "StartInterval": 5},
        "HostConfig": {"Annotations": {"a": "b"}, "Memory": 7, "ConsoleSize": [0, 0], "Cap": None},
    }
    made = {"Config": {"Healthcheck": {"Test": ["CMD"]}}, "HostConfig": {"Memory": 0}}

    assert [
        "Env",
        "Healthcheck.StartInterval",
        "HostConfig.Annotations",
        "HostConfig.Memory",
    ] == passed_over(asked, made)
