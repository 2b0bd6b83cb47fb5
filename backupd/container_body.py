"""From what inspect told of a container to what the engine takes to make it again. Pure.

`GET /containers/{id}/json` and `POST /containers/create` (Docker Engine API 1.41 to 1.48) use the
same words for nearly everything, so all is handed back as it was found, known or not; only what
means something else on the way in is rewritten here. Whether an engine can do it is decided in
`backupd.container_plan`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Inspect = Mapping[str, Any]

_BORROWED = "container:"
_SHORT_ID = 12
"""Digits of a container's id that an engine takes as its host name, and as an alias of it."""

_NO_NETWORKS = ("none", "host", _BORROWED)
"""How modes begin in which a container has no connection of its own."""

_IN_MODES = ("NetworkMode", "IpcMode", "PidMode")


@dataclass(frozen=True, slots=True)
class Ran:
    """A container as it ran, with what stood around it, as its record tells."""

    container: Inspect
    networks: Mapping[str, Inspect] = field(default_factory=dict)
    """Inspects of its networks, by name."""
    volumes: Mapping[str, Inspect] = field(default_factory=dict)
    """Inspects of its volumes, by name."""
    lenders: Mapping[str, str] = field(default_factory=dict)
    """Names of the containers that it borrowed something from, by id."""

    @property
    def name(self) -> str:
        """The container's name."""
        return str(self.container["Name"]).lstrip("/")

    @property
    def host(self) -> dict[str, Any]:
        """Its `HostConfig`: all that is the engine's to give."""
        return dict(self.container.get("HostConfig") or {})

    @property
    def mode(self) -> str:
        """Its network mode."""
        return str(self.host.get("NetworkMode") or "default")


@dataclass(frozen=True, slots=True)
class Mounted:
    """One volume or directory of the host inside a container, and how to ask for it again."""

    is_volume: bool
    source: str
    """The volume's name, or the path on the host."""
    destination: str
    form: str | Mapping[str, Any]
    """An entry of `Binds` where it is a text, else one of `Mounts`."""


def lenders_of(container: Inspect) -> list[str]:
    """Ids or names of the containers that this one borrows a network, processes or volumes from."""
    host = container.get("HostConfig") or {}
    modes = [str(host.get(key) or "") for key in _IN_MODES]
    found = [mode.removeprefix(_BORROWED) for mode in modes if mode.startswith(_BORROWED)]
    found += [str(lender).partition(":")[0] for lender in host.get("VolumesFrom") or ()]
    return list(dict.fromkeys(found))


def is_connected(mode: str) -> bool:
    """Whether a container in this network mode has connections of its own."""
    return not mode.startswith(_NO_NETWORKS)


def mounts_of(ran: Ran) -> list[Mounted]:
    """Every volume and directory of the host, those without a name of their own included.

    What the container got from `VOLUME` or `--volumes-from` is asked for by what it was, so that
    it is the same volume again and not a new one.
    """
    found = {_slashless(each["Destination"]): each for each in ran.container.get("Mounts") or ()}
    mounts = list(_asked_for(ran, found))
    covered = {_slashless(mount.destination) for mount in mounts}
    for destination, each in found.items():
        is_volume = each.get("Type") == "volume"
        if destination in covered or each.get("Type") not in ("volume", "bind"):
            continue
        source = str(each.get("Name") if is_volume else each.get("Source"))
        form = {"Type": each["Type"], "Source": source, "Target": each["Destination"]}
        if not each.get("RW", True):
            form["ReadOnly"] = True
        mounts.append(Mounted(is_volume, source, each["Destination"], form))
    return mounts


def _asked_for(ran: Ran, found: Mapping[str, Inspect]) -> Iterator[Mounted]:
    for text in ran.host.get("Binds") or ():
        source, destination = (*text.split(":", 2), "")[:2]
        yield Mounted(not source.startswith("/"), source, destination, text)
    for mount in ran.host.get("Mounts") or ():
        target = str(mount.get("Target") or mount.get("Destination"))
        source = str(mount.get("Source") or "")
        if mount.get("Type") == "volume" and not source:
            source = str(found.get(_slashless(target), {}).get("Name") or "")
            mount = {**mount, "Source": source}
        if mount.get("Type") in ("volume", "bind"):
            yield Mounted(mount["Type"] == "volume", source, target, mount)


def _slashless(path: str) -> str:
    return path.rstrip("/") or "/"


def keeping_empty(mount: Mounted) -> Mounted:
    """The mount of a volume that is to stay empty: engines fill one from the image's own files."""
    form = mount.form
    if isinstance(form, str):
        options = (*form.split(":", 2), "", "")[2]
        kept = [*(option for option in options.split(",") if option), "nocopy"]
        form = ":".join((mount.source, mount.destination, ",".join(dict.fromkeys(kept))))
    else:
        form = {**form, "VolumeOptions": {**(form.get("VolumeOptions") or {}), "NoCopy": True}}
    return Mounted(mount.is_volume, mount.source, mount.destination, form)


def endpoints_of(ran: Ran) -> dict[str, dict[str, Any]]:
    """Network → how the container was connected to it; aliases and fixed addresses, none that the
    engine had chosen itself."""
    if not is_connected(ran.mode):
        return {}
    found = (ran.container.get("NetworkSettings") or {}).get("Networks") or {}
    # Old engines list what every container answers to among its aliases (seen on 20.10).
    host_name = (ran.container.get("Config") or {}).get("Hostname")
    own = {str(ran.container["Id"])[:_SHORT_ID], host_name}
    return {name: _endpoint(each or {}, own) for name, each in found.items()}


