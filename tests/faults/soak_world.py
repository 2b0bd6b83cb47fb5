"""The world of the soak: servers that may be killed, what is backed up on them, and what it held.

The truth of each backup is kept here, apart from backupd: what every source held, and since when.
Sources change only while nothing runs, so the moment of a backup says what it must hold.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.faults.counts import DONE, CountedCommand
from tests.faults.gate import Gate
from tests.faults.scene import (
    CONTAINERS,
    IMAGE,
    OTHER_IMAGE,
    PAUSED,
    PLAIN,
    STOPPED,
    Scene,
    content_of,
    image_content,
    policy_of,
)
from tests.faults.sweeping import at_site
from tests.integration import volumes
from tests.integration.aftermath import images
from tests.integration.conftest import store_section
from tests.integration.trees import files_of, run_inside
from tests.servers.dockerd import Engine
from tests.servers.relay import Relay
from tests.servers.rootfs import build_image
from tests.servers.seaweedfs import SeaweedFS

IMAGE_BYTES = 1 << 20
VOLUME = "backupd-test-faults"
KEPT = 5
"""How many backups of a source a prune leaves: more make each look at the store longer."""
STALL_TIMEOUT = "2s"

Source = tuple[str, str]


@dataclass
class World:
    """All that the soak works with; one process, one state directory, one bucket."""

    draw: random.Random
    engine: Engine
    s3: SeaweedFS
    gate: Gate
    backupd: CountedCommand
    bucket: dict[str, Any]
    scene: Scene
    truth: dict[Source, list[tuple[datetime, object]]] = field(default_factory=dict)
    """Of each source what it held, and since when, the newest last."""
    checked: set[str] = field(default_factory=set)
    """The ids of the backups that were compared."""

    def make(self) -> None:
        """Put everything on the engine."""
        self.scene.make()
        volumes.make_volume(self.scene.api, VOLUME, {"rows": b"first"})
        for source, content in self.scene.contents.items():
            self.truth[source] = [(datetime.now(UTC), content)]
        self.note(("volume", VOLUME))

    def note(self, source: Source) -> None:
        """Remember what the source holds now."""
        kind, name = source
        look = {"image": image_content, "container": files_of, "volume": volumes.files_in}[kind]
        self.truth.setdefault(source, []).append((datetime.now(UTC), look(self.scene.api, name)))

    def change(self) -> str:
        """Change one source as people do between two backups; which one."""
        source = self.draw.choice(sorted(self.truth))
        data = self.draw.randbytes(self.draw.randrange(1, IMAGE_BYTES))
        api = self.scene.api
        if source[0] == "image":
            build_image(api, source[1], layers=[{"data/random": data}])
        elif source[0] == "container":
            run_inside(api, source[1], f"echo {data[:20].hex()} > /data/changed")
        else:
            volumes.fill(api, VOLUME, {"rows": data})
        self.note(source)
        return source[1]

    def check(self, *, anew: bool = False) -> int:
        """Read back and compare each backup that was not yet (or `anew` all); how many there are.

        Raises AssertionError, DamagedBackup for one that is not what its source held.
        """
        with at_site(self.backupd) as site:
            found = site.catalog.backups()
            for backup in found:
                if backup.id in self.checked and not anew:
                    continue
                with DONE.checking():
                    tar = self._read_back(site, backup)
                    self.assert_true((str(backup.kind), backup.name), backup.taken_at, tar)
                self.checked.add(backup.id)
        return len(found)

    @staticmethod
    def _read_back(site: Any, backup: Any) -> bytes:
        from backupd.verbs.transfer import received

        manifest = site.catalog.manifest(backup)
        with received(site, site.catalog, manifest, lambda _: None) as chunks:
            return b"".join(chunks)

    def assert_true(self, source: Source, taken_at: datetime, tar_bytes: bytes) -> None:
        """The tar must hold what the source held at that moment."""
        held = [content for since, content in self.truth[source] if since <= taken_at]
        assert held[-1] == content_of(source[0], tar_bytes), f"{source} of {taken_at} is wrong"

    def things(self) -> tuple[set[str], set[tuple[str, ...]], set[str]]:
        """What is on the engine: containers, images, volumes; nothing of ours may stay."""
        api = self.scene.api
        return (
            {each["Names"][0] for each in api.containers(all=True)},
            {(identity, *tags) for identity, tags in images(api)},
            {each["Name"] for each in api.volumes()["Volumes"] or ()},
        )

    def engine_is_back(self) -> None:
        """A connection to the engine that was restarted: the old one is of no use."""
        self.scene = replace(self.scene, api=self.engine.client())


@contextmanager
def world(directory: Path, seed: int) -> Iterator[World]:
    """Servers of its own, which may be killed, with all that is backed up; gone afterwards."""
    gate, backupd = Gate(), CountedCommand(directory)
    with (
        Engine() as engine,
        SeaweedFS() as s3,
        Relay(engine.host, gate.watch) as near,
        Relay(s3.endpoint, gate.watch) as far,
    ):
        made = World(
            random.Random(seed),  # noqa: S311 - no secret
            *(engine, s3, gate, backupd, store_section(s3)),
            Scene(engine.client(), IMAGE_BYTES),
        )
        made.make()
        _write_policy(made, near.address, far.address)
        try:
            yield made
        finally:
            gate.open()


def _write_policy(made: World, engine: str, store: str) -> None:
    jobs = policy_of([IMAGE, OTHER_IMAGE], [PAUSED, PLAIN, STOPPED])
    jobs["nightly"]["volumes"] = [VOLUME]
    made.backupd.write(
        {
            "host": "soak",
            "state_dir": str(made.backupd.state_dir),
            "docker": {"host": engine, "stall_timeout": STALL_TIMEOUT},
            "store": {**made.bucket, "endpoint": store, "part_size": "5MiB"},
            "compression": {"zstd": 1},
            "reuse_max_age": "20s",
            "defaults": {"retention": {"keep_last": KEPT}},
            "drill": {"seconds": 1, "sources": [OTHER_IMAGE, PLAIN, VOLUME]},
            "jobs": jobs,
        }
    )


ALL_RUN = dict.fromkeys(CONTAINERS, "running")
