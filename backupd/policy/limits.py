"""How much of the machine and its line backups may take, as the policy says it. Pure."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from backupd.policy.section import Section, SizeBytes, WholeNumber

SLOWEST_BYTES_A_SECOND = 64 << 10
"""At less, a block of the pipeline would take as long as a server waits for the next byte."""

Rate = Annotated[SizeBytes, Field(ge=SLOWEST_BYTES_A_SECOND)]
"""Bytes a second, written as a size."""


class Limits(Section):
    """What all work of one process together may take."""

    upload: Rate | None = None
    """Most bytes a second that go to the store, such as 20MiB; without it, as many as can."""
    download: Rate | None = None
    """Most bytes a second of archives that come from the store; without it, as many as can."""
    compression_threads: Annotated[WholeNumber, Field(ge=1, le=16)] = 1
    """Threads for each archive's zstd; each takes about 10 MiB of memory."""
