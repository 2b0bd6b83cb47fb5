"""A way into a volume, or a directory of the host, that needs nothing but the engine's API.

A container that is created and never started has its volumes mounted, so what lies in them can be
read and written as the files of that container, over a unix socket as well as over tcp:// or
ssh://. Such a helper is made of an empty image that is imported on the spot: nothing is pulled,
no process runs. Both carry a label that names this state directory and the lease of the process
that made them; both are removed at the end, and those of dead processes by `sweep`. Whoever reads
a helper's files keeps the volume from changing; nothing here does.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from backupd.engine import Engine, Inspect, url_path
from backupd.engine_answers import MADE, VOLUME, VOLUMES
from backupd.engine_link import EngineStream
from backupd.errors import BackupdError, EngineError, NotFound, UsageError
from backupd.state import StateDir
from backupd.tar_header import END_OF_TAR
from backupd.tar_move import moved

OWNER_LABEL = "io.backupd.helper.owner"
"""Which state directory of which machine a helper belongs to; every helper has this label."""

LEASE_LABEL = "io.backupd.helper.lease"
"""The lease of the process that made it."""

_SHORTEST_SECRET = 3
"""Shorter values of options are numbers and switches, and stand in many words."""

PLACE = "/v"
"""Where a helper has the volume: one letter, which `moved` asks for."""


@dataclass(frozen=True, slots=True)
class HostMount:
    """What a helper is to mount."""

    source: str
    """A volume's name, or a directory of the host by its full path."""
    writable: bool = False

    @property
    def is_path(self) -> bool:
        """Whether it is a directory of the host; no volume's name begins with a slash."""
        return self.source.startswith("/")

    @property
    def options(self) -> dict[str, Any]:
        """An entry of `HostConfig.Mounts` (Docker Engine API, "ContainerCreate").

        By this form, unlike by `Binds`, a path that is not there is refused, not made.
        """
        options: dict[str, Any] = {
            "Type": "bind" if self.is_path else "volume",
            "Source": self.source,
            "Target": PLACE,
            "ReadOnly": not self.writable,
        }
        if not self.is_path:
            options["VolumeOptions"] = {"NoCopy": True}
        return options


@contextmanager
def helper(engine: Engine, state: StateDir, mount: HostMount) -> Iterator[str]:
    """The id of a helper that has `mount` at PLACE; gone after the block, however that ends.

    A volume that is missing is not made by this. Raises NotFound, EngineError.
    """
    with ExitStack() as stack:
        labels = _labels(state, stack)
        image = stack.enter_context(_image(engine, labels))
        made_at = None if mount.is_path else inspect_volume(engine, mount.source).get("CreatedAt")
        if not mount.is_path:
            stack.enter_context(_masked(inspect_volume(engine, mount.source)))
        container = stack.enter_context(_container(engine, image, mount, labels))
        if not mount.is_path:
            _refuse_another(engine, mount.source, made_at, stack)
        yield container


@contextmanager
def trial(engine: Engine, state: StateDir, body: Inspect) -> Iterator[str]:
    """The id of a container made of `body` with an empty image, never started; gone after it.

    Raises EngineError when the engine refuses it.
    """
    with ExitStack() as stack:
        labels = _labels(state, stack)
        image = stack.enter_context(_image(engine, labels))
        labelled = {**body, "Labels": {**(body.get("Labels") or {}), **labels}}
        made = _made(engine, image, labelled, "cannot try out the container's options")
        yield stack.enter_context(made)


def open_files(engine: Engine, helper_id: str, source: str) -> EngineStream:
    """The tar of `source`, which the helper mounts; its members begin with `./`."""
    try:
        return engine.read_files(helper_id, f"{PLACE}/.", what=f"cannot read volume {source!r}")
    except EngineError as error:
        if "not a directory" in str(error):
            raise EngineError(f"cannot read {source}: it is no directory, but a file") from error
        raise


