"""What a container looks like in its drill, or why it cannot be drilled; and when it has passed.

A drill must touch nothing but its own: the container gets a network without a way out, copies of
its volumes, and nothing of the host. One that cannot do without the host is not drilled at all,
since what came up without it would prove nothing. Pure: no clock, network or files.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from backupd.container_body import (
    Inspect,
    Mounted,
    Ran,
    body_of,
    endpoints_of,
    is_connected,
    keeping_empty,
    mounts_of,
)

_BORROWED = "container:"
_MODES = {
    "NetworkMode": "network",
    "PidMode": "processes",
    "IpcMode": "shared memory",
    "UTSMode": "host name",
    "UsernsMode": "users",
}
_POWERS = frozenset(
    {"ALL", "AUDIT_CONTROL", "BPF", "DAC_READ_SEARCH", "MAC_ADMIN", "MAC_OVERRIDE", "PERFMON"}
    | {"SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_MODULE", "SYS_RAWIO", "SYS_TIME"}
)
"""Capabilities (capabilities(7)) that reach beyond a container into the machine."""

_LOGS = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "1"}}
"""Built into every engine; the container's own driver would tell the real log server of a drill."""

_WITHOUT: Mapping[str, Any] = {
    "RestartPolicy": {"Name": "no"},
    "AutoRemove": False,
    "PortBindings": {},
    "PublishAllPorts": False,
    "Links": None,
    "CgroupParent": "",
    "CgroupnsMode": "",
    "VolumeDriver": "",
    "LogConfig": _LOGS,
}

_USUAL_INTERVAL = _USUAL_TIMEOUT = 30_000_000_000
_USUAL_RETRIES = 3
_SLACK_SECONDS = 30.0
LONGEST_HEALTH_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class Names:
    """What the things of one drill are called."""

    image: str
    network: str
    volumes: Mapping[str, str]
    """What the container had mounted (volume, or directory of the host) → its copy."""
    labels: Mapping[str, str]
    empty: Collection[str] = ()
    """Those of `volumes` in which there is no file."""


def refusals(ran: Ran, backed_up: Collection[str]) -> list[str]:
    """Why the container cannot be drilled, each a clause that goes on from "it"; none if it can.

    `backed_up` are the volumes, and directories of the host, of which there is a backup.
    """
    return [*_of_host(ran), *_of_devices(ran), *_of_mounts(ran, backed_up)]


def _of_host(ran: Ran) -> Iterator[str]:
    host = ran.host
    if host.get("Privileged"):
        yield "is privileged"
    for key, what in _MODES.items():
        mode = str(host.get(key) or "")
        if mode == "host":
            yield f"uses the {what} of the host"
        elif mode.startswith(_BORROWED):
            lender = mode.removeprefix(_BORROWED)
            yield f"uses the {what} of container {ran.lenders.get(lender, lender[:12])}"
    if [] in (host.get("ReadonlyPaths"), host.get("MaskedPaths")):
        yield "may write the kernel's settings (systempaths=unconfined)"
    for name in host.get("CapAdd") or ():
        if str(name).upper().removeprefix("CAP_") in _POWERS:
            yield f"has power over the whole machine ({name})"


def _of_devices(ran: Ran) -> Iterator[str]:
    host = ran.host
    for device in host.get("Devices") or ():
        yield f"uses device {device.get('PathOnHost')}"
    if host.get("DeviceRequests") or host.get("Runtime") == "nvidia":
        yield "asks for devices such as graphics cards"
    if host.get("DeviceCgroupRules"):
        yield "has rules for devices"


def _of_mounts(ran: Ran, backed_up: Collection[str]) -> Iterator[str]:
    told = set()
    for mount in mounts_of(ran):
        if mount.source in backed_up or mount.source in told:
            continue
        told.add(mount.source)
        if mount.is_volume:
            yield f"mounts volume {mount.source}, of which there is no backup"
        elif mount.source.endswith((".sock", ".socket")):
            yield f"mounts the host's socket {mount.source}"
        else:
            yield f"mounts {mount.source} of the host, of which there is no backup"
    for mount in ran.host.get("Mounts") or ():
        if mount.get("Type") not in ("volume", "bind", "tmpfs"):
            yield f"has a mount of type {mount.get('Type')}"


def body(ran: Ran, names: Names) -> dict[str, Any]:
    """The body of `POST /containers/create` for a container without `refusals`."""
    mounts = [_copied(mount, names) for mount in mounts_of(ran)]
    made = body_of(ran, names.image, mounts, _endpoint(ran, names.network))
    made.pop("MacAddress", None)
    made["Labels"] = dict(names.labels)
    made["HostConfig"] |= _WITHOUT
    return made


