"""An archive on its way back: nobody gets its end before all of it was seen to be right."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from backupd.errors import DamagedBackup
from backupd.stream.withheld import withheld


def verified(
    chunks: Iterable[bytes],
    *,
    size_bytes: int,
    sha256: str,
    hold_back_bytes: int = 1 << 20,
    what: str,
) -> Iterator[bytes]:
    """The same bytes; at least the last `hold_back_bytes` come only once size and digest matched.

    Engines act on the end of a tar, so one that never comes keeps a damaged archive from being
    loaded. Raises DamagedBackup, which names `what`: at the first byte too many, and at the end
    when bytes are missing or differ. `sha256` is in hex. No empty piece is ever yielded.
    """
    digest = hashlib.sha256()
    passed_bytes = 0

    def counted() -> Iterator[bytes]:
        nonlocal passed_bytes
        for chunk in chunks:
            passed_bytes += len(chunk)
            if passed_bytes > size_bytes:
                raise DamagedBackup(f"{what} is damaged: it holds more than its {size_bytes} bytes")
            digest.update(chunk)
            yield chunk

    def match() -> None:
        if passed_bytes < size_bytes:
            raise DamagedBackup(
                f"{what} is damaged: it ends after {passed_bytes} of its {size_bytes} bytes"
            )
        if digest.hexdigest() != sha256:
            raise DamagedBackup(f"{what} is damaged: its SHA-256 is not the one in its manifest")

    return withheld(counted(), match, hold_back_bytes)
