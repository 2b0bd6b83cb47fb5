"""What has to be made, in which form, to bring a container back on an engine; and what cannot be.

Decides only: the record and what the engine has go in, a plan comes out. Everything that cannot be
given back is in `lacks`, and is left out of the rest of the plan, which is so the plan of a best
effort too. Pure: no clock, no network, no files.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from backupd.container_body import (
    Inspect,
    Mounted,
    Ran,
    body_of,
    endpoints_of,
    first_network,
    keeping_empty,
    lenders_of,
    links_of,
    mounts_of,
)
from backupd.container_networks import (
    ALWAYS_THERE,
    network_body,
    no_address,
    no_network,
    overlapping,
)
from backupd.container_rights import device_of, rights_of

_FILLED = "; make it, and `backupd restore volume {}` brings its files back"


@dataclass(frozen=True, slots=True)
class Seen:
    """What the engine has."""

    networks: Mapping[str, Inspect] = field(default_factory=dict)
    """By name; those that a container is to join with who is attached to them."""
    volumes: Collection[str] = ()
    containers: Mapping[str, str] = field(default_factory=dict)
    """Name → id; those that are made together with this one are among them."""
    absent: Collection[str] = ()
    """Which of the container's paths are not on the engine's host."""
    drivers: Mapping[str, Collection[str]] = field(default_factory=dict)
    """Of `Log`, `Network` and `Volume`; one that is missing here is not looked at."""
    runtimes: Collection[str] = ()
    wants_endpoint_mac: bool = False
    """Whether a MAC address is the endpoint's alone, as from API 1.44 on."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How one container comes back."""

    name: str
    body: Mapping[str, Any]
    """Of `POST /containers/create`."""
    connections: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    """Further networks to connect it to, each with the endpoint's settings."""
    networks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Those to make before, by name: bodies of `POST /networks/create`."""
    volumes: tuple[str, ...] = ()
    """Those to restore before."""
    empty_volumes: Mapping[str, Inspect] = field(default_factory=dict)
    """Those to make without files for want of a backup: a lack of each is told. One whose options
    name a device has the files that lie there."""
    paths: tuple[tuple[str, str], ...] = ()
    """Paths of the host that it gets, and where it has them."""
    rights: tuple[str, ...] = ()
    """What else it gets that reaches the engine's host."""
    lacks: tuple[str, ...] = ()
    """What cannot be given back, each with the reason."""
    notes: tuple[str, ...] = ()
    """What is used as it is."""

    def lacking(self, lacks: Iterable[str]) -> Plan:
        """The same plan with more that cannot be given back."""
        return replace(self, lacks=(*self.lacks, *lacks))


def host_paths(ran: Ran) -> list[str]:
    """The paths that have to be on the engine's host: directories, sockets and devices."""
    binds = [mount.source for mount in mounts_of(ran) if not mount.is_volume]
    devices = [str(device["PathOnHost"]) for device in ran.host.get("Devices") or ()]
    return list(dict.fromkeys([*binds, *devices]))


def volumes_of(ran: Ran) -> list[str]:
    """Names of the volumes that it mounts."""
    return list(dict.fromkeys(mount.source for mount in mounts_of(ran) if mount.is_volume))


def plan(
    ran: Ran,
    seen: Seen,
    *,
    name: str,
    image: str,
    backed_up: Collection[str],
    empty: Collection[str] = (),
) -> Plan:
    """How the container comes back as `name` from `image` on the engine that was `seen`.

    `backed_up` are the volumes and paths of which there is a backup, `empty` the volumes among
    them without files.
    """
    told = _Told()
    mounts = _mounts(ran, seen, backed_up, empty, told)
    endpoints = _endpoints(ran, seen, told)
    body = body_of(ran, image, mounts.kept, endpoints)
    body["HostConfig"] |= _granted(ran, seen, told)
    first = first_network(ran, endpoints)
    if first and seen.wants_endpoint_mac:
        body.pop("MacAddress", None)
    return Plan(
        name,
        body,
        connections=tuple((other, endpoints[other]) for other in endpoints if other != first),
        networks={
            other: _network(other, ran, seen, told)
            for other in endpoints
            if other not in seen.networks
        },
        volumes=tuple(mounts.restored),
        empty_volumes=mounts.made_empty,
        paths=tuple((one.source, one.destination) for one in mounts.kept if not one.is_volume),
        rights=tuple(rights_of(body["HostConfig"])),
        lacks=tuple(told.lacks),
        notes=tuple(dict.fromkeys(told.notes)),
    )


@dataclass
class _Told:
    lacks: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class _Mounts:
    kept: list[Mounted] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)
    made_empty: dict[str, Inspect] = field(default_factory=dict)


