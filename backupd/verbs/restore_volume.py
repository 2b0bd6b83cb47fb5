"""Restore a volume: its files into a fresh volume with the driver, options and labels it had.

A volume that is there is filled only when it is empty, or removed first when that was asked for
and the whole archive has been read and found right. One that a container uses is never touched.
Whatever fails, a volume made here goes again, and one that was there and empty is so again: no
half-filled volume is left for a container to start with.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from os.path import normpath

from backupd.catalog import Catalog
from backupd.engine import Engine, Inspect
from backupd.errors import BackupdError, DamagedBackup, NotFound, UsageError
from backupd.layout import Kind
from backupd.leftovers import sweep
from backupd.manifest import Manifest
from backupd.policy.volumes import check_volume_name
from backupd.site import Site
from backupd.tar import TarWalk
from backupd.verbs.records import described_volume
from backupd.verbs.restore_image import Say
from backupd.verbs.sealing import record_of
from backupd.verbs.transfer import Progress, received
from backupd.volume_access import (
    HostMount,
    find_volume,
    helper,
    make_volume,
    mounted_by,
    open_files,
    read_through,
    remove_volume,
    try_out_volume,
    users_of,
    write_files,
)

_EMPTY_MEMBERS = 1
"""The directory itself: the only member of an empty volume's tar."""

_RUNNING = frozenset({"running", "paused", "restarting"})
_ANONYMOUS = "com.docker.volume.anonymous"
"""The label of a volume without a name of its own, which `docker volume prune` takes for waste."""


@dataclass(frozen=True, slots=True)
class RestoredVolume:
    """What came back."""

    name: str
    """The volume's name, or the directory's path."""
    was_made: bool
    """Whether there is a volume now that was not there before."""
    replaced: bool = False
    """Whether a volume of this name was removed before."""


def restore_volume(
    site: Site,
    catalog: Catalog,
    manifest: Manifest,
    *,
    to: str | None,
    replace: bool,
    say: Say,
    progress: Progress,
) -> RestoredVolume:
    """The files of the backup in a volume (or an empty directory of the host) of its name, or `to`.

    Raises UsageError when what is there may not be touched, NotFound for a directory that is not
    there, DamagedBackup, EngineError, StoreError; then no volume is there that was not before.
    """
    target = _target(manifest, to)
    with ExitStack() as stack:
        with suppress(UsageError):  # no usable state directory, as when everything burned
            sweep(site.state, site.engine, say)
            stack.enter_context(site.state.lock_source(Kind.VOLUME, target, "restore"))
        if target.startswith("/"):
            return _into_directory(site, catalog, manifest, target, replace, progress)
        described = _described(site, catalog, manifest)
        if to is not None:
            described = _elsewhere(described, say)
        existing = find_volume(site.engine, target)
        has_files = existing is not None and not _is_empty(site, target)
        _refuse_in_use(site.engine, target, has_files=has_files, replace=replace)
        if has_files:
            _read_whole(site, catalog, manifest, say, progress)
            try_out_volume(site.engine, site.state, described)
        with _volume(site, target, described, existing, is_new=has_files or not existing):
            if has_files or not existing:
                _refuse_files(site, target)
            _fill(site, catalog, manifest, target, progress)
    if (described.get("Options") or {}).get("type") == "tmpfs":
        say(f"volume {target} lies in memory: its files are gone whenever no container runs on it")
    return RestoredVolume(target, was_made=existing is None, replaced=has_files)


def _target(manifest: Manifest, to: str | None) -> str:
    """Where the files go. Raises UsageError for what is neither a volume's name nor a path."""
    target = manifest.name if to is None else to
    if target.startswith("/"):
        return normpath(target)
    try:
        return check_volume_name(target)
    except ValueError as error:
        raise UsageError(
            f"cannot restore into {target!r}: it is not a volume's name; use letters, digits, "
            "dots, hyphens and underscores, or a full path"
        ) from error


def _into_directory(
    site: Site, catalog: Catalog, manifest: Manifest, path: str, replace: bool, progress: Progress
) -> RestoredVolume:
    if replace:
        raise UsageError(
            f"cannot replace {path}: only volumes are removed; empty the directory yourself"
        )
    users = [
        summary["Names"][0].lstrip("/")
        for summary in site.engine.containers()
        if summary.get("State") in _RUNNING
        and any(_is_within(path, mount) or _is_within(mount, path) for mount in mounted_by(summary))
    ]
    if users:
        raise UsageError(_in_use(f"directory {path}", users))
    _refuse_files(site, path)
    try:
        _fill(site, catalog, manifest, path, progress)
    except BaseException as error:
        error.add_note(
            f"and part of the files may lie in {path} now; empty it before you try again"
        )
        raise
    return RestoredVolume(path, was_made=False)


