"""What a container is given beyond its own walls, in words for whoever reads a plan. Pure.

A record may be forged by whoever can write to the store, so all of this is named before anything is
made. Options that may hold a secret are never shown.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from backupd.container_body import Inspect

_SHARED = {
    "NetworkMode": "network",
    "PidMode": "processes",
    "IpcMode": "shared memory",
    "UTSMode": "host name",
    "UsernsMode": "users",
}
_HIDDEN = {
    "MaskedPaths": frozenset({"/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"}),
    "ReadonlyPaths": frozenset({"/proc/bus", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}),
}
"""Some of what every engine keeps from a container (20.10 to 28); the command line turns
`systempaths=unconfined` into two empty lists, and null stands for the engine's own."""


_OF_HOST = (
    *("AutoRemove", "Binds", "CapAdd", "CgroupParent", "CgroupnsMode", "DeviceCgroupRules"),
    *("DeviceRequests", "Devices", "GroupAdd", "IpcMode", "Links", "LogConfig", "MaskedPaths"),
    *("Mounts", "NetworkMode", "PidMode", "PortBindings", "Privileged", "PublishAllPorts"),
    *("ReadonlyPaths", "RestartPolicy", "Runtime", "SecurityOpt", "UTSMode", "UsernsMode"),
    *("VolumeDriver", "VolumesFrom"),
)
"""The fields of a `HostConfig` that a plan or a drill looks at, or sets."""

_OF_CONFIG = (
    *("Domainname", "Entrypoint", "ExposedPorts", "Hostname", "Image", "Labels", "MacAddress"),
    *("NetworkDisabled", "Volumes"),
)
_OF_MOUNT = ("Type", "Source", "Target", "ReadOnly", "BindOptions", "VolumeOptions")
_OF_VOLUME = ("NoCopy", "Subpath", "DriverConfig")
_OF_DRIVER = ("Name", "Options")
_OF_DEVICE = ("PathOnHost", "PathInContainer", "CgroupPermissions")
_OF_REQUEST = ("Driver", "Count", "DeviceIDs", "Capabilities", "Options")
_BESIDE_CONFIG = frozenset({"hostconfig", "networkingconfig"})
"""What stands beside a config's own fields in what an engine is asked for, and never among them."""


def disguised(container: Inspect) -> list[str]:
    """Keys that an engine would take for fields of another spelling, or of another place.

    Go reads JSON's keys whatever their case (encoding/json), so such a key would say what no plan
    tells; no engine writes them so.
    """
    config, host = container.get("Config") or {}, container.get("HostConfig") or {}
    found = [key for key in config if key.casefold() in _BESIDE_CONFIG]
    found += [*_misspelled(config, _OF_CONFIG), *_misspelled(host, _OF_HOST)]
    for mount in host.get("Mounts") or ():
        volume = mount.get("VolumeOptions") or {}
        found += [*_misspelled(mount, _OF_MOUNT), *_misspelled(volume, _OF_VOLUME)]
        found += _misspelled(volume.get("DriverConfig") or {}, _OF_DRIVER)
    for device in host.get("Devices") or ():
        found += _misspelled(device, _OF_DEVICE)
    for request in host.get("DeviceRequests") or ():
        found += _misspelled(request, _OF_REQUEST)
    return found


def _misspelled(told: Inspect, fields: Collection[str]) -> list[str]:
    right = {name.casefold(): name for name in fields}
    return [key for key in told if right.get(key.casefold(), key) != key]


def device_of(described: Inspect) -> str:
    """The path or address at which a volume's files lie by its options; "" for the engine's own,
    and for memory.

    Other options may hold a password, this one does not.
    """
    options = described.get("Options") or {}
    device = str(options.get("device") or "")
    return "" if (device, options.get("type")) == ("tmpfs", "tmpfs") else device


def rights_of(host: Mapping[str, Any]) -> list[str]:
    """What a `HostConfig` gives that reaches the engine's host, a line for each; no paths."""
    return [*_privileges(host), *_devices(host), *_unconfined(host)]


def _privileges(host: Mapping[str, Any]) -> Iterator[str]:
    if host.get("Privileged"):
        yield "privileged: it may do all that root may on the engine's host"
    for capability in _texts(host, "CapAdd"):
        yield f"capability {capability}: added"
    for key, what in _SHARED.items():
        if host.get(key) == "host":
            yield f"{what} of the host: shared"


def _devices(host: Mapping[str, Any]) -> Iterator[str]:
    for device in host.get("Devices") or ():
        path, place = device["PathOnHost"], device.get("PathInContainer") or device["PathOnHost"]
        yield f"device {path} of the host: given as {place}"
    for rule in _texts(host, "DeviceCgroupRules"):
        yield f"devices of the host: {rule} is allowed"
    for request in host.get("DeviceRequests") or ():
        kinds = [kind for kinds in request.get("Capabilities") or () for kind in kinds]
        asked = " ".join(filter(None, (str(request.get("Driver") or ""), *map(str, kinds))))
        yield f"devices of the host: {asked or 'such as a driver chooses'}"
    for mount in host.get("Mounts") or ():
        driver = (mount.get("VolumeOptions") or {}).get("DriverConfig") or {}
        device = device_of(driver)
        if device:
            yield f"volume at {mount.get('Target')}: its files lie at {device}"


def _unconfined(host: Mapping[str, Any]) -> Iterator[str]:
    for option in _texts(host, "SecurityOpt"):
        # Engines take the old `seccomp:unconfined` as well.
        name, _, value = option.replace(":", "=", 1).partition("=")
        if name == "no-new-privileges" or (name, value) == ("seccomp", "builtin"):
            continue
        shown = "a profile of its own" if value.startswith("{") else value
        yield f"security option {name}={shown}"
    if any(_shows(host.get(key), paths) for key, paths in _HIDDEN.items()):
        yield "security option systempaths: it sees of /proc and /sys what others do not"


def _shows(listed: Collection[str] | None, paths: Collection[str]) -> bool:
    return listed is not None and not set(paths) <= set(listed)


def _texts(host: Mapping[str, Any], key: str) -> list[str]:
    return [str(each) for each in host.get(key) or ()]