def _mounts(
    ran: Ran, seen: Seen, backed_up: Collection[str], empty: Collection[str], told: _Told
) -> _Mounts:
    found = _Mounts()
    for mount in mounts_of(ran):
        if not mount.is_volume:
            if mount.source in seen.absent:
                told.lacks.append(
                    f"{mount.source} at {mount.destination}: no such path on the engine's host"
                    + (_FILLED.format(mount.source) if mount.source in backed_up else "")
                )
                continue
        elif not _volume(mount, ran, seen, backed_up, found, told):
            continue
        is_to_stay_empty = mount.is_volume and mount.source in empty
        found.kept.append(keeping_empty(mount) if is_to_stay_empty else mount)
    return found


def _volume(
    mount: Mounted,
    ran: Ran,
    seen: Seen,
    backed_up: Collection[str],
    found: _Mounts,
    told: _Told,
) -> bool:
    """Whether there will be such a volume."""
    name = mount.source
    described = ran.volumes.get(name, {})
    driver = str(described.get("Driver") or "local")
    if name in seen.volumes:
        told.notes.append(f"volume {name} is there and used as it is")
    elif driver not in seen.drivers.get("Volume", [driver]):
        told.lacks.append(f"volume {name} at {mount.destination}: no driver {driver} here")
        return False
    elif name in backed_up:
        if name not in found.restored:
            found.restored.append(name)
    elif name not in found.made_empty:
        device = device_of(described)
        told.lacks.append(
            f"volume {name} at {mount.destination}: no backup holds its files"
            + (f", which lie at {device}" if device else "")
        )
        found.made_empty[name] = described
    return True


def _endpoints(ran: Ran, seen: Seen, told: _Told) -> dict[str, dict[str, Any]]:
    """The connections that can be made again, fixed addresses only where they can be had."""
    kept: dict[str, dict[str, Any]] = {}
    for name, endpoint in endpoints_of(ran).items():
        reason = no_network(name, ran, seen.networks, seen.drivers)
        if reason:
            told.lacks.append(f"network {name}: {reason}")
            continue
        if name in ALWAYS_THERE:
            endpoint.pop("Aliases", None)
        elif name in seen.networks:
            told.notes.append(f"network {name} is there and used as it is")
        addresses = [
            str(value) for key, value in endpoint.get("IPAMConfig", {}).items() if "IPv" in key
        ]
        unreachable = [one for one in addresses if no_address(one, name, ran, seen.networks)]
        if unreachable:
            reason = no_address(unreachable[0], name, ran, seen.networks)
            told.lacks.append(f"address {unreachable[0]} in network {name}: {reason}")
            del endpoint["IPAMConfig"]
        kept[name] = endpoint
    return kept


def _network(name: str, ran: Ran, seen: Seen, told: _Told) -> dict[str, Any]:
    """The body of `POST /networks/create`; with another subnet where its own is taken."""
    other = overlapping(ran.networks[name], seen.networks)
    if other:
        told.notes.append(
            f"network {name} gets another subnet: network {other} here has its addresses"
        )
    return network_body(ran.networks[name], with_pools=not other)


def _granted(ran: Ran, seen: Seen, told: _Told) -> dict[str, Any]:
    """What of `HostConfig` has to change for want of devices, drivers or other containers."""
    host, changed = ran.host, dict[str, Any]()
    devices = host.get("Devices") or []
    gone = [one for one in devices if one["PathOnHost"] in seen.absent]
    if gone:
        told.lacks += [f"device {one['PathOnHost']}: not on the engine's host" for one in gone]
        changed["Devices"] = [one for one in devices if one not in gone]
    log = str((host.get("LogConfig") or {}).get("Type") or "")
    if log not in ("", "none") and log not in seen.drivers.get("Log", [log]):
        told.lacks.append(f"log driver {log}: this engine has none of that name")
        changed["LogConfig"] = {}
    runtime = str(host.get("Runtime") or "")
    if runtime and seen.runtimes and runtime not in seen.runtimes:
        told.lacks.append(f"runtime {runtime}: this engine has none of that name")
        changed["Runtime"] = ""
    return changed | _borrowed(ran, seen, told)


def _borrowed(ran: Ran, seen: Seen, told: _Told) -> dict[str, Any]:
    """What changes because a container that this one leans on is not there."""
    changed: dict[str, Any] = {}
    there = {*seen.containers, *seen.containers.values()}
    sources = {str(text).partition(":")[0] for text in ran.host.get("VolumesFrom") or ()}
    for lender in lenders_of(ran.container):
        name = ran.lenders.get(lender, lender)
        if name in there or lender in sources:
            continue
        told.lacks.append(f"what it shares with container {name}: that container is not here")
        for key, instead in (("NetworkMode", "none"), ("IpcMode", ""), ("PidMode", "")):
            if ran.host.get(key) == f"container:{lender}":
                changed[key] = instead
    links = {link: link.partition(":")[0] for link in links_of(ran)}
    for name in dict.fromkeys(links.values()):
        if name not in there:
            told.lacks.append(f"link to container {name}: that container is not here")
            changed["Links"] = [link for link, other in links.items() if other in there] or None
    return changed
