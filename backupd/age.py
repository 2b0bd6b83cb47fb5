"""Encryption as streams, in age's format: whoever has an identity needs nothing but `age -d`.

Sits between compression and the digest of what is stored. The library transforms whole files in
one blocking call, so it runs in a thread of its own, fed through a short queue
(`backupd.stream.Driven`). On the way back nothing is trusted: what is cut or changed raises, and
nothing comes out that the key did not vouch for. Format: https://age-encryption.org/v1.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Generator, Iterable, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from backupd.age_keys import Identities, recipient_of
from backupd.codec import Compressor
from backupd.errors import DamagedBackup, NoKey
from backupd.stream import Driven

if TYPE_CHECKING:
    from backupd.age_keys import Recipient

SUFFIX = ".age"
LARGEST_HEADER_BYTES = 1 << 20
"""A thousand recipients with keys of RSA need less."""

_NONCE_BYTES = 16


class Encrypting:
    """A compressor whose output is encrypted for `recipients`; to be closed, whatever happened.

    The last bytes, without which nothing decrypts to its end, come from `flush` alone.
    """

    def __init__(self, inner: Compressor, recipients: Iterable[str]) -> None:
        """Raises ValueError for a recipient that is none."""
        keys = [recipient_of(text) for text in sorted(recipients)]
        self._inner = inner
        self._driven = Driven(partial(_encrypt, keys), name="age")
        self._head = b""
        self.header_sha256 = ""
        """SHA-256 of age's header in hex, empty before it has come out."""

    def compress(self, data: bytes, /) -> bytes:
        """The stored bytes that are ready; often none yet."""
        return self._seen(self._driven.feed(self._inner.compress(data)))

    def flush(self) -> bytes:
        """The last stored bytes; nothing may follow."""
        return self._seen(self._driven.feed(self._inner.flush()) + self._driven.finish())

    def close(self) -> None:
        """End its thread."""
        self._driven.close()

    def _seen(self, made: bytes) -> bytes:
        if not self.header_sha256 and made:
            self._head += made
            end = _header_end(self._head)
            if end:
                self.header_sha256 = hashlib.sha256(self._head[:end]).hexdigest()
                self._head = b""
        return made


def encrypted(data: bytes, recipients: Iterable[str]) -> tuple[bytes, str]:
    """A small object encrypted, and the SHA-256 of its header in hex."""
    import pyrage

    stored = pyrage.encrypt(data, [recipient_of(text) for text in sorted(recipients)])
    return stored, hashlib.sha256(stored[: _header_end(stored)]).hexdigest()


def decrypted(
    chunks: Iterable[bytes], identities: Identities, *, header_sha256: str | None = None
) -> Generator[bytes]:
    """The bytes that were encrypted; the header is read, and a key looked for, at once.

    To be closed, if it is not read to its end. Raises NoKey when no identity opens it,
    DamagedBackup when it is cut, changed or followed by anything. With the header's digest, a
    damaged header is never taken for another key's.
    """
    source = iter(chunks)
    head = b""
    while not _header_end(head) and len(head) <= LARGEST_HEADER_BYTES:
        chunk = next(source, None)
        if chunk is None:
            break
        head += chunk
    require_key(head, identities, header_sha256=header_sha256)
    return _decrypted(chain([head], source), identities)


def has_header(head: bytes) -> bool:
    """Whether these first bytes hold all of the header."""
    return _header_end(head) > 0


def require_key(head: bytes, identities: Identities, *, header_sha256: str | None = None) -> None:
    """Return when one of the identities opens what begins with `head`, a whole header or more.

    Raises NoKey, and DamagedBackup when the header is none, or not the one of this digest.
    """
    import pyrage

    end = _header_end(head)
    if not end:
        raise _damaged("it does not begin with a whole header")
    header = head[:end]
    if header_sha256 is not None and hashlib.sha256(header).hexdigest() != header_sha256:
        raise _damaged("its header is not the one that was stored")
    try:
        # Some nonce must follow before the library looks at keys; then the payload is missing.
        probe = io.BytesIO(header + bytes(_NONCE_BYTES))
        pyrage.decrypt_io(probe, io.BytesIO(), identities.keys)
    except OSError:
        return
    except pyrage.DecryptError as error:
        if "No matching keys" not in str(error):
            raise _damaged(str(error)) from error
    if not identities:
        raise NoKey("it is encrypted, and no identity is given")
    raise NoKey("it is encrypted, and none of the given identities opens it")


def _decrypted(chunks: Iterable[bytes], identities: Identities) -> Generator[bytes]:
    with Driven(partial(_decrypt, identities), name="age") as driven:
        for chunk in chunks:
            if plain := driven.feed(chunk):
                yield plain
        if plain := driven.finish():
            yield plain


def _encrypt(
    recipients: Sequence[Recipient], reader: io.BufferedIOBase, writer: io.BufferedIOBase
) -> None:
    import pyrage

    pyrage.encrypt_io(reader, writer, recipients)


def _decrypt(identities: Identities, reader: io.BufferedIOBase, writer: io.BufferedIOBase) -> None:
    import pyrage

    try:
        pyrage.decrypt_io(reader, writer, identities.keys)
    except (OSError, pyrage.DecryptError) as error:
        raise _damaged(str(error)) from error


def _header_end(head: bytes) -> int:
    """Where the header ends: after the line of its MAC; 0 where that has not come yet."""
    line = head.find(b"\n--- ", 0, LARGEST_HEADER_BYTES)
    return head.find(b"\n", line + 1, LARGEST_HEADER_BYTES) + 1 if line >= 0 else 0


def _damaged(cause: str) -> DamagedBackup:
    return DamagedBackup(f"cannot decrypt it: its age data is damaged ({cause.lower()})")