def _is_within(path: str, other: str) -> bool:
    return other.startswith("/") and f"{path}/".startswith(f"{other.rstrip('/')}/")


def _refuse_in_use(engine: Engine, target: str, *, has_files: bool, replace: bool) -> None:
    """Raise UsageError unless the volume of this name, if there is one, may be filled."""
    users = users_of(engine, target)
    if users:
        raise UsageError(_in_use(f"volume {target!r}", users))
    if has_files and not replace:
        raise UsageError(
            f"cannot restore into volume {target!r}: it is not empty; restore beside it with "
            "--to NEW, or lose what is in it with --replace"
        )


def _in_use(what: str, users: list[str]) -> str:
    names = ", ".join(sorted(users))
    many = "containers" if len(users) > 1 else "container"
    return (
        f"cannot restore into {what}: {many} {names} mount{'' if len(users) > 1 else 's'} it; "
        "restore beside it with --to NEW, or remove what uses it first"
    )


def _described(site: Site, catalog: Catalog, manifest: Manifest) -> Inspect:
    """Driver, options and labels of the volume as they were. Raises DamagedBackup."""
    try:
        data = record_of(catalog, manifest, site.identities)
    except DamagedBackup as error:
        raise DamagedBackup(f"{error}; `--output` still gives its files") from error
    return described_volume(manifest, data)


def _elsewhere(described: Inspect, say: Say) -> Inspect:
    """The same for another name: never a second volume on one and the same place."""
    # Under a name that somebody chose it is no longer one that a prune may take.
    labels = {k: v for k, v in (described.get("Labels") or {}).items() if k != _ANONYMOUS}
    if not _has_place(described):
        return {**described, "Labels": labels}
    say(
        "it becomes a plain volume of this machine: its driver options name one place for its files"
    )
    return {"Labels": labels}


def _has_place(described: Inspect) -> bool:
    """Whether the files lie where the driver's options say, and outlive the volume."""
    driver = described.get("Driver") or "local"
    return driver != "local" or bool((described.get("Options") or {}).get("device"))


def _is_empty(site: Site, target: str) -> bool:
    """Whether nothing lies in a volume or directory. Raises NotFound."""
    walk = TarWalk()
    with helper(site.engine, site.state, HostMount(target)) as through:
        stream = open_files(site.engine, through, target)
        try:
            for chunk in stream:
                walk.feed(chunk)
                if walk.members > _EMPTY_MEMBERS:
                    return False
        finally:
            stream.abort()
    walk.finish()
    return True


def _refuse_files(site: Site, target: str) -> None:
    """Raise UsageError when what should be empty is not, such as a network drive's volume."""
    if not _is_empty(site, target):
        raise UsageError(
            f"cannot restore into {target}: it is not empty, and what lies there is not the "
            "engine's to remove; empty it, or restore elsewhere with --to NEW"
        )


def _read_whole(
    site: Site, catalog: Catalog, manifest: Manifest, say: Say, progress: Progress
) -> None:
    """Read the archive to its end, before anything is lost for it. Raises DamagedBackup."""
    say(f"checking backup {manifest.id} before the volume that is there goes")
    with received(site, catalog, manifest, progress) as chunks:
        read_through(chunks, origin=f"backup {manifest.id}")


@contextmanager
def _volume(
    site: Site, name: str, described: Inspect, existing: Inspect | None, *, is_new: bool
) -> Iterator[None]:
    """A volume that is there and empty; if the block fails, all is as it was, files aside."""
    engine = site.engine
    if is_new and existing is not None:
        remove_volume(engine, name)
    is_ours = not is_new
    try:
        if is_new:
            make_volume(engine, name, described)
            is_ours = True
        yield
    except BaseException as error:
        try:
            if is_ours:
                _remove_if_there(engine, name)
            if existing is not None:
                make_volume(engine, name, existing)
        except BackupdError as failure:
            error.add_note(f"and volume {name!r} may hold part of the files now: {failure}")
        if _has_place(described if is_new else existing or {}):
            error.add_note(f"and part of the files may lie where volume {name!r} has them")
        elif is_new and existing is not None:
            error.add_note(f"and the files that volume {name!r} held before were removed for it")
        raise


def _remove_if_there(engine: Engine, name: str) -> None:
    with suppress(NotFound):
        remove_volume(engine, name)


def _fill(
    site: Site, catalog: Catalog, manifest: Manifest, target: str, progress: Progress
) -> None:
    mount = HostMount(target, writable=True)
    with (
        helper(site.engine, site.state, mount) as through,
        received(site, catalog, manifest, progress) as chunks,
    ):
        write_files(site.engine, through, target, chunks, origin=f"backup {manifest.id}")
