"""In which order containers are stopped, and which of them are down together. Pure.

What depends on a container stops before it and starts after it. Dependencies are known from
Compose's labels, from a network that a container borrows from another, and from the policy's
`stop_order`. Containers that share a volume which is to be read are linked too. All that are
linked are one group: all of it is stopped, all of it is read,
then it is started in reverse. Everything else is stopped by itself, for as short as possible.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
DEPENDS_ON_LABEL = "com.docker.compose.depends_on"
"""Labels that Compose puts on each container; the last as `db:service_started:false,cache`."""

_BORROWED = "container:"
"""How a network mode begins that is another container's; its id or name follows."""


@dataclass(frozen=True, slots=True)
class Stopping:
    """One container that is to be stopped."""

    name: str
    stop_order: int = 0
    """Those with a number are one group, the lowest stopped first; 0 is no number."""
    needs: frozenset[str] = frozenset()
    """Names of containers that it cannot do without."""
    shares: frozenset[str] = frozenset()
    """Names of the volumes that are read while it is down."""


def groups(containers: Iterable[Stopping]) -> list[list[str]]:
    """The containers' names in groups, each in the order in which to stop it.

    Groups stand where their first member stood. Where numbers contradict dependencies the numbers
    win, and a circle of dependencies is cut at its lowest number, else at its first member.
    """
    members = {container.name: container for container in containers}
    found: list[list[str]] = []
    placed: set[str] = set()
    for name in members:
        if name not in placed:
            group = [other for other in members if other in _linked(name, members)]
            placed.update(group)
            found.append(_ordered([members[other] for other in group]))
    return found


def _linked(start: str, members: Mapping[str, Stopping]) -> set[str]:
    """All that `start` must be down together with, itself included."""
    reached, ahead = {start}, [start]
    while ahead:
        here = members[ahead.pop()]
        for other in members.values():
            numbered = bool(here.stop_order and other.stop_order)
            needed = other.name in here.needs or here.name in other.needs
            if numbered or needed or here.shares & other.shares:
                if other.name not in reached:
                    ahead.append(other.name)
                reached.add(other.name)
    return reached


def _ordered(group: Sequence[Stopping]) -> list[str]:
    """Every container before those that it needs, as far as that is possible."""
    left = list(group)
    order: list[str] = []
    while left:
        free = [one for one in left if not any(_goes_first(other, one) for other in left)]
        chosen = min(free or left, key=lambda one: one.stop_order)
        left.remove(chosen)
        order.append(chosen.name)
    return order


def _goes_first(one: Stopping, other: Stopping) -> bool:
    """Whether `one` has to be stopped before `other`."""
    if one.name == other.name:
        return False
    if one.stop_order and other.stop_order and one.stop_order != other.stop_order:
        return one.stop_order < other.stop_order
    return other.name in one.needs


def dependencies(summaries: Sequence[Mapping[str, Any]]) -> dict[str, frozenset[str]]:
    """Id → the ids of containers that it cannot do without, from the engine's listing."""
    services: dict[tuple[str, str], set[str]] = {}
    by_name: dict[str, str] = {}
    for summary in summaries:
        labels = summary.get("Labels") or {}
        if PROJECT_LABEL in labels and SERVICE_LABEL in labels:
            services.setdefault((labels[PROJECT_LABEL], labels[SERVICE_LABEL]), set()).add(
                summary["Id"]
            )
        by_name |= {name.lstrip("/"): summary["Id"] for name in summary.get("Names") or ()}
        by_name[summary["Id"]] = summary["Id"]
    return {
        summary["Id"]: frozenset(_needs(summary, services, by_name) - {summary["Id"]})
        for summary in summaries
    }


def _needs(
    summary: Mapping[str, Any],
    services: Mapping[tuple[str, str], set[str]],
    by_name: Mapping[str, str],
) -> set[str]:
    labels = summary.get("Labels") or {}
    found: set[str] = set()
    for part in labels.get(DEPENDS_ON_LABEL, "").split(","):
        service = part.partition(":")[0].strip()
        found |= services.get((labels.get(PROJECT_LABEL, ""), service), set())
    mode = (summary.get("HostConfig") or {}).get("NetworkMode") or ""
    lender = by_name.get(mode.removeprefix(_BORROWED)) if mode.startswith(_BORROWED) else None
    return found | ({lender} if lender else set())
