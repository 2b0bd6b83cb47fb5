"""What a store holds after faults: every backup compared, and swept as the next prune would."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from backupd.cli.session import Session
from backupd.config import load
from backupd.policy import ORPHAN_GRACE, Job
from backupd.site import Site
from backupd.verbs.prune_jobs import Order, prune_after
from backupd.verbs.transfer import received
from tests.faults.counts import DONE
from tests.faults.scene import JOB, Scene
from tests.integration.aftermath import kept_in
from tests.integration.command import Command
from tests.servers.seaweedfs import SeaweedFS


def check_all(scene: Scene, backupd: Command) -> list[str]:
    """Read back and compare every backup that is listed; their ids, oldest first."""
    with at_site(backupd) as site:
        return _checked(scene, site)


def sweep(backupd: Command) -> None:
    """Prune as in the days to come, when nothing that lies there can be at work any more."""
    with at_site(backupd) as site:
        _sweep(backupd, site)


def settle(scene: Scene, backupd: Command, s3: SeaweedFS, bucket: Mapping[str, Any]) -> None:
    """Every backup in the bucket must restore, and nothing else be left there by the next prune."""
    with at_site(backupd) as site:
        _checked(scene, site)
        _sweep(backupd, site)
        named = {backup.archive_id for backup in site.catalog.backups()}
    assert named == stored_archives(kept_in(s3, bucket))


def backups_in(s3: SeaweedFS, bucket: Mapping[str, Any]) -> int:
    """How many manifests the bucket holds."""
    return sum("/backups/" in key and key.endswith(".json") for key in kept_in(s3, bucket))


def _checked(scene: Scene, site: Site) -> list[str]:
    backups = site.catalog.backups()
    for backup in backups:
        with DONE.checking():
            manifest = site.catalog.manifest(backup)
            with received(site, site.catalog, manifest, lambda _: None) as chunks:
                scene.assert_same((str(backup.kind), backup.name), b"".join(chunks))
    return [backup.id for backup in backups]


def _sweep(backupd: Command, site: Site) -> None:
    later = site.now() + ORPHAN_GRACE + timedelta(hours=1)
    policy = load(backupd.config, environ={}).policy
    order = Order([JOB], later)
    _, removal = prune_after(replace(site, now=lambda: later), policy, order, nobody_knows)

    assert ([], []) == (removal.complaints, removal.backups)


def nobody_knows(name: str, job: Job) -> None:
    """What is on the engine: nobody looked."""


@contextmanager
def at_site(backupd: Command) -> Iterator[Site]:
    """The engine, the store and the state directory of the command's policy."""
    session = Session(config=backupd.config)
    try:
        yield session.site
    finally:
        session.close()


def named_archives(backupd: Command) -> set[str]:
    """The ids of the archives that backups name."""
    with at_site(backupd) as site:
        return {backup.archive_id for backup in site.catalog.backups()}


def stored_archives(keys: list[str]) -> set[str]:
    """The ids of the archives, records and unfinished uploads that lie in the bucket."""
    return {key.rpartition("/")[2].partition(".")[0] for key in keys if "/archives/" in key}
