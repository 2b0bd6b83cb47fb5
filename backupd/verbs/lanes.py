"""What a run reads together, one after another, and at the same time. Looks at tasks alone.

Containers are read several at a time, as the site's turns allow; images one after another, since
the engine saves them so, and since a second tag of one image then finds the first one's archive.
A container and the volumes that it mounts are one unit: it stands still until all are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from backupd.layout import Kind
from backupd.policy import Consistency
from backupd.sources import Source
from backupd.stop_order import Stopping, groups
from backupd.verbs.task import Task

Unit = Sequence[Task]
"""Tasks whose sources stand still together, containers first; nearly always one."""

Lane = Sequence[Unit]
"""Units that are done one after another."""


def lanes_of(tasks: Sequence[Task]) -> list[Lane]:
    """What may be done at the same time: the images in one lane, every other unit in its own.

    Containers of one job that are stopped and depend on each other are one unit, and so are those
    that share a volume of the job, with that volume.
    """
    images = [[task] for task in tasks if task.source.kind in (Kind.IMAGE, Kind.BUNDLE)]
    lanes: list[Lane] = [images] if images else []
    for job in dict.fromkeys(task.job for task in tasks):
        lanes += [[unit] for unit in _units([task for task in tasks if task.job == job])]
    return lanes


def belonging(tasks: Sequence[Task], chosen: Sequence[Task]) -> list[Task]:
    """What `chosen` needs of the same job's `tasks` besides, to be of one moment.

    A container takes its volumes along, and a volume the containers that are held for it, with
    their other volumes, and so on.
    """
    found: list[Task] = []
    while True:
        taken = [*chosen, *found]
        more = [task for task in tasks if task not in taken and _belongs(task, taken)]
        if not more:
            return [task for task in tasks if task in found]
        found += more


def _belongs(task: Task, chosen: Sequence[Task]) -> bool:
    own, others = task.source, [one.source for one in chosen if one.job == task.job]
    if any(one.kind is Kind.CONTAINER and one.name in own.beside for one in others):
        return True
    needed = any(one.kind is Kind.VOLUME and own.name in one.beside for one in others)
    return needed and own.kind is Kind.CONTAINER and _is_held(own)


def _units(tasks: Sequence[Task]) -> list[Unit]:
    """The containers and volumes of one job in units, each container before its volumes."""
    containers = {task.source.name: task for task in _of(tasks, Kind.CONTAINER)}
    volumes = list(_of(tasks, Kind.VOLUME))
    stopped = {name for name, task in containers.items() if task.source.consistency.stop}
    members = [
        Stopping(
            name,
            task.source.consistency.stop_order,
            task.source.needs & stopped if name in stopped else frozenset(),
            frozenset(one.source.name for one in volumes if name in one.source.beside),
        )
        for name, task in containers.items()
    ]
    units: list[Unit] = []
    for group in groups(members):
        beside = [task for task in volumes if task.source.beside & set(group)]
        units.append([*(containers[name] for name in group), *beside])
    placed = {id(task) for unit in units for task in unit}
    return [*units, *([task] for task in volumes if id(task) not in placed)]


def _of(tasks: Iterable[Task], kind: Kind) -> Iterable[Task]:
    return (task for task in tasks if task.source.kind is kind)


def _is_held(source: Source) -> bool:
    """Whether anything is done to a container while it is read."""
    wanted: Consistency = source.consistency
    return bool(wanted.pause or wanted.stop or wanted.before or wanted.after)
