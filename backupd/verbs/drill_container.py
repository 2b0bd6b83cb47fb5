"""The drill of a container: bring it back beside everything that is there, start it, and watch.

Its image is made of its export, its volumes are filled from their backups, and it is alone on a
network without a way out. What it looks like there is decided in `backupd.drill_plan`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from backupd import drill_plan
from backupd.container_body import Ran, mounts_of
from backupd.drill_plan import Names, Outlook, Patience, health_of, judged, patience
from backupd.engine import Engine, Inspect
from backupd.engine_create import make_container, make_network, remove_container, remove_network
from backupd.engine_exec import Command, run_inside
from backupd.errors import DamagedBackup, DrillFailed, EngineError, EngineUnreachable, NotRestorable
from backupd.layout import BackupKey
from backupd.manifest import Manifest
from backupd.policy import Trial
from backupd.site import Site
from backupd.verbs.drill_scratch import Scratch
from backupd.verbs.drill_volume import drill_volume
from backupd.verbs.records import container_record, ran_of, understood
from backupd.verbs.recreate_from import Stored, damaged_since, volume_backup
from backupd.verbs.restore_container import Back, restore_container
from backupd.verbs.sealing import record_of, require_key
from backupd.verbs.transfer import Progress

_LOOK_SECONDS = 0.2
_LONGEST_LINE = 200


@dataclass(frozen=True, slots=True)
class CameUp:
    """A container that passed."""

    how: str
    """A clause."""
    volumes: Sequence[Manifest]
    """The backups of its volumes, restored for it."""


class BadVolume(DamagedBackup):
    """A container cannot be drilled since the backup of a volume of it is damaged."""

    def __init__(self, backup: BackupKey | None, cause: str) -> None:
        super().__init__(cause)
        self.backup = backup
        """Which one, where that is known."""


def drill_container(
    site: Site,
    stored: Stored,
    backups: Sequence[BackupKey],
    trial: Trial,
    scratch: Scratch,
    progress: Progress,
) -> CameUp:
    """Start the container of the backup and wait until it has come up; `backups` are all there are.

    Raises NotRestorable for one that cannot be drilled, DrillFailed, DamagedBackup, EngineError,
    StoreError, Cancelled.
    """
    ran = _ran(site, stored)
    volumes = _volumes(stored, backups, ran)
    with understood(stored.manifest):
        reasons = drill_plan.refusals(ran, volumes)
        patient = patience(ran, trial.seconds)
    if reasons:
        raise NotRestorable(f"it {', '.join(reasons)}")
    for one in volumes.values():
        require_key(one.catalog, one.manifest, site.identities)
    names = Names(
        image=scratch.image(),
        network=scratch.name,
        volumes={source: scratch.volume(number) for number, source in enumerate(volumes, 1)},
        labels=scratch.labels,
        empty=[source for source, one in volumes.items() if one.may_be_empty],
    )
    _image(site, stored, names, scratch, progress)
    for source, one in volumes.items():
        _volume(site, one, names.volumes[source], scratch)
    _start(site.engine, ran, names, scratch)
    how = _come_up(site, scratch.name, patient, trial)
    return CameUp(how, [one.manifest for one in volumes.values()])


def _ran(site: Site, stored: Stored) -> Ran:
    data = record_of(stored.catalog, stored.manifest, site.identities)
    if data is None:
        raise NotRestorable("there is no record of how it ran")
    return ran_of(stored.manifest, container_record(stored.manifest, data))


def _volumes(stored: Stored, backups: Sequence[BackupKey], ran: Ran) -> Mapping[str, Stored]:
    """What is mounted → its backup, where there is one."""
    found: dict[str, Stored] = {}
    for source in dict.fromkeys(mount.source for mount in mounts_of(ran)):
        try:
            backup = volume_backup(stored, backups, source)
        except DamagedBackup as error:
            raise BadVolume(None, f"its volume {source}: {error}") from error
        bad = damaged_since(backups, source, backup)
        if bad is not None:  # an older one would prove nothing of what would be restored
            raise BadVolume(bad, f"its volume {source}: backup {bad.id} failed a check")
        if backup is not None:
            found[source] = backup
    return found


def _image(site: Site, stored: Stored, names: Names, scratch: Scratch, progress: Progress) -> None:
    scratch.owes(f"image {names.image}", partial(site.engine.remove_image, names.image))
    # The container's own labels would be the drill's too, and routers and jobs go by labels.
    back = Back(tag=names.image, labels=names.labels)
    restore_container(
        site, stored.catalog, stored.manifest, back, say=lambda _: None, progress=progress
    )


def _volume(site: Site, stored: Stored, name: str, scratch: Scratch) -> None:
    try:
        drill_volume(site, stored.catalog, stored.manifest, name, scratch, lambda _: None)
    except DamagedBackup as error:
        raise BadVolume(
            stored.manifest.key, f"its volume {stored.manifest.name}: {error}"
        ) from error


def _start(engine: Engine, ran: Ran, names: Names, scratch: Scratch) -> None:
    network = drill_plan.network_body(ran, names)
    if network is not None:
        scratch.owes(f"network {names.network}", partial(remove_network, engine, names.network))
        make_network(engine, network)
    scratch.owes(f"container {scratch.name}", partial(remove_container, engine, scratch.name))
    make_container(engine, scratch.name, drill_plan.body(ran, names))
    try:
        engine.start(scratch.name)
    except EngineUnreachable:
        raise
    except EngineError as error:
        raise DrillFailed(f"it does not start: {error}") from error


def _come_up(site: Site, name: str, patient: Patience, trial: Trial) -> str:
    """Wait until the container has passed; how, as a clause. Raises DrillFailed, Cancelled."""
    began, last = time.monotonic(), ""
    healthy_after_seconds: float | None = None
    while True:
        site.cancel.raise_if_set()
        waited_seconds = time.monotonic() - began
        state = site.engine.inspect_state(name)["State"]
        outlook, words = judged(state, waited_seconds, patient)
        if outlook is Outlook.FAILED:
            raise DrillFailed(words + _said(state))
        is_up = outlook is Outlook.PASSED or not health_of(state)
        if trial.command and state.get("Running") and is_up:
            if healthy_after_seconds is None:
                healthy_after_seconds = waited_seconds
            left_seconds = trial.seconds - (waited_seconds - healthy_after_seconds)
            last = _command(site, name, trial, left_seconds)
            if not last:
                return f"its command gave 0 after {time.monotonic() - began:.0f} s"
            if left_seconds < 0:
                raise DrillFailed(f"{last}, and had {trial.seconds} s to give 0")
        elif outlook is Outlook.PASSED:
            return words
        time.sleep(_LOOK_SECONDS)


def _command(site: Site, name: str, trial: Trial, left_seconds: float) -> str:
    """Why the command of the drill is not done yet; "" when it gave 0."""
    command = Command(trial.command, timeout_seconds=max(left_seconds, 1.0))
    try:
        ended = run_inside(site.engine, name, command, site.cancel)
    except EngineUnreachable:
        raise
    except EngineError as error:
        # It may have stopped just now, which the next look tells.
        return f"its command cannot be run: {error}"
    if ended.exit_code == 0:
        return ""
    end = "did not end" if ended.exit_code is None else f"gave {ended.exit_code}"
    return f"its command {end}" + _quoted(ended.last_line)


def _said(state: Inspect) -> str:
    """What the health check printed last."""
    log = (state.get("Health") or {}).get("Log") or []
    lines = str(log[-1].get("Output") or "").split("\n") if log else []
    return _quoted(next((line.strip() for line in reversed(lines) if line.strip()), ""))


def _quoted(line: str) -> str:
    return f" ({line[:_LONGEST_LINE]})" if line else ""
