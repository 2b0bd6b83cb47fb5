"""Encryption on the way out, and keys on the way back.

A host that backs up knows public keys alone. Whoever reads back brings identities, in
`Site.identities`; whether one of them fits is found out before anything on an engine is touched.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager

from backupd import age
from backupd.age_keys import Identities
from backupd.catalog import Catalog
from backupd.codec import Compressor, compressor, suffix
from backupd.errors import DamagedBackup, NoKey, ObjectMissing
from backupd.manifest import Encryption, Manifest
from backupd.policy import Compression
from backupd.stream import chunks_of

_HEAD_BYTES = 64 << 10
_TOLD_RECIPIENTS = 5
_TOLD_SIGNS = 70


class Encoder:
    """How one archive is coded on its way out: compressed, and for recipients encrypted."""

    def __init__(self, compressor: Compressor, recipients: Collection[str]) -> None:
        self._recipients = recipients
        self._encrypting = age.Encrypting(compressor, recipients) if recipients else None
        self.compressor: Compressor = self._encrypting or compressor
        """What its plain bytes go through."""

    @property
    def encryption(self) -> Encryption | None:
        """What the manifest tells of it, once the last byte is there."""
        if self._encrypting is None:
            return None
        return _described(self._recipients, self._encrypting.header_sha256)

    def close(self) -> None:
        """End what runs beside it."""
        if self._encrypting is not None:
            self._encrypting.close()


@contextmanager
def encoder(
    compression: Compression, recipients: Collection[str], *, threads: int = 1
) -> Iterator[Encoder]:
    """The coding of one archive, for the length of the block."""
    beside = threads if threads > 1 else 0  # one alone compresses where it is called
    coder = compressor(compression.method.value, compression.level, threads=beside)
    made = Encoder(coder, recipients)
    try:
        yield made
    finally:
        made.close()


def archive_suffix(compression: Compression, recipients: Collection[str]) -> str:
    """What an archive's key ends in: `.zst`, `.zst.age`."""
    return suffix(compression.method.value) + record_suffix(recipients)


def record_suffix(recipients: Collection[str]) -> str:
    """What the key of a record ends in besides: `.age`, or nothing."""
    return age.SUFFIX if recipients else ""


def sealed(data: bytes, recipients: Collection[str]) -> tuple[bytes, Encryption | None]:
    """A small object as it is stored, and what the manifest tells of its encryption."""
    if not recipients:
        return data, None
    stored, header_sha256 = age.encrypted(data, recipients)
    return stored, _described(recipients, header_sha256)


def _described(recipients: Collection[str], header_sha256: str) -> Encryption:
    return Encryption(
        format="age", recipients=tuple(sorted(recipients)), header_sha256=header_sha256
    )


def record_of(catalog: Catalog, manifest: Manifest, identities: Identities) -> bytes | None:
    """The backup's record of inspect in the clear; None where it has none.

    Raises DamagedBackup, NoKey.
    """
    return opened_record(manifest, catalog.record(manifest), identities)


def opened_record(manifest: Manifest, data: bytes | None, identities: Identities) -> bytes | None:
    """The same of a record as it is stored."""
    if data is None or manifest.record is None or manifest.record.encryption is None:
        return data
    encryption = manifest.record.encryption
    try:
        return b"".join(age.decrypted([data], identities, header_sha256=encryption.header_sha256))
    except NoKey as error:
        raise no_key(manifest, encryption, error) from error
    except DamagedBackup as error:
        raise DamagedBackup(
            f"backup {manifest.id} is damaged: its record of inspect: {error}"
        ) from error


@contextmanager
def unsealed(
    stored: Iterator[bytes], manifest: Manifest, identities: Identities
) -> Iterator[Iterator[bytes]]:
    """The archive's compressed bytes; where it is encrypted, the key is tried at once.

    Raises NoKey. DamagedBackup, also out of the iteration, does not say whose.
    """
    encryption = manifest.archive.encryption
    if encryption is None:
        yield stored
        return
    try:
        opened = age.decrypted(stored, identities, header_sha256=encryption.header_sha256)
    except NoKey as error:
        raise no_key(manifest, encryption, error) from error
    with closing(opened):
        yield opened


def require_key(catalog: Catalog, manifest: Manifest, identities: Identities) -> None:
    """Return unless the archive is encrypted and none of the identities opens it.

    Reads its first bytes alone. Raises NoKey, DamagedBackup, StoreError.
    """
    encryption = manifest.archive.encryption
    if encryption is None:
        return
    try:
        reader = catalog.store.open(manifest.archive.key)
    except ObjectMissing as error:
        raise missing(catalog, manifest) from error
    try:
        head = b""
        for chunk in chunks_of(reader, _HEAD_BYTES):
            head += chunk
            if age.has_header(head) or len(head) > age.LARGEST_HEADER_BYTES:
                break
        age.require_key(head, identities, header_sha256=encryption.header_sha256)
    except NoKey as error:
        raise no_key(manifest, encryption, error) from error
    except DamagedBackup as error:
        raise DamagedBackup(f"backup {manifest.id} is damaged: {error}") from error
    finally:
        reader.close()


def missing(catalog: Catalog, manifest: Manifest) -> DamagedBackup:
    """The error of a backup whose archive is not there."""
    return DamagedBackup(
        f"backup {manifest.id} is damaged: its archive {manifest.archive.key} is missing from "
        f"{catalog.store.url}"
    )


def no_key(manifest: Manifest, encryption: Encryption, cause: NoKey) -> NoKey:
    """The error of a backup that no identity opens, with whose would."""
    return NoKey(
        f"cannot read backup {manifest.id} of {manifest.kind} {manifest.name}: {cause}; "
        f"give the private key of {told(encryption.recipients)} with --identity FILE"
    )


def told(recipients: Collection[str]) -> str:
    """Recipients for a person: each in as many signs as tell it from others."""
    names = [
        one if len(one) <= _TOLD_SIGNS else f"{one[:20]}…{one[-20:]}"
        for one in list(recipients)[:_TOLD_RECIPIENTS]
    ]
    more = len(recipients) - len(names)
    return " or ".join(names) + (f" or {more} others" if more else "")
