"""What a `docker import` that was broken off leaves on the engine, when we die in the middle of it.

Engines with the containerd image store keep an image without a name of an import that never came
to its end (measured on engine 26). Before an import begins, the journal holds by what such an image
is known; a later start or backup removes it. Never one with a name, one that was there before, or
one that holds the whole layer: only halves, and only with the message that our import gave.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from backupd.engine import Engine, Inspect
from backupd.errors import EngineError, EngineUnreachable, NotFound, UsageError
from backupd.journal_file import FOLDER, write_synced
from backupd.state import StateDir

_NO_NAME = "<none>:<none>"


@dataclass(frozen=True, slots=True)
class _Entry:
    """One import under way, and how to know what it leaves."""

    engine_id: str
    lease: str
    """Of the process that imports."""
    message: str
    """What the import gives the image as its comment."""
    layer: str
    """The diff id of a whole image's one layer."""
    images_before: list[str]

    def is_half(self, found: Inspect) -> bool:
        """Whether this image is what the import left before its end."""
        layers = (found.get("RootFS") or {}).get("Layers") or []
        return found.get("Comment") == self.message and layers != [self.layer]


@contextmanager
def noted(state: StateDir, engine: Engine, *, message: str, layer: str) -> Iterator[None]:
    """Inside, an import with this `message` is under way; `layer` is what a whole one has.

    Without a usable state directory, as on the day when everything burned, it notes nothing.
    """
    with ExitStack() as stack:
        with suppress(UsageError):
            lease = state.lease()
            stack.callback(lease.close)
            before = [summary["Id"] for summary in engine.images()]
            entry = _Entry(engine.version().id, lease.token, message, layer, before)
            path = write_synced(state, f"import-{secrets.token_hex(8)}.json", asdict(entry))
            stack.callback(path.unlink, missing_ok=True)
        yield


def remove(state: StateDir, engine: Engine, say: Callable[[str], None]) -> None:
    """Remove what imports of dead processes left on this engine. Raises EngineUnreachable.

    While another import is under way nothing is removed: its image may look like a half one too.
    """
    entries = {path: _read(path) for path in state.folder(FOLDER).glob("import-*.json")}
    known = {path: entry for path, entry in entries.items() if entry is not None}
    if any(state.is_leased(entry.lease) for entry in known.values()):
        return
    for path, entry in known.items():
        if entry.engine_id != engine.version().id:
            continue
        try:
            for image_id in _left_by(engine, entry):
                engine.remove_image(image_id)
                say(f"removed image {image_id[:19]}: half of an import by a restore that died")
        except NotFound:
            pass  # somebody else was quicker
        except EngineUnreachable:
            raise
        except EngineError as error:
            say(f"warning: what a restore that died left on the engine is still there: {error}")
            continue
        path.unlink(missing_ok=True)


def _left_by(engine: Engine, entry: _Entry) -> Iterator[str]:
    """The ids of the images that the import left."""
    before = set(entry.images_before)
    for summary in engine.images():
        has_name = any(tag != _NO_NAME for tag in summary.get("RepoTags") or ())
        if has_name or summary["Id"] in before:
            continue
        found = engine.find_image(summary["Id"])
        if found is not None and entry.is_half(found):
            yield summary["Id"]


def _read(path: Path) -> _Entry | None:
    """The entry, or None for a file that is none."""
    try:
        return _Entry(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