def write_files(
    engine: Engine, helper_id: str, target: str, chunks: Iterator[bytes], *, origin: str
) -> None:
    """Unpack what `open_files` gave into `target`, which the helper mounts writable.

    `origin` names the tar in errors. An exception out of `chunks` comes out unchanged; what was
    unpacked by then stays. Raises DamagedBackup for a tar that `open_files` never gave.
    """
    tar = moved(chunks, PLACE[1:].encode(), origin)
    engine.write_files(helper_id, "/", tar, what=f"cannot fill volume {target!r}")


def read_through(chunks: Iterator[bytes], *, origin: str) -> None:
    """Read to its end what `write_files` would be given. Raises DamagedBackup as that would."""
    for _ in moved(chunks, PLACE[1:].encode(), origin):
        pass


def is_helper(thing: Inspect) -> bool:
    """Whether a thing of a listing is a helper, or there for a drill, of any backupd."""
    return OWNER_LABEL in (thing.get("Labels") or {})


def disowned(thing: Inspect) -> Inspect:
    """What inspect told of a thing, without the labels by which helpers are known, and swept.

    A record that somebody forged could name us as the owner of what is made again from it.
    """
    labels = thing.get("Labels")
    if not isinstance(labels, dict):
        return thing
    return {
        **thing,
        "Labels": {k: v for k, v in labels.items() if k not in (OWNER_LABEL, LEASE_LABEL)},
    }


def inspect_volume(engine: Engine, name: str) -> Inspect:
    """What the engine says of a volume. Raises NotFound."""
    found: Inspect = engine.ask(
        f"cannot inspect volume {name!r}", f"/volumes/{url_path(name)}", VOLUME
    )
    return found


def find_volume(engine: Engine, name: str) -> Inspect | None:
    """The same, or None where there is no such volume."""
    try:
        return inspect_volume(engine, name)
    except NotFound:
        return None


def volumes(engine: Engine) -> list[Inspect]:
    """What the engine says of all volumes."""
    found: list[Inspect] = (
        engine.ask("cannot list volumes", "/volumes", VOLUMES).get("Volumes") or []
    )
    return found


def make_volume(engine: Engine, name: str, described: Inspect) -> None:
    """Make an empty volume with the driver, options and labels that an inspect tells.

    Raises EngineError.
    """
    body = {
        "Name": name,
        "Driver": described.get("Driver") or "local",
        "DriverOpts": described.get("Options"),
        "Labels": described.get("Labels"),
    }
    engine.tell(f"cannot make volume {name!r}", "/volumes/create", body)


def try_out_volume(engine: Engine, state: StateDir, described: Inspect) -> None:
    """See that a volume with this driver and these options can be made and read here.

    Raises EngineError; then nothing of it is left.
    """
    name = f"backupd-trial-{secrets.token_hex(8)}"
    with ExitStack() as stack:
        labels = _labels(state, stack)
        make_volume(engine, name, {**described, "Labels": labels})
        stack.callback(remove_volume, engine, name)
        with helper(engine, state, HostMount(name)) as through:
            open_files(engine, through, name).abort()


@contextmanager
def _masked(volume: Inspect) -> Iterator[None]:
    """Inside, no error tells a value of the driver's options, such as the password of a share."""
    try:
        yield
    except EngineError as error:
        text = str(error)
        for secret in sorted(_secrets_of(volume), key=len, reverse=True):
            text = text.replace(secret, "…")
        if text == str(error):
            raise
        raise type(error)(text) from None


def _secrets_of(volume: Inspect) -> Iterator[str]:
    """Every value that stands in the options, whatever it is; a place and a type are none."""
    for key, option in (volume.get("Options") or {}).items():
        if key in ("type", "device"):
            continue
        parts = str(option).split(",")
        values = [part.partition("=")[2] for part in parts] if key == "o" else [str(option)]
        yield from (value for value in values if len(value) >= _SHORTEST_SECRET)


def remove_volume(engine: Engine, name: str) -> None:
    """Remove a volume that no container uses. Raises NotFound, EngineError."""
    engine.remove(f"cannot remove volume {name!r}", f"/volumes/{url_path(name)}")


