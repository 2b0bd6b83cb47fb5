"""Containers: `docker export`, and beside it the record of all that an export loses."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

from backupd.container_body import lenders_of
from backupd.engine import Engine, Inspect, url_path
from backupd.engine_answers import NETWORK, VOLUME
from backupd.engine_link import EngineStream
from backupd.errors import NotFound
from backupd.layout import Kind
from backupd.manifest import Container, Mount
from backupd.policy import AS_IT_IS, Consistency
from backupd.sources import Check, Survey
from backupd.stop_order import PROJECT_LABEL, SERVICE_LABEL
from backupd.tar import TarWalk
from backupd.volume_access import HostMount

_OVERHEAD_BYTES = 64 << 20
"""Headers of many small files, and what a running container may add while it is read."""

_SHAPES = {"network": NETWORK, "volume": VOLUME}

_STILL = frozenset({"created", "exited", "dead"})
"""States in which no process can write, so that a pause or a stop would change nothing."""


@dataclass(frozen=True, slots=True)
class ContainerSource:
    """One container by its name."""

    name: str
    consistency: Consistency = AS_IT_IS
    needs: frozenset[str] = frozenset()
    apart: frozenset[str] = frozenset()
    """Volumes and directories of its mounts that the same job backs up."""
    kind = Kind.CONTAINER
    spools_first = False
    mount: ClassVar[HostMount | None] = None
    beside: ClassVar[frozenset[str]] = frozenset()

    def survey(self, engine: Engine) -> Survey:
        """Inspect of the container and of its image. Raises NotFound."""
        inspect = engine.inspect_container(self.name)
        image = engine.find_image(inspect["Image"])
        facts = container_facts(inspect, self.consistency)
        warnings = [
            f"{mount.type} {mount.source or 'mount'} at {mount.destination} is not in the export"
            for mount in facts.mounts
            if mount.source not in self.apart
        ]
        if image is None:
            warnings.append(
                f"its image {facts.image} is gone from the engine: SHELL, ONBUILD and the author "
                "cannot be recorded"
            )
        return Survey(
            size_bytes=int(inspect.get("SizeRootFs") or 0),
            overhead_bytes=_OVERHEAD_BYTES,
            container=facts,
            record=record_of(
                inspect, image, engine.version().architecture, surroundings(engine, inspect)
            ),
            warnings=tuple(warnings),
        )

    def open(self, engine: Engine, survey: Survey) -> EngineStream:
        """`docker export` by id, so that a new container of the same name is not mistaken."""
        assert survey.container is not None  # noqa: S101  # a container's survey always has one
        return engine.export(survey.container.id)

    def check(self, survey: Survey) -> Check:
        """That the tar is whole: engines end an export cleanly when a file shrank under them."""
        return TarWalk()


def container_facts(inspect: Inspect, consistency: Consistency) -> Container:
    """The manifest's part of one container, about to be read; nothing of it is secret."""
    labels = inspect["Config"].get("Labels") or {}
    return Container(
        id=inspect["Id"],
        name=inspect["Name"].lstrip("/"),
        image=inspect["Config"]["Image"],
        image_id=inspect["Image"],
        state=inspect["State"]["Status"],
        paused=consistency.pause and is_live(inspect),
        stopped=consistency.stop and is_live(inspect),
        mounts=tuple(
            Mount(
                type=mount.get("Type", ""),
                source=mount.get("Name") or mount.get("Source") or "",
                destination=mount.get("Destination", ""),
            )
            for mount in inspect.get("Mounts") or ()
        ),
        project=labels.get(PROJECT_LABEL, ""),
        service=labels.get(SERVICE_LABEL, ""),
    )


def is_live(inspect: Inspect) -> bool:
    """Whether processes of the container may be writing now."""
    state = inspect["State"]
    return state["Status"] not in _STILL and not state.get("Paused")


def surroundings(engine: Engine, container: Inspect) -> Inspect:
    """The networks, volumes and containers that this one needs to run again, as far as they are.

    `networks` and `volumes` are inspects by name; `lenders` are names by the id under which inspect
    tells of a container whose network or processes this one shares.
    """
    attached = (container.get("NetworkSettings") or {}).get("Networks") or {}
    networks = {name: _asked(engine, "network", name) for name in attached}
    for network in networks.values():
        # Who else is attached is no part of it, and names other people's addresses.
        network.pop("Containers", None)
    mounts = container.get("Mounts") or ()
    volumes = {
        mount["Name"]: _asked(engine, "volume", mount["Name"])
        for mount in mounts
        if mount.get("Type") == "volume" and mount.get("Name")
    }
    lenders = {lender: _name_of(engine, lender) for lender in lenders_of(container)}
    return {
        "networks": {name: found for name, found in networks.items() if found},
        "volumes": {name: found for name, found in volumes.items() if found},
        "lenders": {lender: name for lender, name in lenders.items() if name},
    }


def _asked(engine: Engine, kind: str, name: str) -> Inspect:
    """What the engine says of a network or volume; nothing for one that is gone by now."""
    try:
        path = f"/{kind}s/{url_path(name)}"
        found: Inspect = engine.ask(f"cannot inspect {kind} {name!r}", path, _SHAPES[kind])
    except NotFound:
        return {}
    return found


def _name_of(engine: Engine, container: str) -> str:
    try:
        return str(engine.inspect_state(container)["Name"]).lstrip("/")
    except NotFound:
        return ""


def record_of(
    container: Inspect, image: Inspect | None, machine: str, around: Inspect | None = None
) -> bytes:
    """The record of inspect: container and image as the engine tells them. May hold secrets.

    `machine` is the engine's own architecture, in the kernel's words, for a container whose image
    is gone; `around` is what `surroundings` found.
    """
    record: dict[str, Any] = {"schema": 1, "container": container, "image": image}
    record |= {"machine": machine, **(around or {})}
    return json.dumps(record, indent=1, sort_keys=True).encode() + b"\n"
