"""What is backed up while processes are killed, how it looked, and how to see that all is well."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import docker

from backupd.history import History
from backupd.run_record import Promise, RunRecord
from backupd.state import StateDir
from tests.faults.counts import DONE
from tests.integration.aftermath import journal, kept_in, status, wait_until
from tests.integration.command import Command
from tests.integration.trees import files_in, files_of, start_container, succeeded
from tests.servers.rootfs import build_image
from tests.servers.seaweedfs import SeaweedFS

IMAGE, OTHER_IMAGE = "backupd-test-faults:1", "backupd-test-faults:2"
PAUSED, STOPPED, PLAIN = (f"backupd-test-faults-{each}" for each in ("paused", "stopped", "plain"))
CONTAINERS: dict[str, dict[str, Any]] = {
    PAUSED: {"name": PAUSED, "pause": True},
    STOPPED: {"name": STOPPED, "stop": True},
    PLAIN: {"name": PLAIN},
}
JOB = "nightly"
MIB = 1 << 20

_DUE = datetime.now(UTC) - timedelta(hours=1)
SCHEDULE = f"{_DUE.minute} {_DUE.hour} * * *"
"""Was due an hour ago, and will not be due while the tests run."""


@dataclass(frozen=True)
class Scene:
    """Images and running containers, and what a restore of each must give."""

    api: docker.APIClient
    image_bytes: int
    contents: dict[tuple[str, str], object] = field(default_factory=dict)
    """(kind, name) → what is in it."""

    def make(self) -> None:
        """Put everything on the engine."""
        for reference in (IMAGE, OTHER_IMAGE):
            layers = [{"data/random": os.urandom(self.image_bytes)}, {"etc/motd": b"two\n"}]
            build_image(self.api, reference, layers=layers)
            self.contents["image", reference] = image_content(self.api, reference)
        for name in CONTAINERS:
            # Its process ends at once when it is told to, so that a stop takes no time.
            start_container(self.api, name, IMAGE)
            self.contents["container", name] = files_of(self.api, name)

    def states(self, *names: str) -> dict[str, str]:
        """Container → `running`, `paused`, `exited` …"""
        return {name: status(self.api, name) for name in names or CONTAINERS}

    def as_it_was(self, *names: str) -> None:
        """Let the containers run, whatever a test did to them."""
        for name, state in self.states(*names).items():
            if state == "paused":
                self.api.unpause(name)
            self.api.start(name)

    def assert_restorable(self, backupd: Command) -> list[tuple[str, str]]:
        """Restore and compare every backup that is listed; (kind, name) of each, oldest first."""
        rows = listed(backupd)
        for row in rows:
            with DONE.checking():
                self.assert_same(source_of(row), restored(backupd, row))
        return [source_of(row) for row in rows]

    def assert_same(self, source: tuple[str, str], tar_bytes: bytes) -> None:
        """The tar must hold what was on the engine."""
        assert self.contents[source] == content_of(source[0], tar_bytes)


def policy_of(images: list[str], containers: list[str]) -> dict[str, Any]:
    """The jobs of a policy: one with these sources, and one that selects nothing."""
    sources = {"images": images, "containers": [CONTAINERS[name] for name in containers]}
    return {
        JOB: {"schedule": SCHEDULE, **sources},
        "nothing": {"schedule": "0 0 1 1 *", "images": ["backupd-test-no-such-*"]},
    }


def take_up(backupd: Command) -> None:
    """Let the history say that the daemon promised to follow the schedule yesterday."""
    promise = Promise(SCHEDULE, "UTC", 0, datetime.now(UTC) - timedelta(days=1))
    history(backupd).take_up({JOB: promise})


def make_due(backupd: Command) -> None:
    """Let the job's last run that came to an end be yesterday's, so that a daemon catches up."""
    yesterday = datetime.now(UTC) - timedelta(days=1)
    history(backupd).add(RunRecord(JOB, yesterday, yesterday, "good"))


def history(backupd: Command) -> History:
    """The history, read from outside of any run."""
    return History.open(StateDir(backupd.state_dir))


def run_states(backupd: Command) -> list[str]:
    """How the job's runs ended, the newest first; `open` for one that nobody closed."""
    runs = history(backupd).recent(JOB, 10)
    return [record.state if record.ended_at else "open" for record in runs]


@contextmanager
def daemon(backupd: Command) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon, dead afterwards."""
    with backupd.start("daemon") as process:
        try:
            yield process
        finally:
            process.kill()


def catch_up(backupd: Command) -> str:
    """Start a daemon, let it end the run that was missed, and stop it in order; what it logged."""
    begun = datetime.now(UTC)

    def has_ended() -> bool:
        last = history(backupd).last(JOB)
        return last is not None and last.started_at > begun and last.state != "running"

    with daemon(backupd) as process:
        wait_until(lambda: has_ended() or process.poll() is not None)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert 0 == process.returncode, said.decode()
    return said.decode()


def listed(backupd: Command) -> list[Mapping[str, Any]]:
    """What `backupd list` lists, the oldest first."""
    rows: list[Mapping[str, Any]] = succeeded(backupd("list", "--json")).json
    return sorted(rows, key=lambda row: str(row["taken_at"]))


def source_of(row: Mapping[str, Any]) -> tuple[str, str]:
    """(kind, name) of a listed backup."""
    return row["kind"], row["name"]


def restored(backupd: Command, row: Mapping[str, Any]) -> bytes:
    """The tar that a restore of the listed backup writes."""
    target = backupd.directory / f"{row['id']}.tar"
    succeeded(backupd("restore", row["kind"], "--id", row["id"], "--output", target))
    try:
        return target.read_bytes()
    finally:
        target.unlink()


def unfinished(s3: SeaweedFS, bucket: Mapping[str, Any]) -> list[str]:
    """The uploads in the bucket that nobody ended."""
    return [key for key in kept_in(s3, bucket) if key.startswith("unfinished ")]


def left_on_disk(backupd: Command) -> list[str]:
    """What the state directory still holds of runs: the journal, and signs of life."""
    alive = (backupd.state_dir / "locks").glob("alive-*")
    return journal(backupd) + sorted(path.name for path in alive)


def image_content(api: docker.APIClient, reference: str) -> object:
    """What `content_of` must find in a backup of the image."""
    found = api.inspect_image(reference)
    return found["Id"], found["RootFS"]["Layers"]


def content_of(kind: str, tar_bytes: bytes) -> object:
    """What is in the tar of a backup, to be compared with what was on the engine."""
    if kind != "image":
        return files_in(tar_bytes)
    with tarfile.open(fileobj=io.BytesIO(tar_bytes)) as tar:

        def digest(name: str) -> str:
            member = tar.extractfile(name)
            assert member is not None, name
            return f"sha256:{hashlib.sha256(member.read()).hexdigest()}"

        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        (image,) = json.load(manifest)
        return digest(image["Config"]), [digest(name) for name in image["Layers"]]
