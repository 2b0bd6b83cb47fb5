"""Where the benchmarks play: an engine, a server, and the command as it is installed."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from sys import executable
from typing import Any

import docker
import yaml
from botocore.exceptions import ClientError

from tests.benchmarks.measure import Contender, nothing
from tests.benchmarks.peers import Peers, installed_peers
from tests.benchmarks.workloads import make_big_image, make_containers, make_volume
from tests.servers.dockerd import Engine
from tests.servers.seaweedfs import FULL, SeaweedFS

BACKUPD = str(Path(executable).parent / "backupd")
HOST = "bench"
BIG, BIG_CONTAINER, BIG_VOLUME = "bench-big:1", "bench-big", "bench-big"


@dataclass
class Scene:
    """One engine and one server, with what was made on them so far."""

    engine: Engine
    server: SeaweedFS
    directory: Path
    size_mib: int
    rounds: int
    full: bool = False
    """Whether the largest things are wanted too."""
    _made: set[str] = field(default_factory=set)

    @cached_property
    def api(self) -> docker.APIClient:
        """A connection to the engine."""
        return self.engine.client()

    @cached_property
    def peers(self) -> Peers:
        """The programs to compare with."""
        return installed_peers(self.server.endpoint, self.directory)

    @property
    def to_engine(self) -> dict[str, str]:
        """What leads Docker's command line to the engine."""
        return {"DOCKER_HOST": self.engine.host}

    def fresh(self, bucket: str) -> None:
        """An empty bucket of this name."""
        with suppress(ClientError):
            self.server.client().delete_bucket(Bucket=bucket)
        self.server.make_bucket(bucket)

    def once(self, what: str, make: Callable[[], object]) -> None:
        """Call `make` unless that was done before."""
        if what not in self._made:
            print(f"  making {what}", flush=True)
            make()
            self._made.add(what)

    def big_image(self) -> None:
        """Make `BIG`."""
        self.once("the large image", lambda: make_big_image(self.api, BIG, self.size_mib))

    def big_container(self) -> None:
        """Make `BIG_CONTAINER`, whose files are those of `BIG`."""
        self.big_image()
        self.once("the large container", lambda: make_containers(self.api, BIG, BIG_CONTAINER))

    def big_volume(self) -> None:
        """Make `BIG_VOLUME`, whose files are those of `BIG`."""
        self.big_image()
        self.once("the large volume", lambda: make_volume(self.api, BIG, BIG_VOLUME))

    def backupd(
        self,
        name: str,
        *words: str,
        job: Mapping[str, Any],
        prepare: Callable[[], None] = nothing,
        store: Mapping[str, Any] | None = None,
        **sections: Any,
    ) -> Contender:
        """`backupd WORDS` with a policy of one job, whose store is the bucket `name`."""
        home = self.directory / name
        home.mkdir(exist_ok=True)
        policy = {
            "host": HOST,
            "state_dir": str(home / "state"),
            "docker": {"host": self.engine.host},
            "store": {**self._store(name), **(store or {})},
            **sections,
            "jobs": {"nightly": dict(job)},
        }
        config = home / "config.yaml"
        config.write_text(yaml.safe_dump(policy))
        config.chmod(0o600)
        environment = {
            "BACKUPD_CONFIG": str(config),
            "HOME": str(home),
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        return Contender(name, [BACKUPD, *words], prepare, environment)

    def shell(
        self,
        name: str,
        script: str,
        prepare: Callable[[], None] = nothing,
        environment: Mapping[str, str] | None = None,
    ) -> Contender:
        """A pipe of other programs: `$RCLONE`, `$AWS` and `$RESTIC` are the peers'."""
        variables = {**self.peers.environment, **self.to_engine, **(environment or {})}
        named = {"RCLONE": self.peers.rclone, "AWS": self.peers.aws, "RESTIC": self.peers.restic}
        command = ["bash", "-o", "pipefail", "-c", script]
        return Contender(name, command, prepare, {**variables, **named})

    def machine(self) -> dict[str, str]:
        """What the figures depend on: the machine and the versions."""
        engine = self.api.version()
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
        found = {
            "cores": str(os.cpu_count()),
            "memory": f"{memory:.0f} GiB",
            "load": f"{os.getloadavg()[0]:.1f}",
            "Linux": platform.release().partition("-")[0],
            "Python": platform.python_version(),
            "Docker": f"{engine['Version']} ({self.api.info()['Driver']})",
            "SeaweedFS": self.server.version(),
        }
        return found | ({} if "peers" not in self.__dict__ else self.peers.versions())

    def _store(self, bucket: str) -> dict[str, str]:
        return {
            "url": f"s3://{bucket}/docker",
            "endpoint": self.server.endpoint,
            "access_key": FULL.access_key,
            "secret_key": FULL.secret_key,
        }
