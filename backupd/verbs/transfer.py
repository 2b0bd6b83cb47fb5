"""One archive's way between engine and store.

Out: engine socket → 1 MiB blocks → (queue) → tar check, SHA-256 → compression (→ encryption) →
SHA-256 → upload. Back: store → (queue) (→ decryption) → decompression → SHA-256, with the last
bytes withheld until all matches.
Nothing is staged on disk; memory is bounded by the parts in flight.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import chain, islice

from backupd.catalog import Catalog
from backupd.codec import decompressed
from backupd.engine_link import EngineStream
from backupd.errors import DamagedBackup, EngineError, EngineStalled, ObjectMissing, StoreError
from backupd.layout import archive_key
from backupd.manifest import Archive, Manifest
from backupd.policy import Compression
from backupd.site import Site
from backupd.sources import Source, Survey
from backupd.stream import ArchiveReader, Prefetched, chunks_of, limited, rebuffered, verified
from backupd.verbs.sealing import archive_suffix, encoder, missing, unsealed
from backupd.volume_access import helper

BLOCK_BYTES = 1 << 20
"""What one step of the pipeline handles: the engine's 32 KiB pieces cost too many steps."""

Progress = Callable[[int], None]
"""Told how many plain bytes have passed so far."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where one archive goes, and how it is coded on its way."""

    archive_id: str
    compression: Compression
    estimate_bytes: int
    recipients: frozenset[str] = frozenset()
    """For whom it is encrypted; empty for nobody."""


def send_archive(
    site: Site, source: Source, survey: Survey, destination: Destination, *, progress: Progress
) -> Archive:
    """Stream the source into the store; the archive as the store was seen to hold it.

    Raises ArchiveBroken when the tar is not whole, EngineError, StoreError; in each case no object
    and no unfinished upload is left.
    """
    compression, recipients = destination.compression, destination.recipients
    ending = archive_suffix(compression, recipients)
    key = archive_key(site.host, source.kind, source.name, destination.archive_id, ending)
    made_at = site.now()
    with ExitStack() as stack:
        if source.spools_first:
            require_spool_space(site, survey)
            engine_id = site.engine.version().id
            stack.enter_context(site.state.queue_for_save(engine_id, "back up", site.cancel))
        if source.mount is not None:
            through = stack.enter_context(helper(site.engine, site.state, source.mount))
            survey = replace(survey, helper=through)
        blocks = stack.enter_context(_opened(site, source, survey))
        coding = stack.enter_context(
            encoder(compression, recipients, threads=site.compression_threads)
        )
        reader = ArchiveReader(
            blocks, source.check(survey), coding.compressor, on_progress=progress
        )
        stack.enter_context(site.cancel.closing(lambda: site.store.give_up(key)))
        stored = site.store.put(key, reader, estimate_bytes=destination.estimate_bytes)
    if stored != reader.stored_bytes:
        site.store.delete([key])
        raise StoreError(
            f"cannot trust {site.store.url}/{key}: {reader.stored_bytes} bytes were sent and the "
            f"store holds {stored}; try `checksums: when_required` in the policy's store"
        )
    return Archive(
        id=destination.archive_id,
        key=key,
        compression=compression.method.value,
        level=compression.level,
        size_bytes=reader.size_bytes,
        sha256=reader.sha256,
        stored_bytes=reader.stored_bytes,
        stored_sha256=reader.stored_sha256,
        made_at=made_at,
        encryption=coding.encryption,
    )


@contextmanager
def _opened(site: Site, source: Source, survey: Survey) -> Iterator[Iterator[bytes]]:
    """The source's blocks, the first one already there, so that a 404 opens no upload."""
    opened: list[EngineStream] = []

    def blocks() -> Iterator[bytes]:
        # In the reader's thread: a save blocks here until the engine has spooled the image.
        opened.append(source.open(site.engine, survey))
        pieces = iter(opened[0])
        # The first piece at once: from then on silence is a stall, not the engine's spooling.
        yield from islice(pieces, 1)
        yield from rebuffered(pieces, BLOCK_BYTES)

    def abort() -> None:
        for stream in opened:
            stream.abort()

    limits = site.engine.spec
    first = limits.save_timeout if source.spools_first else limits.stall_timeout
    with Prefetched(
        blocks(),
        first_timeout_seconds=first.total_seconds(),
        stall_timeout_seconds=limits.stall_timeout.total_seconds(),
        on_abort=abort,
        cancel=site.cancel,
    ) as ready:
        pending = iter(ready)
        head = next(pending, b"")
        yield chain([head] if head else [], pending)


