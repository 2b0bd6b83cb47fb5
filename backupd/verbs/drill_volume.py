"""The drill of a volume: restore it into a new one, read that back, and compare.

The new volume is a plain one of the engine's own: the driver and options of the original may lead
to the very place where the real files are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial

from backupd.catalog import Catalog
from backupd.errors import ArchiveBroken, DamagedBackup, DrillFailed
from backupd.manifest import Manifest
from backupd.site import Site
from backupd.tar import Member, Sink, TarWalk
from backupd.verbs.drill_scratch import Scratch
from backupd.verbs.sealing import record_of
from backupd.verbs.transfer import Progress, received
from backupd.volume_access import (
    HostMount,
    helper,
    make_volume,
    open_files,
    remove_volume,
    write_files,
)

_MODULUS = 1 << 256


class Tree:
    """What lies in a tar, as one number: names, kinds, targets of links and contents.

    The order does not matter, and memory does not grow with the number of files. Times, owners
    and modes are left out: the headers that tell them differ between engines.
    """

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0
        self._member = hashlib.sha256()
        self._walk = TarWalk(self)

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the tar."""
        self._walk.feed(chunk)

    def finish(self) -> int:
        """The number. Raises ArchiveBroken when the tar is not whole."""
        self._walk.finish()
        return self._sum

    def member(self, member: Member) -> Sink:
        """Begin with the next file."""
        kind = "0" if member.is_file else member.kind
        text = f"{kind}\0{member.name}\0{member.link_target}\0"
        self._member = hashlib.sha256(text.encode("utf-8", "surrogateescape"))
        return self._member.update

    def end(self) -> None:
        """The file is complete."""
        self.count += 1
        self._sum = (self._sum + int.from_bytes(self._member.digest(), "big")) % _MODULUS


def drill_volume(
    site: Site,
    catalog: Catalog,
    manifest: Manifest,
    name: str,
    scratch: Scratch,
    progress: Progress,
) -> str:
    """Make the volume `name` with the files of the backup; how it was proven, as a clause.

    Raises DamagedBackup, DrillFailed, EngineError, StoreError.
    """
    record_of(catalog, manifest, site.identities)
    scratch.owes(f"volume {name}", partial(remove_volume, site.engine, name))
    make_volume(site.engine, name, {"Labels": scratch.labels})
    stored = Tree()
    with (
        helper(site.engine, site.state, HostMount(name, writable=True)) as through,
        received(site, catalog, manifest, progress) as plain,
    ):
        files = _followed(plain, stored, manifest)
        write_files(site.engine, through, name, files, origin=f"backup {manifest.id}")
    if _read_back(site, name) != stored.finish():
        raise DrillFailed(
            f"what was read back of the {stored.count} files of backup {manifest.id} is not what "
            "had been written"
        )
    return f"{stored.count} files written and read back"


def _followed(chunks: Iterator[bytes], tree: Tree, manifest: Manifest) -> Iterator[bytes]:
    try:
        for chunk in chunks:
            tree.feed(chunk)
            yield chunk
        tree.finish()
    except ArchiveBroken as error:
        raise DamagedBackup(f"backup {manifest.id} is damaged: {error}") from error


def _read_back(site: Site, name: str) -> int:
    tree = Tree()
    try:
        with helper(site.engine, site.state, HostMount(name)) as through:
            for chunk in open_files(site.engine, through, name):
                tree.feed(chunk)
        return tree.finish()
    except ArchiveBroken as error:
        raise DrillFailed(f"what was written to volume {name!r} cannot be read: {error}") from error
