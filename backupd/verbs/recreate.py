"""Make containers again as they ran: image, networks, volumes, the containers, and start them.

What is made is removed again, in reverse, when anything fails; what was there before is only used.
Everything was planned before (see `backupd.verbs.recreate_plan`): nothing is decided here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from backupd.container_rights import device_of
from backupd.engine import Engine, Inspect
from backupd.engine_create import (
    connect,
    make_container,
    make_network,
    remove_container,
    remove_network,
)
from backupd.errors import BackupdError, NotFound
from backupd.manifest import Manifest
from backupd.site import Site
from backupd.stop_order import DEPENDS_ON_LABEL, SERVICE_LABEL
from backupd.verbs.recreate_plan import Part, Prepared
from backupd.verbs.restore_container import Back, restore_container
from backupd.verbs.restore_image import Say, restore_images
from backupd.verbs.restore_volume import restore_volume
from backupd.verbs.transfer import Progress
from backupd.volume_access import find_volume, make_volume, remove_volume

Bar = Callable[[Manifest], AbstractContextManager[Progress]]
"""Shows one transfer."""

_LOOK_SECONDS = 0.2
_START_SECONDS = 1.0
"""A container that cannot run, for want of something, mostly ends within a second."""
_HEALTH_TIMEOUT_SECONDS = 600.0

_Undo = Callable[[Callable[[], object]], None]


@dataclass(frozen=True, slots=True)
class Recreated:
    """One container that is there again."""

    name: str
    manifest: Manifest
    is_started: bool


def recreate(site: Site, prepared: Prepared, *, start: bool, say: Say, bar: Bar) -> list[Recreated]:
    """Make all that was prepared, and start it in its order.

    Raises DamagedBackup, EngineError, StoreError, UsageError; then nothing is there that was not
    there before, what could not be removed aside, which the error's notes name.
    """
    engine = site.engine
    with _undone_on_failure() as undo:
        for part in prepared.parts:
            _image(site, part, undo, bar)
        _networks(engine, prepared.parts, undo, say)
        _volumes(site, prepared, undo, say, bar)
        for part in prepared.parts:
            for warning in make_container(engine, part.plan.name, part.plan.body):
                say(f"{part.plan.name}: the engine warns: {warning}")
            undo(partial(remove_container, engine, part.plan.name))
            for network, endpoint in part.plan.connections:
                connect(engine, network, part.plan.name, endpoint)
        for part in prepared.parts if start else ():
            _await_healthy(site, part, prepared.parts, say)
            engine.start(part.plan.name)
            _warn_if_it_ended(engine, part.plan.name, say)
    return [
        Recreated(part.plan.name, part.stored.manifest, is_started=start) for part in prepared.parts
    ]


@contextmanager
def _undone_on_failure() -> Iterator[_Undo]:
    """Takes what undoes each act; if the block fails, they are called, the last one first."""
    steps: list[Callable[[], object]] = []
    try:
        yield steps.append
    except BaseException as error:
        for step in reversed(steps):
            try:
                with suppress(NotFound):
                    step()
            except BackupdError as failure:
                error.add_note(f"and undoing it failed: {failure}")
        raise


def _image(site: Site, part: Part, undo: _Undo, bar: Bar) -> None:
    """Bring the image, unless it is there."""
    stored, reference, engine = part.image.stored, part.image.reference, site.engine
    if stored is None:
        return
    before = engine.find_image(reference)
    ids_before = {summary["Id"] for summary in engine.images()}
    with bar(stored.manifest) as progress:
        if part.image.is_export:
            restore_container(
                site,
                stored.catalog,
                stored.manifest,
                Back(tag=reference),
                say=_unheard,
                progress=progress,
            )
        else:
            restore_images(
                site, stored.catalog, stored.manifest, tag=None, say=_unheard, progress=progress
            )
    undo(partial(_name_back, engine, reference, before, ids_before))


def _unheard(text: str) -> None:
    """The plan has said it already."""


def _name_back(
    engine: Engine, reference: str, before: Inspect | None, ids_before: Collection[str]
) -> None:
    """Give the name back that the image took, and take the image away if it was not there."""
    if before is None:
        engine.remove_image(reference)
        return
    now = engine.find_image(reference)
    engine.tag(before["Id"], reference)
    if now is not None and now["Id"] not in ids_before:
        engine.remove_image(now["Id"])


def _networks(engine: Engine, parts: Sequence[Part], undo: _Undo, say: Say) -> None:
    for name, body in {
        name: body for part in parts for name, body in part.plan.networks.items()
    }.items():
        make_network(engine, body)
        undo(partial(remove_network, engine, str(body["Name"])))
        say(f"made network {name}")


def _volumes(site: Site, prepared: Prepared, undo: _Undo, say: Say, bar: Bar) -> None:
    plans = [part.plan for part in prepared.parts]
    for name in dict.fromkeys(name for plan in plans for name in plan.volumes):
        stored = prepared.volumes[name]
        with bar(stored.manifest) as progress:
            restored = restore_volume(
                site,
                stored.catalog,
                stored.manifest,
                to=None,
                replace=False,
                say=say,
                progress=progress,
            )
        if restored.was_made:
            undo(partial(remove_volume, site.engine, name))
        say(f"restored volume {name} from backup {stored.manifest.id}")
    for name, described in {
        name: described for plan in plans for name, described in plan.empty_volumes.items()
    }.items():
        if find_volume(site.engine, name) is not None:  # the engine would not refuse it
            say(f"volume {name} is there now: it is used as it is")
            continue
        make_volume(site.engine, name, dict(described))
        undo(partial(remove_volume, site.engine, name))
        device = device_of(described)
        say(f"made volume {name}" + (f"; its files lie at {device}" if device else ", empty"))


def _await_healthy(site: Site, part: Part, parts: Sequence[Part], say: Say) -> None:
    """Wait for what this container must not start before, as Compose does (`depends_on`)."""
    conditions = dict(
        text.split(":")[:2]
        for text in _label(part, DEPENDS_ON_LABEL).split(",")
        if text.count(":") > 0
    )
    for other in parts:
        condition = conditions.get(_label(other, SERVICE_LABEL))
        if other is part or condition not in _REACHED:
            continue
        if not _reaches(site, other.plan.name, _REACHED[condition]):
            say(f"{part.plan.name}: {other.plan.name} did not get as far as {condition} before it")


def _warn_if_it_ended(engine: Engine, name: str, say: Say) -> None:
    """A container that ends at once with an error is there, and is of no use."""
    time.sleep(_START_SECONDS)
    state = engine.inspect_state(name)["State"]
    if not state.get("Running") and state.get("ExitCode"):
        say(
            f"{name} was started and ended with exit code {state['ExitCode']}; see `docker logs "
            f"{name}`"
        )


def _label(part: Part, label: str) -> str:
    labels = (part.ran.container.get("Config") or {}).get("Labels") or {}
    return str(labels.get(label, ""))


def _is_healthy(state: Inspect) -> bool | None:
    """None while that is open."""
    health = (state.get("Health") or {}).get("Status", "none")
    if health in ("none", "healthy"):
        return True
    return None if health == "starting" and state.get("Running") else False


def _has_completed(state: Inspect) -> bool | None:
    if state.get("Running") or state.get("Restarting"):
        return None
    return state.get("ExitCode") == 0


_REACHED: dict[str | None, Callable[[Inspect], bool | None]] = {
    "service_healthy": _is_healthy,
    "service_completed_successfully": _has_completed,
}
"""Compose's conditions that take time, by what tells that they hold."""


def _reaches(site: Site, name: str, holds: Callable[[Inspect], bool | None]) -> bool:
    deadline = time.monotonic() + _HEALTH_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        site.cancel.raise_if_set()
        answer = holds(site.engine.inspect_state(name)["State"])
        if answer is not None:
            return answer
        time.sleep(_LOOK_SECONDS)
    return False
