"""Check: would the jobs of this policy work now, and what would each of them back up?

Writes one small object to the store and deletes it again; changes nothing else anywhere.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from backupd.engine import Engine
from backupd.errors import StoreError
from backupd.layout import Kind, segment
from backupd.policy import Job
from backupd.site import Site
from backupd.sources import Source
from backupd.sources.select import Selection, select

PROBE_LIMIT_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Finding:
    """One source that a job selects now."""

    job: str
    kind: Kind
    name: str
    size_bytes: int
    """As the engine tells it; 0 for a volume."""
    changes: int | None
    """For a container: how many of its paths differ from its image (`docker diff`)."""
    warnings: tuple[str, ...]

    @property
    def advice(self) -> str:
        """For a container: whether saving its image would do."""
        if self.kind is Kind.VOLUME:
            return "no engine tells its size before it is read"
        if self.changes is None:
            return ""
        if self.changes == 0:
            return "unchanged: saving its image is enough"
        paths = "path differs" if self.changes == 1 else "paths differ"
        return f"changed: {self.changes} {paths} from its image, export it"


def probe_store(site: Site) -> str:
    """Write, read, list and delete one small object below the host's prefix. Raises StoreError.

    Why it could not be deleted; empty if it was.
    """
    key = f"{segment(site.host)}/probe/{secrets.token_hex(8)}"
    content = secrets.token_bytes(1024)
    site.store.put_bytes(key, content)
    try:
        if site.store.get_bytes(key, limit_bytes=PROBE_LIMIT_BYTES) != content:
            raise StoreError(
                f"cannot trust {site.store.url}: it gave back other bytes than were written; try "
                "`checksums: when_required` in the policy's store"
            )
        if key not in {entry.key for entry in site.store.list(key)}:
            raise StoreError(f"cannot list {site.store.url}: a written object is not shown")
    finally:
        refused = site.store.delete([key])
    return refused[0].cause if refused else ""


def selected(site: Site, name: str, job: Job) -> Selection:
    """What the job selects now. Raises EngineError."""
    return select(site.engine, name, job)


def findings(engine: Engine, job: str, selection: Selection) -> Iterator[Finding]:
    """Each selected source with its size, in the policy's order."""
    for source in selection.sources.values():
        yield _finding(engine, job, source)


def _finding(engine: Engine, job: str, source: Source) -> Finding:
    survey = source.survey(engine)
    container = survey.container
    return Finding(
        job=job,
        kind=source.kind,
        name=source.name,
        size_bytes=survey.size_bytes,
        changes=engine.changes(container.id) if container else None,
        warnings=survey.warnings,
    )
