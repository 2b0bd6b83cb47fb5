"""A store with a past: one image in two generations, two jobs and two hosts, all of it lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.command import Command
from tests.integration.conftest import leaving_no_trace, store_section
from tests.integration.trees import ImageFacts, lose, make_image, succeeded
from tests.servers.dockerd import Engine
from tests.servers.seaweedfs import FULL, SeaweedFS

IMAGE, SECOND_TAG = "backupd-test-shelf:1", "backupd-test-shelf:2"
BUNDLE = "both"
HOST, OTHER_HOST = "testhost", "otherhost"


@dataclass(frozen=True)
class Shelf:
    """The store, who wrote it, and what lies in it; none of it is on the engine any more."""

    backupd: Command
    store: dict[str, Any]
    old: ImageFacts
    """What job `weekly` of this host backed up first."""
    new: ImageFacts
    """What its job `nightly` backed up later, with two tags and as a bundle."""
    foreign: ImageFacts
    """What the other host backed up last."""
    rows: list[dict[str, Any]]
    """This host's backups as `list --json` tells them, oldest first."""
    foreign_rows: list[dict[str, Any]]

    @property
    def no_policy(self) -> Command:
        """The command on a machine without a policy: only the bucket's keys are known."""
        directory = self.backupd.directory / "burned"
        directory.mkdir(exist_ok=True)
        keys = {"AWS_ACCESS_KEY_ID": FULL.access_key, "AWS_SECRET_ACCESS_KEY": FULL.secret_key}
        return Command(directory, keys)

    @property
    def store_options(self) -> tuple[str, ...]:
        """What such a machine has to say instead."""
        return ("--store", self.store["url"], "--endpoint", self.store["endpoint"])


@contextmanager
def stocked(engine: Engine, server: SeaweedFS, directory: Path) -> Iterator[Shelf]:
    """Fill a store, and lose what went into it."""
    backupd, store = Command(directory), store_section(server)

    def write(host: str, jobs: dict[str, Any]) -> None:
        docker_section, state = {"host": engine.host}, str(backupd.state_dir)
        sections = {"host": host, "state_dir": state, "docker": docker_section, "store": store}
        backupd.write({**sections, "jobs": jobs})

    bundle = {"bundle": BUNDLE, "images": [IMAGE, SECOND_TAG]}
    jobs = {"weekly": {"images": [IMAGE]}, "nightly": {"images": [IMAGE, SECOND_TAG, bundle]}}
    with leaving_no_trace(engine) as api:
        old = make_image(api, IMAGE, text="old")
        write(HOST, jobs)
        succeeded(backupd("backup", "weekly"))
        lose(api, IMAGE)
        new = make_image(api, IMAGE, SECOND_TAG, text="new")
        succeeded(backupd("backup", "nightly"))
        rows = succeeded(backupd("list", "--json")).json
        lose(api, IMAGE, SECOND_TAG)
        foreign = make_image(api, IMAGE, text="foreign")
        write(OTHER_HOST, {"nightly": {"images": [IMAGE]}})
        succeeded(backupd("backup"))
        foreign_rows = succeeded(backupd("list", "--json")).json
        lose(api, IMAGE)
        write(HOST, jobs)
        yield Shelf(backupd, store, old, new, foreign, rows, foreign_rows)
