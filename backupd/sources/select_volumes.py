"""The volumes that a job selects: by itself, and with its containers.

A volume that any container of the job mounts is read while that container stands still, whichever
selector found it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import assert_never

from backupd.engine import Engine, Inspect
from backupd.layout import Kind
from backupd.policy import (
    ContainerContents,
    ContainerLiteral,
    Job,
    VolumeGlob,
    VolumeLabel,
    VolumeLiteral,
    VolumeSelector,
)
from backupd.sources import SelectedBy
from backupd.sources.container import ContainerSource
from backupd.sources.selection import Missing, Selection, labelled
from backupd.sources.volume import VolumeSource
from backupd.volume_access import is_helper, mounted_by, name_of, volumes

Found = Iterator[tuple[str, SelectedBy]]
"""Names of volumes, or paths of directories, and what selected them."""


def wants_volumes(job: Job) -> bool:
    """Whether the job may select any volume, or directory of the host."""
    with_any = any(one.with_volumes or one.bind_mounts for one in job.containers)
    return bool(job.volumes) or with_any


def select_volumes(
    selection: Selection, engine: Engine, containers: Sequence[Inspect], name: str, job: Job
) -> None:
    """Add the job's volumes to what it selects; its containers are in there already."""
    summaries = {name_of(summary): summary for summary in containers}
    chosen = {
        source.name: source
        for source in selection.sources.values()
        if isinstance(source, ContainerSource)
    }
    mounts = {one: mounted_by(summaries[one]) for one in chosen}
    found = dict[str, SelectedBy]()
    for volume, selected_by in _all(selection, engine, summaries, chosen, name, job):
        found.setdefault(volume, selected_by)
    for volume, selected_by in found.items():
        beside = frozenset(one for one in chosen if volume in mounts[one])
        selection.add(VolumeSource(volume, beside), selected_by)
    for one, source in chosen.items():
        apart = mounts[one] & found.keys()
        selection.sources[source.kind, one] = replace(source, apart=apart)


def _all(
    selection: Selection,
    engine: Engine,
    summaries: dict[str, Inspect],
    chosen: dict[str, ContainerSource],
    name: str,
    job: Job,
) -> Found:
    """Everything that is selected, in the policy's order; what is missing is noted."""
    on_engine = [one for one in volumes(engine) if not is_helper(one)] if job.volumes else []
    for index, volume in enumerate(job.volumes):
        yield from _by_itself(selection, on_engine, volume, job, f"jobs.{name}.volumes[{index}]")
    for index, container in enumerate(job.containers):
        # Options are those of the first selector that finds a container.
        theirs = [
            summaries[one] for one, source in chosen.items() if source.consistency is container
        ]
        if container.with_volumes:
            yield from _mounted(theirs, job)
        yield from _paths(selection, theirs, container, f"jobs.{name}.containers[{index}]")


def _by_itself(
    selection: Selection,
    on_engine: Sequence[Inspect],
    selector: VolumeSelector,
    job: Job,
    where: str,
) -> Found:
    by_name = {str(volume["Name"]): volume for volume in on_engine}
    selected_by: SelectedBy = "pattern"
    match selector:
        case VolumeLiteral(name=name):
            if name in by_name:
                yield name, "name"
            else:
                selection.missing.append(Missing(Kind.VOLUME, name, where))
            return
        case VolumeGlob():
            found = [name for name in sorted(by_name) if selector.matches(name)]
        case VolumeLabel(label=label):
            found = [name for name in sorted(by_name) if labelled(by_name[name], label)]
            selected_by = "label"
        case _:
            assert_never(selector)
    found = [name for name in found if not job.excludes_volume(name)]
    yield from ((name, selected_by) for name in found)
    if not found:
        selection.warnings.append(f"{where}: no volume matches")


def _mounted(summaries: Sequence[Inspect], job: Job) -> Found:
    """All volumes of the containers, also those that have no name but a number."""
    for summary in summaries:
        for mount in summary.get("Mounts") or ():
            if mount.get("Type") == "volume" and not job.excludes_volume(mount["Name"]):
                yield str(mount["Name"]), "mount"


def _paths(
    selection: Selection, summaries: Sequence[Inspect], container: ContainerContents, where: str
) -> Found:
    """The directories that are asked for, where a container mounts them."""
    for index, path in enumerate(container.bind_mounts):
        place = f"{where}.bind_mounts[{index}]"
        if any(path in mounted_by(summary) for summary in summaries):
            yield path, "mount"
        elif isinstance(container, ContainerLiteral) and summaries:
            selection.missing.append(Missing(Kind.VOLUME, path, place))
        elif summaries:
            selection.warnings.append(f"{place}: no container that was found mounts {path}")
