"""Volumes, and directories of the host that containers mount: their files, owners and modes.

The engine reads them through a helper container that mounts the volume read-only and never runs;
see `backupd.volume_access`. That their files agree with each other is the business of the
containers that mount them: a volume is read while those of its job stand still.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

from backupd.engine import Engine, Inspect
from backupd.engine_link import EngineStream
from backupd.layout import Kind
from backupd.manifest import Volume
from backupd.policy import AS_IT_IS
from backupd.sources import Check, Survey
from backupd.tar import TarWalk
from backupd.volume_access import HostMount, inspect_volume, open_files, users_of

_GUESS_BYTES = 120 << 30
"""What a volume may hold: no engine tells its size without looking at every volume it has. Parts
of the smallest size carry as much; an earlier, larger backup raises it."""


@dataclass(frozen=True, slots=True)
class VolumeSource:
    """One volume by its name, or one directory of the host by its path."""

    name: str
    beside: frozenset[str] = frozenset()
    """Names of the job's containers that mount it."""
    kind = Kind.VOLUME
    consistency = AS_IT_IS
    needs: ClassVar[frozenset[str]] = frozenset()
    spools_first = False

    @property
    def mount(self) -> HostMount:
        """What a helper has to mount."""
        return HostMount(self.name)

    def survey(self, engine: Engine) -> Survey:
        """Inspect of the volume, and who mounts it. Raises NotFound."""
        inspect = None if self.mount.is_path else inspect_volume(engine, self.name)
        facts = volume_facts(self.name, inspect, users_of(engine, self.name))
        return Survey(
            size_bytes=0,
            overhead_bytes=_GUESS_BYTES,
            volume=facts,
            record=record_of(self.name, inspect),
        )

    def open(self, engine: Engine, survey: Survey) -> EngineStream:
        """The tar of its files, each name beginning with `./`."""
        return open_files(engine, survey.helper, self.name)

    def check(self, survey: Survey) -> Check:
        """That the tar is whole: engines end it cleanly when a file shrank while it was read."""
        return TarWalk()


def volume_facts(name: str, inspect: Inspect | None, mounted_by: list[str]) -> Volume:
    """The manifest's part of one volume; nothing of it is secret, as a driver's options may be."""
    if inspect is None:
        return Volume(name=name, path=name, mounted_by=tuple(mounted_by))
    return Volume(
        name=name,
        driver=inspect.get("Driver") or "",
        scope=inspect.get("Scope") or "",
        mounted_by=tuple(mounted_by),
    )


def record_of(name: str, inspect: Inspect | None) -> bytes:
    """The record of inspect: all that it takes to make the volume anew. May hold secrets."""
    record = {"schema": 1, "volume": inspect, "path": None if inspect else name}
    return json.dumps(record, indent=1, sort_keys=True).encode() + b"\n"
