"""Streams of an archive's bytes, between an engine's socket and a store.

Invariants:
- Memory is bounded, whatever the size: each stage holds a block or two, `Prefetched` and `Driven`
  their queues, `ArchiveReader` the one part that it was asked for.
- No end without proof: the last stored bytes are handed out only after the tar's check passed,
  and the last plain bytes only after size and SHA-256 matched. Until then a failure is an
  exception out of the stream, never an end of it.
- Nothing waits for ever: an engine's silence is an error after a set time, a cancel wakes whoever
  waits, and no reader's thread outlives its block unless the system call it is in cannot be ended.

No network, no files, no knowledge of engines or stores: sources are iterators of bytes.
"""

from backupd.stream.archive import ArchiveReader, Check
from backupd.stream.blocks import chunks_of, rebuffered
from backupd.stream.cancel import Cancel
from backupd.stream.driven import Driven
from backupd.stream.limited import limited
from backupd.stream.prefetch import Prefetched
from backupd.stream.verified import verified
from backupd.stream.withheld import withheld

__all__ = [
    "ArchiveReader",
    "Cancel",
    "Check",
    "Driven",
    "Prefetched",
    "chunks_of",
    "limited",
    "rebuffered",
    "verified",
    "withheld",
]
