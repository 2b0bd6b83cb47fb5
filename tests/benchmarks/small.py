"""The rows of what must cost next to nothing: starts, listings, requests, waiting."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import yaml

from backupd.layout import Kind, archive_key, backup_key
from tests.benchmarks import daemon_idle
from tests.benchmarks.measure import Contender, cpu, in_turns, measured, paired, peak, wall
from tests.benchmarks.results import Figure
from tests.benchmarks.scene import BACKUPD, HOST, Scene
from tests.benchmarks.workloads import make_containers, make_small_images
from tests.servers.odd_s3 import BUCKET, OddS3
from tests.servers.rootfs import base_image

MANY = 100_000
SOURCES = 50
OF_ONE_SOURCE = 10_000
PAGE_KEYS = 1_000
IDLE_JOBS, IDLE_SECONDS = 2_000, 30.0
SMALL, CONTAINER = "bench-small", "bench-small"
_RETENTION = {"keep_hourly": 48, "keep_daily": 14, "keep_weekly": 8}
Figures = Iterator[Figure]


def unchanged_50(scene: Scene) -> Figures:
    """Fifty images that have not changed, in one job."""
    work = f"{SOURCES} unchanged images in one job"
    scene.once("small images", lambda: make_small_images(scene.api, SMALL, SOURCES))
    scene.fresh("backupd")
    ours = scene.backupd("backupd", "backup", job={"images": [f"{SMALL}:*"]})
    measured(ours.command, ours.environment)
    runs = in_turns([ours], scene.rounds)["backupd"]
    yield Figure("unchanged-50", work, "wall time", wall(runs), "s", 3.0, f"{cpu(runs):.2f} s CPU")


def start(scene: Scene) -> Figures:
    """What answers without doing anything."""
    bare = Contender("import click", [sys.executable, "-c", "import click"])
    for option in ("--help", "--version"):
        ours = Contender(option, [BACKUPD, option])
        runs = in_turns([ours, bare], max(20, scene.rounds))
        ratio = paired(runs[option], runs[bare.name], lambda run: run.cpu_seconds)
        told = f"{cpu(runs[option]):.3f} s against {cpu(runs[bare.name]):.3f} s"
        what = f"CPU against `python -c 'import click'`, {option}"
        yield Figure("start", "`backupd --help`, `--version`", what, ratio, "×", 1.5, told)


def listings(scene: Scene) -> Figures:
    """`list` and `prune --dry-run` over a hundred thousand backups."""
    with OddS3() as server:
        for number in range(MANY):
            name = f"registry.example.com/team/app-{number % SOURCES}:latest"
            _put(server, name, timedelta(hours=number // SOURCES), number)
        for words in (["list"], ["prune", "--dry-run"]):
            ours = scene.backupd(
                "odd",
                *words,
                job={"images": ["*"], "retention": _RETENTION},
                prune_limit=100,  # nearly all of them would go, which is an error by default
                store={"url": f"s3://{BUCKET}", "endpoint": server.endpoint},
            )
            server.requests.clear()
            runs = in_turns([ours], 1)["odd"]
            work = f"`{' '.join(words)}` over {MANY:,} backups"
            # As many archives stand beside the manifests, and both are listed.
            pages, listed = 2 * MANY / PAGE_KEYS, server.count("GET /?list-type")
            per_page = listed / pages
            told = f"{listed} LIST calls for {2 * MANY:,} keys"
            row = words[0]
            yield Figure(row, work, "LIST calls for 1,000 keys", per_page, "", 1.05, told)
            yield Figure(row, work, "CPU", cpu(runs), "s", 5.0)
            yield Figure(row, work, "peak memory", peak(runs), "MiB", 200)


def restore_one(scene: Scene) -> Figures:
    """The newest of ten thousand backups of one source; the store counts what it is asked."""
    scene.once("small images", lambda: make_small_images(scene.api, SMALL, SOURCES))
    work = f"restore of the newest of {OF_ONE_SOURCE:,} backups"
    image = f"{SMALL}:0"
    with OddS3() as server:
        of_odd = partial(
            scene.backupd,
            "odd",
            job={"images": [image]},
            store={"url": f"s3://{BUCKET}", "endpoint": server.endpoint},
        )
        saved = of_odd("backup")
        measured(saved.command, saved.environment)
        for hour in range(1, OF_ONE_SOURCE):
            _put(server, image, timedelta(hours=hour), hour)
        server.requests.clear()
        out = str(scene.directory / "restored.tar")
        runs = in_turns([of_odd("restore", "image", image, "-q", "--output", out)], 1)["odd"]
        Path(out).unlink()
        told = f"{wall(runs):.2f} s"
        calls = server.count("GET /?list-type")
        yield Figure("restore-newest", work, "LIST calls", calls, "", 3, told)


def requests(scene: Scene) -> Figures:
    """What one backup of each kind asks of the store, beside what a whole run does."""
    scene.once("small images", lambda: make_small_images(scene.api, SMALL, SOURCES))
    base = base_image(scene.api)
    scene.once("a small container", lambda: make_containers(scene.api, base, CONTAINER))
    for kind, name, puts in (("images", f"{SMALL}:0", 2), ("containers", CONTAINER, 3)):
        with OddS3() as server:
            ours = scene.backupd(
                "odd",
                "backup",
                job={kind: [name]},
                store={"url": f"s3://{BUCKET}", "endpoint": server.endpoint},
            )
            measured(ours.command, ours.environment)
            ours_only = [r for r in server.requests if re.search("/(archives|backups)/", r)]
        work = f"first backup of a small {kind.removesuffix('s')}"
        found = {verb: sum(r.startswith(verb) for r in ours_only) for verb in ("PUT", "HEAD")}
        others = len(ours_only) - sum(found.values())
        yield Figure("requests", work, "PUTs", found["PUT"], "", puts)
        yield Figure("requests", work, "looks at the size", found["HEAD"], "", 1)
        yield Figure("requests", work, "other requests", others, "", 0)


def idle(scene: Scene) -> Figures:
    """A daemon with two thousand jobs of which none is due."""
    scene.fresh(daemon_idle.BUCKET)
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        config = directory / "config.yaml"
        policy = daemon_idle.policy(IDLE_JOBS, directory, scene.engine, scene.server)
        config.write_text(yaml.safe_dump(policy))
        config.chmod(0o600)
        command = [sys.executable, "-m", "backupd", "daemon", "--config", str(config)]
        found = daemon_idle.measure(command, directory, scene.server, IDLE_SECONDS)
    work = f"idle daemon with {IDLE_JOBS:,} jobs"
    target = daemon_idle.MEMORY_TARGET_MIB
    yield Figure("idle", work, "memory at rest", found.memory_mib, "MiB", target)
    seconds = daemon_idle.CPU_TARGET_SECONDS
    yield Figure("idle", work, "CPU in a minute", found.minute_cpu_seconds, "s", seconds)


def _put(server: OddS3, name: str, age: timedelta, number: int) -> None:
    archive_id = f"{number:016x}-0123456789ab"
    backup = backup_key(
        HOST,
        "nightly",
        Kind.IMAGE,
        name,
        taken_at=datetime.now(UTC) - age - timedelta(minutes=1),
        archive_id=archive_id,
        size_bytes=123_456_789,
    )
    server.objects[backup.key] = b""
    server.objects[archive_key(HOST, Kind.IMAGE, name, archive_id, ".zst")] = b"archive"


SMALL_ROWS: dict[str, Callable[[Scene], Figures]] = {
    "unchanged-50": unchanged_50,
    "start": start,
    "list": listings,
    "restore-newest": restore_one,
    "requests": requests,
    "idle": idle,
}
