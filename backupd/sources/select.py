"""From a job's selectors to the sources that are on the engine now.

A literal that is missing is a failure of its own and stops nothing else; a pattern, a label or
`in_use` that matches nothing is a warning. Three calls to the engine, however many selectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from backupd.engine import Engine, Inspect
from backupd.layout import Kind
from backupd.leftovers import SCRATCH_REPOSITORY
from backupd.policy import (
    ContainerGlob,
    ContainerLabel,
    ContainerLiteral,
    ContainerSelector,
    ImageBundle,
    ImageGlob,
    ImageInUse,
    ImageLabel,
    ImageLiteral,
    ImageSelector,
    Job,
)
from backupd.policy import reference as names
from backupd.sources import SelectedBy
from backupd.sources.container import ContainerSource
from backupd.sources.image import BundleSource, ImageSource
from backupd.sources.select_volumes import select_volumes, wants_volumes
from backupd.sources.selection import Missing, Selection, labelled
from backupd.stop_order import dependencies
from backupd.volume_access import is_helper, name_of

__all__ = ["Missing", "Selection", "references_of", "select"]

_SELECTED_BY: dict[type, SelectedBy] = {
    ImageGlob: "pattern",
    ImageLabel: "label",
    ImageInUse: "in_use",
    ContainerGlob: "pattern",
    ContainerLabel: "label",
}


def select(engine: Engine, name: str, job: Job) -> Selection:
    """What the job called `name` selects on this engine. Raises EngineError."""
    selection = Selection()
    containers = _without_helpers(
        engine.containers() if job.containers or _wants_in_use(job) else []
    )
    if job.images:
        engine_images = _Images(_without_helpers(engine.images()), containers)
        for index, image in enumerate(job.images):
            where = f"jobs.{name}.images[{index}]"
            _select_images(selection, engine, engine_images, image, job=job, where=where)
    for index, container in enumerate(job.containers):
        where = f"jobs.{name}.containers[{index}]"
        _select_containers(selection, containers, container, job=job, where=where)
    if wants_volumes(job):
        select_volumes(selection, engine, containers, name, job)
    return selection


def _without_helpers(things: list[Inspect]) -> list[Inspect]:
    """What is the engine's own; helpers are there for the length of one backup."""
    return [thing for thing in things if not is_helper(thing)]


def _wants_in_use(job: Job) -> bool:
    return any(isinstance(image, ImageInUse) for image in job.images)


class _Images:
    """The engine's images by reference, spelled as Docker shows them."""

    def __init__(self, summaries: list[Inspect], containers: list[Inspect]) -> None:
        self.by_reference: dict[str, Inspect] = {}
        for summary in summaries:
            for reference in references_of(summary):
                if not reference.startswith(f"{SCRATCH_REPOSITORY}/"):
                    self.by_reference[reference] = summary
        self.in_use = {container["ImageID"] for container in containers}
        self.untagged_in_use = sorted(
            summary["Id"]
            for summary in summaries
            if summary["Id"] in self.in_use and not references_of(summary)
        )


def references_of(summary: Inspect) -> list[str]:
    """The tags of an image as Docker shows them; Podman writes `docker.io/library/` out."""
    tags = [tag for tag in summary.get("RepoTags") or () if tag != "<none>:<none>"]
    return [names.without_default_domain(tag) for tag in tags]


def _select_images(
    selection: Selection,
    engine: Engine,
    images: _Images,
    selector: ImageSelector,
    *,
    job: Job,
    where: str,
) -> None:
    match selector:
        case ImageLiteral(reference=reference, platform=platform):
            if reference in images.by_reference or engine.find_image(reference) is not None:
                selection.add(ImageSource(reference, platform), "name")
            else:
                selection.missing.append(Missing(Kind.IMAGE, reference, where))
        case ImageBundle(bundle=bundle, images=references):
            absent = [r for r in references if engine.find_image(r) is None]
            if absent:
                text = f"{bundle} ({', '.join(absent)})"
                selection.missing.append(Missing(Kind.BUNDLE, text, where))
            else:
                selection.add(BundleSource(bundle, references), "name")
        case ImageGlob() | ImageLabel() | ImageInUse():
            platform = selector.platform if isinstance(selector, ImageGlob) else None
            found = [r for r in _matching(images, selector) if not job.excludes_image(r)]
            for reference in found:
                selection.add(ImageSource(reference, platform), _SELECTED_BY[type(selector)])
            if not found:
                selection.warnings.append(f"{where}: no image matches")
        case _:
            assert_never(selector)


def _matching(images: _Images, selector: ImageGlob | ImageLabel | ImageInUse) -> Iterator[str]:
    for reference, summary in sorted(images.by_reference.items()):
        match selector:
            case ImageGlob():
                wanted = selector.matches(reference)
            case ImageLabel(label=label):
                wanted = labelled(summary, label)
            case ImageInUse():
                wanted = summary["Id"] in images.in_use
        if wanted:
            yield reference
    if isinstance(selector, ImageInUse):
        # A container may run an image whose tag has moved on; by its id it can still be saved.
        yield from images.untagged_in_use


def _select_containers(
    selection: Selection,
    containers: list[Inspect],
    selector: ContainerSelector,
    *,
    job: Job,
    where: str,
) -> None:
    by_name = {name_of(summary): summary for summary in containers}
    needs = _needs(by_name) if selector.stop else {}
    match selector:
        case ContainerLiteral(name=name):
            if name in by_name:
                selection.add(ContainerSource(name, selector, needs.get(name, _NONE)), "name")
            else:
                selection.missing.append(Missing(Kind.CONTAINER, name, where))
            return
        case ContainerGlob():
            found = [name for name in sorted(by_name) if selector.matches(name)]
        case ContainerLabel(label=label):
            found = [name for name in sorted(by_name) if labelled(by_name[name], label)]
        case _:
            assert_never(selector)
    found = [name for name in found if not job.excludes_container(name)]
    for name in found:
        source = ContainerSource(name, selector, needs.get(name, _NONE))
        selection.add(source, _SELECTED_BY[type(selector)])
    if not found:
        selection.warnings.append(f"{where}: no container matches")


_NONE: frozenset[str] = frozenset()


def _needs(by_name: dict[str, Inspect]) -> dict[str, frozenset[str]]:
    """Name → the names of the containers that it depends on."""
    names_by_id = {summary["Id"]: name for name, summary in by_name.items()}
    needed = dependencies(list(by_name.values()))
    return {
        names_by_id[identity]: frozenset(names_by_id[other] for other in others)
        for identity, others in needed.items()
    }