def _copied(mount: Mounted, names: Names) -> Mounted:
    """The mount of the copy, under the same path and as writable as it was."""
    copy = names.volumes[mount.source]
    if isinstance(mount.form, str):
        options = (*mount.form.split(":", 2), "", "")[2].split(",")
        read_only = "ro" in options
        no_copy = "nocopy" in options
    else:
        read_only = bool(mount.form.get("ReadOnly"))
        no_copy = bool((mount.form.get("VolumeOptions") or {}).get("NoCopy"))
    form: dict[str, Any] = {"Type": "volume", "Source": copy, "Target": mount.destination}
    if read_only:
        form["ReadOnly"] = True
    subpath = not isinstance(mount.form, str) and _subpath(mount.form)
    if subpath:
        form["VolumeOptions"] = {"Subpath": subpath}
    made = replace(mount, is_volume=True, source=copy, form=form)
    # An engine fills a volume without files from the image; what was a directory never was.
    stays = no_copy or not mount.is_volume or mount.source in names.empty
    return keeping_empty(made) if stays else made


def _subpath(form: Mapping[str, Any]) -> str:
    return str((form.get("VolumeOptions") or {}).get("Subpath") or "")


def _endpoint(ran: Ran, network: str) -> dict[str, dict[str, Any]]:
    """The one network, in which the container has every name that it had in any of its own."""
    if not is_connected(ran.mode):
        return {}
    aliases = [alias for each in endpoints_of(ran).values() for alias in each.get("Aliases") or ()]
    return {network: {"Aliases": list(dict.fromkeys([ran.name, *aliases]))}}


def network_body(ran: Ran, names: Names) -> dict[str, Any] | None:
    """The body of `POST /networks/create`; None for a container that has no network.

    Internal alone still leaves the host's own address on the bridge, by which whatever listens on
    the host, published ports included, would be reached (seen on engine 20.10).
    """
    if not is_connected(ran.mode):
        return None
    return {
        "Name": names.network,
        "Driver": "bridge",
        "Internal": True,
        "EnableIPv6": False,
        "Options": {"com.docker.network.bridge.inhibit_ipv4": "true"},
        "Labels": dict(names.labels),
    }


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a drill waits, and for what."""

    seconds: float
    """To be up, without a health check."""
    health_seconds: float
    """To become healthy, with one."""
    may_end: bool
    """Whether it may be what the container does to end with exit code 0."""


def patience(ran: Ran, seconds: float) -> Patience:
    """What is to be expected of the container, as it was when it was backed up."""
    config = ran.container.get("Config") or {}
    state = ran.container.get("State") or {}
    has_ended = state.get("Status") in ("exited", "created") and state.get("ExitCode") == 0
    return Patience(seconds, health_limit_seconds(config.get("Healthcheck") or {}), has_ended)


def health_limit_seconds(check: Inspect) -> float:
    """How long a health check may take to come to a verdict; its times are nanoseconds.

    Docker Engine API: the first look is one interval after the start, and a number of failures
    outside the start period makes it unhealthy.
    """
    interval = check.get("Interval") or _USUAL_INTERVAL
    timeout = check.get("Timeout") or _USUAL_TIMEOUT
    looks = (check.get("Retries") or _USUAL_RETRIES) + 1
    whole = (check.get("StartPeriod") or 0) + looks * (interval + timeout)
    return min(whole / 1e9 + _SLACK_SECONDS, LONGEST_HEALTH_SECONDS)


class Outlook(Enum):
    """How a container in its drill does."""

    OPEN = "open"
    PASSED = "passed"
    FAILED = "failed"


def health_of(state: Inspect) -> str:
    """`starting`, `healthy`, `unhealthy`; "" for a container without a health check."""
    found = (state.get("Health") or {}).get("Status") or "none"
    return "" if found == "none" else str(found)


def judged(state: Inspect, waited_seconds: float, patience: Patience) -> tuple[Outlook, str]:
    """What inspect's `State` means so long after the start, with the reason as a clause."""
    took = f"after {waited_seconds:.0f} s"
    if not state.get("Running"):
        code = state.get("ExitCode")
        if state.get("OOMKilled"):
            return Outlook.FAILED, f"it ran out of memory {took}"
        if code == 0 and patience.may_end:
            return Outlook.PASSED, f"ended with exit code 0 {took}"
        return Outlook.FAILED, f"it ended with exit code {code} {took}"
    health = health_of(state)
    if health == "healthy":
        return Outlook.PASSED, f"healthy {took}"
    if health == "unhealthy":
        return Outlook.FAILED, f"its health check failed: unhealthy {took}"
    if health:
        if waited_seconds > patience.health_seconds:
            return Outlook.FAILED, f"its health check came to no end {took}"
        return Outlook.OPEN, ""
    if waited_seconds >= patience.seconds:
        return Outlook.PASSED, f"still running {took}"
    return Outlook.OPEN, ""
