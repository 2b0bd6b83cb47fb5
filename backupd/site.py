"""One backupd at work: an engine, a store and the state of this machine, passed along.

Verbs take a `Site` and never reach for a global; a test builds one with a clock of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from backupd.age_keys import Identities
from backupd.catalog import Catalog
from backupd.engine import Engine
from backupd.state import StateDir
from backupd.stores import Store
from backupd.stream import Cancel
from backupd.turns import Turns


@dataclass(frozen=True, slots=True)
class Site:
    """Everything that a verb works with."""

    host: str
    """The name under which this machine backs up."""
    engine: Engine
    store: Store
    state: StateDir
    now: Callable[[], datetime]
    """The time as aware UTC."""
    reuse_max_age: timedelta = timedelta(days=30)
    identities: Identities = Identities()  # noqa: RUF009  # frozen
    """Private keys that open encrypted backups; none, unless somebody brought them."""
    compression_threads: int = 1
    """For each archive."""
    cancel: Cancel = field(default_factory=Cancel)
    turns: Turns = field(default_factory=Turns)
    """Shared by all runs of a process: how many sources are read at a time."""

    @property
    def catalog(self) -> Catalog:
        """This host's part of the store."""
        return Catalog(self.store, self.host)
