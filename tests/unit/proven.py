"""Backups with real archives on a directory's shelf, to be read back, damaged and proven."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import zstandard

from backupd.catalog import new_archive_id
from backupd.layout import BackupKey, Kind, archive_key
from backupd.manifest import Archive, Manifest
from backupd.proof import Depth
from backupd.stores.directory import DirectoryStore
from backupd.verbs.examine import Finding
from backupd.verbs.verify import Audience, verify
from tests.contract.shelves import HOST, NOW, Shelf

CONTAINER = "web"


def tar_of(text: str) -> bytes:
    """A tar of one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo("file")
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def archive_of(shelf: Shelf, plain: bytes, **changes: Any) -> Archive:
    """An archive in the store that holds `plain`, described rightly but for the changes."""
    stored = zstandard.ZstdCompressor(write_checksum=True).compress(plain)
    return stored_archive(shelf, plain, stored, ".zst", **changes)


def stored_archive(
    shelf: Shelf, plain: bytes, stored: bytes, suffix: str, **changes: Any
) -> Archive:
    """The same, where `plain` is coded as `stored` and the key ends in `suffix`."""
    archive_id = new_archive_id(hashlib.sha256(os.urandom(8)).hexdigest()[:16])
    key = archive_key(shelf.host, Kind.CONTAINER, CONTAINER, archive_id, suffix)
    shelf.store.put_bytes(key, stored)
    facts = {
        "id": archive_id,
        "key": key,
        "compression": "zstd",
        "level": 3,
        "size_bytes": len(plain),
        "sha256": hashlib.sha256(plain).hexdigest(),
        "stored_bytes": len(stored),
        "stored_sha256": hashlib.sha256(stored).hexdigest(),
        "made_at": NOW,
    }
    return Archive.model_validate({**facts, **changes})


def make_shelf(directory: Path) -> Shelf:
    """An empty shelf that is this machine's own."""
    shelf = Shelf(DirectoryStore(directory / "store"), directory, host=HOST)
    shelf.catalog.claim(shelf.state.machine_id(), shelf.now)
    return shelf


def add(
    shelf: Shelf, age: timedelta = timedelta(), *, text: str = "content", **options: Any
) -> Manifest:
    """A container's backup, whole."""
    own = options.pop("archive", None) or archive_of(shelf, tar_of(text))
    return shelf.add(age, kind=Kind.CONTAINER, name=CONTAINER, archive=own, **options)


def backup_of(shelf: Shelf, manifest: Manifest) -> BackupKey:
    """The backup as the listing shows it now."""
    (found,) = [one for one in shelf.catalog.backups() if one.id == manifest.id]
    return found


def mark(shelf: Shelf, manifest: Manifest, state: str, at: datetime) -> None:
    """Put a backup into a state, as if that had been done at `at`."""
    key = manifest.key.state_key(state)
    shelf.store.put_bytes(key, b"")
    path = shelf.directory / "store" / key
    os.utime(path, (at.timestamp(), at.timestamp()))


def flip(shelf: Shelf, key: str) -> None:
    """Change one bit in the middle of an object."""
    path = shelf.directory / "store" / key
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


class Ear:
    """Hears how a verify goes."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.audience = Audience(lambda _: lambda _: None, lambda _: None, self.notes.append)


def look(shelf: Shelf, depth: Depth = Depth.DATA, ear: Ear | None = None) -> list[Finding]:
    """Verify everything on the shelf."""
    catalog, audience = shelf.catalog, (ear or Ear()).audience
    return verify(shelf.site, catalog, catalog.backups(), depth, audience)