def require_spool_space(site: Site, survey: Survey) -> None:
    """Raise EngineError when the engine's disk cannot hold the copy that a save stages first.

    Engines with graph drivers write the whole image below their data root before the first byte;
    a full disk there hurts more than a missing backup. Known only for an engine on this machine.
    """
    version = site.engine.version()
    if not site.engine.host.startswith("unix://") or version.storage_driver == "overlayfs":
        return
    try:
        free_bytes = shutil.disk_usage(version.data_root).free
    except OSError:
        return
    if free_bytes < survey.estimate_bytes:
        raise EngineError(
            f"cannot save: the engine stages the image in {version.data_root}, which has "
            f"{free_bytes >> 20} MiB free, and this one needs {survey.estimate_bytes >> 20} MiB; "
            "free some space there"
        )


@contextmanager
def received(
    site: Site,
    catalog: Catalog,
    manifest: Manifest,
    progress: Progress,
    *,
    on_stored: Callable[[bytes], object] = lambda _: None,
) -> Iterator[Iterator[bytes]]:
    """The plain tar of a backup; its last bytes come only when size and SHA-256 have matched.

    `on_stored` is given the stored bytes as they come, by another thread, all before the end.

    Raises NoKey at once, before a byte is handed out. Iterating raises DamagedBackup, StoreError or
    Cancelled; whoever consumes it must not take a raised error for an end.
    """
    with ExitStack() as stack:
        stored = stack.enter_context(stored_archive(site, catalog, manifest, on_stored=on_stored))
        with _named(manifest):
            opened = stack.enter_context(unsealed(stored, manifest, site.identities))
        plain = verified(
            _decoded(opened, manifest),
            size_bytes=manifest.archive.size_bytes,
            sha256=manifest.archive.sha256,
            what=f"backup {manifest.id}",
        )
        yield _counted(plain, progress)


@contextmanager
def stored_archive(
    site: Site,
    catalog: Catalog,
    manifest: Manifest,
    *,
    on_stored: Callable[[bytes], object] = lambda _: None,
) -> Iterator[Iterator[bytes]]:
    """A backup's archive as it is stored, and no more of it than its manifest says.

    Iterating raises DamagedBackup, StoreError, Cancelled, and EngineStalled for a silent store.
    """
    archive = manifest.archive
    stall = site.engine.spec.stall_timeout.total_seconds()
    with ExitStack() as stack:
        stack.enter_context(site.state.reading(archive.id))
        try:
            reader = catalog.store.open(archive.key)
        except ObjectMissing as error:
            raise missing(catalog, manifest) from error
        stack.callback(reader.close)
        stored = stack.enter_context(
            Prefetched(
                _shown(chunks_of(reader, BLOCK_BYTES), on_stored),
                first_timeout_seconds=stall,
                stall_timeout_seconds=stall,
                on_abort=reader.close,
                cancel=site.cancel,
                silent=catalog.store.url,
            )
        )
        yield limited(stored, archive.stored_bytes, what=f"backup {manifest.id}")


def _shown(chunks: Iterator[bytes], to: Callable[[bytes], object]) -> Iterator[bytes]:
    for chunk in chunks:
        to(chunk)
        yield chunk


def _decoded(compressed: Iterator[bytes], manifest: Manifest) -> Iterator[bytes]:
    """The plain bytes; an error in them says whose they are."""
    with _named(manifest):
        yield from decompressed(compressed, manifest.archive.compression)


@contextmanager
def _named(manifest: Manifest) -> Iterator[None]:
    """Errors in the block say whose they are."""
    whose = f"backup {manifest.id} is damaged"
    try:
        yield
    except DamagedBackup as error:
        if str(error).startswith(whose):
            raise
        raise DamagedBackup(f"{whose}: {error}") from error
    except EngineStalled as error:
        raise StoreError(f"cannot read backup {manifest.id}: {error}") from error


def _counted(chunks: Iterator[bytes], progress: Progress) -> Iterator[bytes]:
    done = 0
    for chunk in chunks:
        yield chunk
        done += len(chunk)
        progress(done)
