"""The networks of a container: can they be had on an engine, and what is asked for to make one.

Works on inspects alone. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from backupd.container_body import Inspect, Ran

ALWAYS_THERE = frozenset({"bridge", "host", "none", "default"})
"""Networks that an engine has by itself, or not at all."""

_OF_NETWORK = ("Driver", "Internal", "Attachable", "Ingress", "EnableIPv4", "EnableIPv6")
_OF_POOL = ("Subnet", "IPRange", "Gateway", "AuxiliaryAddresses")


def no_network(
    name: str,
    ran: Ran,
    networks: Mapping[str, Inspect],
    drivers: Mapping[str, Collection[str]],
) -> str:
    """Why there cannot be such a network; "" where there can."""
    if name in networks:
        return ""
    if name in ALWAYS_THERE:
        return "this engine was started without it"
    described = ran.networks.get(name)
    if described is None:
        return "it is not here, and the backup's record does not describe it"
    driver = str(described.get("Driver") or "bridge")
    if driver not in drivers.get("Network", [driver]):
        return f"this engine has no driver {driver}"
    if described.get("Scope") == "swarm":
        return "it is a swarm's, which has to make it first"
    source = (described.get("ConfigFrom") or {}).get("Network")
    if source and source not in networks:
        return f"its configuration is network {source}'s, which is not here"
    return ""


def no_address(address: str, name: str, ran: Ran, networks: Mapping[str, Inspect]) -> str:
    """Why the container cannot have this address in the network; "" where it can."""
    existing = networks.get(name)
    network = existing or ran.networks.get(name, {})
    if not any(ip_address(address) in subnet for subnet in _subnets(network)):
        return "it is outside of the network that is here"
    if existing is None:
        other = overlapping(network, networks)
        return f"its subnet overlaps with network {other} here" if other else ""
    for each in (existing.get("Containers") or {}).values():
        taken = {str(each.get(key)).partition("/")[0] for key in ("IPv4Address", "IPv6Address")}
        if address in taken:
            return f"container {each.get('Name')} has it"
    return ""


def _subnets(network: Inspect) -> list[IPv4Network | IPv6Network]:
    """Its subnets; engines take, and tell, one with bits of a host too (`10.7.0.1/24`, 20.10)."""
    pools = (network.get("IPAM") or {}).get("Config") or ()
    return [ip_network(str(pool["Subnet"]), strict=False) for pool in pools if pool.get("Subnet")]


def overlapping(network: Inspect, networks: Mapping[str, Inspect]) -> str:
    """The network of the engine that this one's addresses are in use by already; "" for none."""
    for mine in _subnets(network):
        for name, other in networks.items():
            for theirs in _subnets(other):
                if mine.version == theirs.version and mine.overlaps(theirs):
                    return name
    return ""


def network_body(described: Inspect, *, with_pools: bool) -> dict[str, Any]:
    """The body of `POST /networks/create`, with its own subnets or such as the engine chooses."""
    name = str(described["Name"])
    body = {key: described[key] for key in _OF_NETWORK if key in described}
    body |= {"Name": name, "CheckDuplicate": True, "Labels": described.get("Labels") or {}}
    source = (described.get("ConfigFrom") or {}).get("Network")
    if source:
        return {**body, "ConfigFrom": {"Network": source}}
    ipam = described.get("IPAM") or {}
    pools = [
        {key: pool[key] for key in _OF_POOL if pool.get(key)} for pool in ipam.get("Config") or ()
    ]
    if not with_pools:
        pools = []
    body["IPAM"] = {"Driver": ipam.get("Driver"), "Options": ipam.get("Options"), "Config": pools}
    body["Options"] = described.get("Options") or {}
    return body
