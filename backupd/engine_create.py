"""Containers and networks made and removed again: the engine's answers to that, and no decisions.

Volumes are made by `backupd.volume_access`, images by loading them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backupd.engine import Engine, Inspect, url_path
from backupd.engine_answers import INFO, MADE, NETWORK, NETWORKS


def networks(engine: Engine) -> list[Inspect]:
    """A summary of every network; who is attached to them is not in it."""
    found: list[Inspect] = engine.ask("cannot list networks", "/networks", NETWORKS)
    return found


def inspect_network(engine: Engine, name: str) -> Inspect:
    """Inspect's answer, with the containers that are attached. Raises NotFound."""
    what = f"cannot inspect network {name!r}"
    found: Inspect = engine.ask(what, f"/networks/{url_path(name)}", NETWORK)
    return found


def make_network(engine: Engine, body: Mapping[str, Any]) -> None:
    """Make a network. Raises EngineError, also where its addresses are in use on the host."""
    engine.tell(f"cannot make network {body['Name']!r}", "/networks/create", body)


def remove_network(engine: Engine, name: str) -> None:
    """Remove a network that no container uses. Raises NotFound, EngineError."""
    engine.remove(f"cannot remove network {name!r}", f"/networks/{url_path(name)}")


def connect(engine: Engine, network: str, container: str, endpoint: Mapping[str, Any]) -> None:
    """Connect a container, running or not, to one more network."""
    body = {"Container": container, "EndpointConfig": dict(endpoint)}
    what = f"cannot connect container {container!r} to network {network!r}"
    engine.tell(what, f"/networks/{url_path(network)}/connect", body)


def make_container(engine: Engine, name: str, body: Mapping[str, Any]) -> list[str]:
    """Make a container and do not start it; what the engine warns of. Raises EngineError."""
    what = f"cannot make container {name!r}"
    made = engine.tell(what, "/containers/create", body, MADE, name=name)
    return [str(warning) for warning in made.get("Warnings") or ()]


def remove_container(engine: Engine, name: str) -> None:
    """Remove a container, even a running one, with the volumes that it got no name for."""
    what = f"cannot remove container {name!r}"
    engine.remove(what, f"/containers/{url_path(name)}", force="1", v="1")


def info(engine: Engine) -> Inspect:
    """What the engine says of itself: its drivers and runtimes among the rest."""
    found: Inspect = engine.ask("cannot ask the engine what it can do", "/info", INFO)
    return found
