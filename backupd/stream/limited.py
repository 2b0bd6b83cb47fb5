"""No more bytes than there should be: whoever wrote an object may have written one without end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from backupd.errors import DamagedBackup


def limited(chunks: Iterable[bytes], size_bytes: int, *, what: str) -> Iterator[bytes]:
    """The same bytes; at the first one too many DamagedBackup, which names `what`.

    What decodes them need not make a single byte of them (a frame that decoders pass over), so the
    limit of what comes out is none of what goes in.
    """
    passed_bytes = 0
    for chunk in chunks:
        passed_bytes += len(chunk)
        if passed_bytes > size_bytes:
            raise DamagedBackup(
                f"{what} is damaged: more than its {size_bytes} stored bytes came from the store"
            )
        yield chunk