def _endpoint(found: Inspect, own: Collection[str | None]) -> dict[str, Any]:
    endpoint = {
        "IPAMConfig": {
            key: value for key, value in (found.get("IPAMConfig") or {}).items() if value
        },
        "Links": found.get("Links"),
        "Aliases": [alias for alias in found.get("Aliases") or () if alias not in own],
        "DriverOpts": found.get("DriverOpts"),
        "GwPriority": found.get("GwPriority"),
    }
    return {key: value for key, value in endpoint.items() if value}


def first_network(ran: Ran, endpoints: Mapping[str, object]) -> str:
    """The network that the container is made in: its mode's, else any; "" for none."""
    attached = (ran.container.get("NetworkSettings") or {}).get("Networks") or {}
    by_id = {str((each or {}).get("NetworkID")): name for name, each in attached.items()}
    named = "bridge" if ran.mode == "default" else by_id.get(ran.mode, ran.mode)
    return named if named in endpoints else next(iter(sorted(endpoints)), "")


def body_of(
    ran: Ran, image: str, mounts: Sequence[Mounted], endpoints: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The body of `POST /containers/create`, connected to the first of the networks alone.

    Engines before API 1.44 take only one network there; the others are connected afterwards.
    """
    config = {**(ran.container.get("Config") or {}), "Image": image}
    # Null would mean the image's entry point; a container that had none has none again.
    config["Entrypoint"] = config.get("Entrypoint") or []
    borrows_network = ran.mode.startswith(_BORROWED)
    host_name = config.get("Hostname")
    if host_name == ran.container["Id"][:_SHORT_ID] or ran.host.get("UTSMode") == "host":
        del config["Hostname"]
    if borrows_network:
        # Inspect tells them as the lender's or the image's; asked for, they are refused.
        for key in ("Hostname", "Domainname", "ExposedPorts", "MacAddress"):
            config.pop(key, None)
    config["HostConfig"] = _host_config(ran, mounts)
    first = first_network(ran, endpoints)
    if is_connected(ran.mode):
        config["HostConfig"]["NetworkMode"] = _mode(ran, first)
    if first:
        endpoint = dict(endpoints[first])
        if config.get("MacAddress"):
            # API 1.44 wants it here and warns of the other, which older ones alone know.
            endpoint["MacAddress"] = config["MacAddress"]
        config["NetworkingConfig"] = {"EndpointsConfig": {first: endpoint}}
    return config


def _mode(ran: Ran, first: str) -> str:
    if not first:
        return "none"
    return ran.mode if ran.mode == "default" and first == "bridge" else first


def _host_config(ran: Ran, mounts: Sequence[Mounted]) -> dict[str, Any]:
    host = ran.host
    host.pop("ContainerIDFile", None)
    host["Binds"] = [mount.form for mount in mounts if isinstance(mount.form, str)] or None
    others = [m for m in host.get("Mounts") or () if m.get("Type") not in ("volume", "bind")]
    host["Mounts"] = [*others, *(m.form for m in mounts if not isinstance(m.form, str))]
    # Their mounts stand among the container's own.
    host["VolumesFrom"] = None
    host["Links"] = links_of(ran) or None
    for key in _IN_MODES:
        mode = str(host.get(key) or "")
        lender = mode.removeprefix(_BORROWED)
        if mode.startswith(_BORROWED) and lender in ran.lenders:
            host[key] = _BORROWED + ran.lenders[lender]
    return host


def links_of(ran: Ran) -> list[str]:
    """Links of the old kind as they are asked for: `db:alias`, not inspect's `/db:/web/alias`."""
    parts = [text.partition(":") for text in ran.host.get("Links") or ()]
    return [f"{lender.lstrip('/')}:{alias.rpartition('/')[2]}" for lender, _, alias in parts]


_NOT_ON_TRIAL = ("Binds", "Mounts", "Links", "IpcMode", "PidMode", "NetworkMode", "AutoRemove")


def trial_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """The same, for an empty image and with nothing that another thing on the engine is needed for.

    An engine that makes a container of it knows its options, and shows which it passed over.
    """
    left_out = ("NetworkingConfig", "Volumes", "MacAddress", "Image")
    trial = {key: value for key, value in body.items() if key not in left_out}
    host = {key: value for key, value in body["HostConfig"].items() if key not in _NOT_ON_TRIAL}
    return {**trial, "HostConfig": {**host, "NetworkMode": "none"}}


def passed_over(asked: Mapping[str, Any], made: Inspect) -> list[str]:
    """Names of the options that an engine did not take, such as `HostConfig.Annotations`."""
    host = asked["HostConfig"]
    config = {key: value for key, value in asked.items() if key != "HostConfig"}
    lost = [f"HostConfig.{path}" for path in _lost(host, made.get("HostConfig") or {}, "")]
    return [*_lost(config, made.get("Config") or {}, ""), *lost]


def _lost(asked: Mapping[str, Any], found: Mapping[str, Any], above: str) -> Iterator[str]:
    for key, value in asked.items():
        if not value or key in ("NetworkMode", "Labels"):
            continue
        if isinstance(value, Mapping) and isinstance(found.get(key), Mapping):
            yield from _lost(value, found[key], f"{above}{key}.")
        elif value != found.get(key) and not _is_nothing(value):
            yield f"{above}{key}"


def _is_nothing(value: object) -> bool:
    """Whether it only says that nothing was asked for, as `ConsoleSize` does with two zeros."""
    return isinstance(value, Sequence) and not isinstance(value, str) and not any(value)