def users_of(engine: Engine, source: str) -> list[str]:
    """Names of the containers, running or not, that mount a volume or a directory of the host."""
    return [
        name_of(summary)
        for summary in engine.containers()
        if source in mounted_by(summary) and not is_helper(summary)
    ]


def mounted_by(summary: Inspect) -> frozenset[str]:
    """What a container of the engine's listing mounts: volumes by name, directories by path."""
    return frozenset(
        str(mount.get("Name") if mount.get("Type") == "volume" else mount.get("Source"))
        for mount in summary.get("Mounts") or ()
        if mount.get("Type") in ("volume", "bind")
    )


def name_of(summary: Inspect) -> str:
    """A container's own name: links of other containers are listed among its names too."""
    own = [name for name in summary["Names"] if name.count("/") == 1]
    return str((own or summary["Names"])[0]).lstrip("/")


def owner(state: StateDir) -> str:
    """The name of this machine's state directory, in labels; it tells neither."""
    place = hashlib.sha256(str(state.path.resolve()).encode()).hexdigest()[:16]
    return f"{state.machine_id()[:16]}-{place}"


def _labels(state: StateDir, stack: ExitStack) -> dict[str, str]:
    """The labels of one helper; its lease lasts as long as the stack."""
    try:
        lease = state.lease()
    except UsageError:
        # No state directory, as on the day when everything burned: a name that nobody sweeps for.
        nobody = secrets.token_hex(16)
        return {OWNER_LABEL: nobody, LEASE_LABEL: nobody}
    stack.callback(lease.close)
    return {OWNER_LABEL: owner(state), LEASE_LABEL: lease.token}


@contextmanager
def _image(engine: Engine, labels: dict[str, str]) -> Iterator[str]:
    """The id of an image of no files at all."""
    changes = [f'LABEL {key}="{value}"' for key, value in labels.items()]
    image = engine.import_image([END_OF_TAR], changes=changes, message="backupd helper")
    with _removed(engine, "cannot remove a helper image", f"/images/{image}"):
        yield image


def _container(
    engine: Engine, image: str, mount: HostMount, labels: dict[str, str]
) -> AbstractContextManager[str]:
    """The id of a container of that image, which cannot even be started."""
    body = {
        "Cmd": ["backupd-helper-is-never-started"],
        "Labels": labels,
        "NetworkDisabled": True,
        "HostConfig": {"NetworkMode": "none", "Mounts": [mount.options]},
    }
    return _made(engine, image, body, f"cannot mount {mount.source!r} in a helper container")


@contextmanager
def _made(engine: Engine, image: str, body: Inspect, what: str) -> Iterator[str]:
    name = f"backupd-helper-{secrets.token_hex(8)}"
    # By its name: an answer that never arrived may have made it all the same.
    with _removed(engine, "cannot remove a helper container", f"/containers/{name}"):
        made = engine.tell(what, "/containers/create", {**body, "Image": image}, MADE, name=name)
        yield str(made["Id"])


@contextmanager
def _removed(engine: Engine, what: str, path: str) -> Iterator[None]:
    """Remove the thing at `path` after the block; that it is gone already is no trouble."""
    try:
        yield
    except BaseException as error:
        try:
            _gone(engine, what, path, force="1")
        except BackupdError as failure:
            error.add_note(f"and {failure}; the next backup sees to it")
        raise
    _gone(engine, what, path, force="1")


def _gone(engine: Engine, what: str, path: str, **params: str) -> None:
    with suppress(NotFound):
        engine.remove(what, path, **params)


def _refuse_another(engine: Engine, name: str, made_at: str | None, stack: ExitStack) -> None:
    """Raise NotFound when the volume that is mounted was made by our mounting it."""
    if inspect_volume(engine, name).get("CreatedAt") == made_at:
        return
    stack.close()
    remove_volume(engine, name)
    raise NotFound(f"cannot read volume {name!r}: it was removed just now")
