"""Restore from a bare archive: a file, a URL or standard input, with no store and no manifest.

What can be checked without a manifest is: the tar must be whole, and its last bytes are withheld
from the engine until it is. The archive may be compressed (zstd, gzip, bzip2, xz) or plain, and all
of that may be encrypted by age.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path

import requests

from backupd.age import decrypted
from backupd.age_keys import AGE_MAGIC, Identities
from backupd.codec import sniffed
from backupd.engine import Engine, split_tag
from backupd.errors import ArchiveBroken, DamagedBackup, NoKey, StoreError, UsageError
from backupd.image_tar import retagged
from backupd.redaction import shown_address
from backupd.stream import chunks_of, withheld
from backupd.tar import TarWalk
from backupd.verbs.output import write_tar
from backupd.verbs.restore_container import ImportOptions
from backupd.verbs.restore_image import Say

BLOCK_BYTES = 1 << 20
_TIMEOUT_SECONDS = (10, 300)


def load_bare(
    engine: Engine,
    origin: str,
    identities: Identities,
    *,
    tag: str | None,
    platform: str | None,
    say: Say,
) -> list[str]:
    """`docker load` of a bare archive; the names or ids that the engine says it loaded."""
    with _opened(origin, identities) as chunks:
        tar = retagged(chunks, [tag]) if tag else chunks
        loaded = []
        for line in engine.load(tar, platform=platform):
            say(line.strip())
            if line.startswith(("Loaded image: ", "Loaded image ID: ")):
                loaded += [name.strip() for name in line.split(": ", 1)[1].split(",")]
    if not loaded:
        raise DamagedBackup(
            f"the engine loaded no image from {shown_address(origin)}: is it a `docker save` tar?"
        )
    return loaded


def import_bare(
    engine: Engine,
    origin: str,
    identities: Identities,
    *,
    reference: str | None,
    options: ImportOptions,
) -> str:
    """`docker import` of a bare archive; the new image's id. Its meaning is Docker's own."""
    repository, tag = split_tag(reference) if reference else (None, None)
    with _opened(origin, identities) as chunks:
        return engine.import_image(
            chunks,
            repository=repository,
            tag=tag,
            changes=options.changes,
            message=options.message,
            platform=options.platform,
        )


def write_bare(origin: str, identities: Identities, target: str, *, tag: str | None) -> int:
    """The plain tar of a bare archive, written to `target`; its size in bytes.

    `tag` is the name that the one image in it gets, None for what it has.
    """
    with _opened(origin, identities) as chunks:
        return write_tar(retagged(chunks, [tag]) if tag else chunks, target)


@contextmanager
def _opened(origin: str, identities: Identities) -> Iterator[Iterator[bytes]]:
    """The plain tar behind `origin`; its end comes only when the tar was seen to be whole."""
    with _stored(origin) as stored, _unsealed(stored, origin, identities) as compressed:
        method, rest = sniffed(compressed)
        del method
        yield _whole(rest, origin)


@contextmanager
def _unsealed(
    stored: Iterator[bytes], origin: str, identities: Identities
) -> Iterator[Iterator[bytes]]:
    """The same without age's encryption, where it begins so."""
    head = b""
    while len(head) < len(AGE_MAGIC) and (chunk := next(stored, None)) is not None:
        head += chunk
    whole = chain([head] if head else [], stored)
    if not head.startswith(AGE_MAGIC):
        yield whole
        return
    try:
        opened = decrypted(whole, identities)
    except NoKey as error:
        raise NoKey(
            f"cannot restore from {shown_address(origin)}: {error}; give its key by --identity FILE"
        ) from error
    with closing(opened):
        yield opened


def _whole(chunks: Iterator[bytes], origin: str) -> Iterator[bytes]:
    walk = TarWalk()

    def fed() -> Iterator[bytes]:
        for chunk in chunks:
            walk.feed(chunk)
            yield chunk

    def finish() -> None:
        walk.finish()
        if not walk.members:
            # An engine imports an empty tar without a word: an image with nothing in it.
            raise ArchiveBroken("it holds no files")

    try:
        yield from withheld(fed(), finish)
    except ArchiveBroken as error:
        raise DamagedBackup(f"cannot restore from {shown_address(origin)}: {error}") from error


@contextmanager
def _stored(origin: str) -> Iterator[Iterator[bytes]]:
    if origin == "-":
        yield chunks_of(sys.stdin.buffer, BLOCK_BYTES)
    elif origin.startswith(("http://", "https://")):
        with _answer(origin) as chunks:
            yield chunks
    elif "://" in origin:
        raise UsageError(
            f"cannot read from {shown_address(origin)!r}: --from takes a file, an http(s) URL or -"
        )
    else:
        yield _file(origin)


# Errors of reading are translated where they arise: the upload to the engine is fed by these, and
# would take any OSError, requests' own among them, for a broken connection to the engine.


def _file(path: str) -> Iterator[bytes]:
    try:
        with Path(path).open("rb") as handle:
            yield from chunks_of(handle, BLOCK_BYTES)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


@contextmanager
def _answer(url: str) -> Iterator[Iterator[bytes]]:
    shown = shown_address(url)
    try:
        answer = requests.get(url, stream=True, timeout=_TIMEOUT_SECONDS)
    except requests.exceptions.RequestException as error:
        raise StoreError(f"cannot download {shown}: the server cannot be reached") from error
    with answer:
        if answer.status_code != requests.codes.ok:
            raise StoreError(f"cannot download {shown}: HTTP {answer.status_code}")
        yield _downloaded(answer, shown)


def _downloaded(answer: requests.Response, shown: str) -> Iterator[bytes]:
    try:
        yield from answer.iter_content(BLOCK_BYTES)
    except requests.exceptions.RequestException as error:
        raise StoreError(f"cannot download {shown}: the server broke off the transfer") from error
