"""Which backups make up a Compose project at one moment. Making them run is `recreate`'s business.

The containers of a project are known by the manifests, which hold what Compose's labels said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

from backupd.catalog import Catalog
from backupd.errors import DamagedBackup, NotFound, UsageError
from backupd.layout import DAMAGED, BackupKey, Kind
from backupd.manifest import Manifest
from backupd.verbs.recreate_from import Stored
from backupd.verbs.restore_image import Say

_LOOK_BACK = 5
"""How many backups of each container are searched for a moment that all have in common."""


def stack_of(catalog: Catalog, project: str, *, at: datetime | None, say: Say) -> list[Stored]:
    """A backup of each container of the project, none after `at`.

    All of one moment where there is one that all of them have; else the newest of each, and what
    lies between them is said. Raises NotFound, UsageError.
    """
    if not project:
        raise UsageError("cannot restore a stack without a name: name a Compose project")
    members = _members(catalog, project, at)
    if not members:
        when = f" at {at:%F %T} UTC" if at else ""
        raise NotFound(
            f"cannot find a container of project {project!r}{when} from host {catalog.host!r} in "
            f"{catalog.store.url}; backups made before projects were recorded do not count"
        )
    chosen = _at_one_moment(members) or [manifests[0] for manifests in members.values()]
    times = [manifest.taken_at for manifest in chosen]
    if len({manifest.moment or manifest.id for manifest in chosen}) > 1:
        say(
            f"the containers of {project} were not read at one moment: "
            f"{max(times) - min(times)} lie between the first and the last"
        )
    return [Stored(catalog, manifest) for manifest in chosen]


def _members(catalog: Catalog, project: str, at: datetime | None) -> dict[str, Sequence[Manifest]]:
    """Container → its last backups, newest first, of those whose newest is of the project."""
    by_name: dict[str, list[BackupKey]] = defaultdict(list)
    for backup in reversed(catalog.backups()):
        fits = backup.kind is Kind.CONTAINER and DAMAGED not in backup.states
        if fits and (at is None or backup.taken_at <= at):
            by_name[backup.name].append(backup)
    found: dict[str, Sequence[Manifest]] = {}
    for name, backups in by_name.items():
        newest = catalog.manifest(backups[0])
        if newest.container is not None and newest.container.project == project:
            earlier = _readable(catalog, backups[1:_LOOK_BACK]) if newest.moment else []
            found[name] = [newest, *earlier]
    return found


def _readable(catalog: Catalog, backups: Sequence[BackupKey]) -> list[Manifest]:
    found = []
    for backup in backups:
        try:
            found.append(catalog.manifest(backup))
        except DamagedBackup:
            continue
    return found


def _at_one_moment(members: Mapping[str, Sequence[Manifest]]) -> list[Manifest]:
    """One backup of each, all of the newest moment that all have; empty where there is none."""
    by_moment = [
        {manifest.moment: manifest for manifest in manifests if manifest.moment}
        for manifests in members.values()
    ]
    for moment in by_moment[0]:
        if all(moment in each for each in by_moment):
            return [each[moment] for each in by_moment]
    return []
