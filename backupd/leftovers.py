"""What dead processes left on the engine, and its removal: helpers, and what drills had made.

All of it tells in its labels which state directory of which machine it belongs to and whose lease
made it (see `backupd.volume_access`). An image that is brought back as it was for a drill can carry
no label of ours: there the name tells the same. Nothing else is ever touched here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress

from backupd.engine import Engine, Inspect, url_path
from backupd.engine_answers import LISTED_CONTAINERS, LISTED_IMAGES, NETWORKS, VOLUMES, Shape
from backupd.errors import EngineError, EngineUnreachable, NotFound
from backupd.state import StateDir
from backupd.volume_access import LEASE_LABEL, OWNER_LABEL, owner

SCRATCH_REPOSITORY = "backupd-drill"
"""What the names of images begin with that are on the engine for a drill alone; then follow the
owner, and as the last part before the tag the lease."""

_FORCE = {"force": "1"}
_LISTED: tuple[tuple[str, str, Shape, dict[str, str]], ...] = (
    # With the volumes that have no name of their own, never those that were asked for.
    ("containers", "/containers/json", LISTED_CONTAINERS, {**_FORCE, "v": "1"}),
    ("networks", "/networks", NETWORKS, {}),
    ("volumes", "/volumes", VOLUMES, _FORCE),
    ("images", "/images/json", LISTED_IMAGES, _FORCE),
)
"""All that carries labels, in the order in which it can be removed: kind, listing and
its shape, options."""

_Left = tuple[str, str, dict[str, str]]
"""What may go: its kind, its path, and how."""


def sweep(state: StateDir, engine: Engine, say: Callable[[str], None]) -> None:
    """Remove what dead processes of this state directory left on the engine.

    What the engine refuses to remove is told to `say`. Raises EngineUnreachable.
    """
    for kind, path, options in [*_labelled(state, engine), *_named(state, engine)]:
        try:
            with suppress(NotFound):
                engine.remove(f"cannot remove forgotten helper {kind}", path, **options)
        except EngineUnreachable:
            raise
        except EngineError as error:
            say(f"warning: {error}")


def _labelled(state: StateDir, engine: Engine) -> Iterator[_Left]:
    query = json.dumps({"label": [f"{OWNER_LABEL}={owner(state)}"]})
    for kind, listing, shape, options in _LISTED:
        found = engine.ask(
            f"cannot look for forgotten helper {kind}", listing, shape, filters=query, all="1"
        )
        for thing in _things(found):
            if not state.is_leased(str((thing.get("Labels") or {}).get(LEASE_LABEL, ""))):
                yield kind, f"/{kind}/{thing.get('Id') or thing['Name']}", options


def _things(found: list[Inspect] | Inspect) -> list[Inspect]:
    """Volumes alone are listed inside of something."""
    return (found.get("Volumes") or []) if isinstance(found, dict) else found


def _named(state: StateDir, engine: Engine) -> Iterator[_Left]:
    """Names that were given to images for a drill; the image goes with its last one."""
    prefix = f"{SCRATCH_REPOSITORY}/{owner(state)}/"
    what = "cannot look for forgotten images of drills"
    for image in engine.ask(what, "/images/json", LISTED_IMAGES):
        for tag in image.get("RepoTags") or ():
            if tag.startswith(prefix) and not state.is_leased(tag[len(prefix) :].partition(":")[0]):
                yield "images", f"/images/{url_path(tag)}", {"noprune": "1"}
