"""The rows with large things: our command and the peers' pipes in turns, on the same data."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import partial

from tests.benchmarks.measure import (
    Contender,
    Run,
    cpu,
    in_turns,
    measured,
    paired,
    peak,
    wall,
)
from tests.benchmarks.results import Figure
from tests.benchmarks.scene import BIG, BIG_CONTAINER, BIG_VOLUME, Scene
from tests.benchmarks.workloads import make_big_image, make_containers, make_huge_container

MEMORY_TARGET_MIB = 180
_ZSTD = "zstd -q -T0 -3"
Figures = Iterator[Figure]


def first_backup(scene: Scene) -> Figures:
    """A large image that the store has nothing of."""
    scene.big_image()
    work = f"first backup of an image of {scene.size_mib} MiB in 5 layers"
    ours = scene.backupd(
        "backupd",
        "backup",
        job={"images": [BIG]},
        prepare=partial(scene.fresh, "backupd"),
    )
    yield from _against_pipes(scene, "first-backup", work, ours, f"docker save {BIG}")


def first_export(scene: Scene) -> Figures:
    """A large container that the store has nothing of."""
    scene.big_container()
    work = f"first export of a container of {scene.size_mib} MiB"
    ours = scene.backupd(
        "backupd",
        "backup",
        job={"containers": [BIG_CONTAINER]},
        prepare=partial(scene.fresh, "backupd"),
    )
    yield from _against_pipes(scene, "first-export", work, ours, f"docker export {BIG_CONTAINER}")


def first_volume(scene: Scene) -> Figures:
    """A large volume, against restic on its mount."""
    scene.big_volume()
    work = f"first backup of a volume of {scene.size_mib} MiB"
    mount = scene.engine.data_root / "volumes" / BIG_VOLUME / "_data"
    contenders = [
        scene.backupd(
            "backupd",
            "backup",
            job={"volumes": [BIG_VOLUME]},
            prepare=partial(scene.fresh, "backupd"),
        ),
        _restic(scene, f"$RESTIC backup -q {mount}"),
    ]
    runs = in_turns(contenders, scene.rounds)
    yield from _judged("first-volume", work, runs, ["restic"])


def unchanged(scene: Scene) -> Figures:
    """The same large image again."""
    scene.big_image()
    work = f"an unchanged image of {scene.size_mib} MiB again"
    scene.fresh("backupd")
    ours = scene.backupd("backupd", "backup", job={"images": [BIG]})
    restic = _restic(scene, f"docker save {BIG} | $RESTIC backup -q --stdin")
    restic.prepare()
    measured(ours.command, ours.environment)
    measured(restic.command, restic.environment)
    before = _archive_bytes(scene)
    again = Contender(restic.name, restic.command, environment=restic.environment)
    runs = in_turns([ours, again], scene.rounds)
    told = f"restic reads it all: {wall(runs['restic']):.1f} s"
    yield Figure("unchanged", work, "wall time", wall(runs["backupd"]), "s", 1.0, told)
    uploaded = _archive_bytes(scene) - before
    yield Figure("unchanged", work, "archive bytes uploaded", uploaded, "", 0)
    yield _memory("unchanged", work, runs["backupd"])


def restore(scene: Scene) -> Figures:
    """The large image comes back to an engine that does not have it."""
    scene.big_image()
    work = f"restore of an image of {scene.size_mib} MiB"
    scene.fresh("backupd")
    scene.fresh("rclone")
    saved = scene.backupd("backupd", "backup", job={"images": [BIG]})
    measured(saved.command, saved.environment)
    pipe = scene.shell("rclone", f"docker save {BIG} | {_ZSTD} | $RCLONE rcat b:rclone/a")
    measured(pipe.command, pipe.environment)

    def gone() -> None:
        for container in scene.api.containers(all=True, filters={"ancestor": BIG}):
            scene.api.remove_container(container["Id"])
            scene._made.discard("the large container")
        scene.api.remove_image(BIG, force=True)

    ours = scene.backupd(
        "backupd", "restore", "image", BIG, "-q", job={"images": [BIG]}, prepare=gone
    )
    script = "$RCLONE cat b:rclone/a | zstd -q -d | docker load -q"
    runs = in_turns([ours, scene.shell("rclone pipe", script, gone)], scene.rounds)
    yield from _judged("restore", work, runs, ["rclone pipe"])


def parallel(scene: Scene) -> Figures:
    """Many small containers, several at a time and one after another."""
    count, each = 20, max(1, min(20, scene.size_mib // 20))
    work = f"{count} containers of {each} MiB"
    image, names = "bench-medium:1", [f"bench-many-{number}" for number in range(count)]
    scene.once("an image for many containers", lambda: make_big_image(scene.api, image, each))
    scene.once("many containers", lambda: make_containers(scene.api, image, *names))
    contenders = [
        scene.backupd(
            name,
            "backup",
            job={"containers": ["bench-many-*"]},
            parallel=number,
            prepare=partial(scene.fresh, name),
        )
        for name, number in (("parallel-4", 4), ("parallel-1", 1))
    ]
    runs = in_turns(contenders, scene.rounds)
    ratio = paired(runs["parallel-4"], runs["parallel-1"])
    told = f"{wall(runs['parallel-4']):.1f} s against {wall(runs['parallel-1']):.1f} s"
    yield Figure("parallel", work, "parallel: 4 against 1", ratio, "×", 0.7, told)
    yield _memory("parallel", work, runs["parallel-4"])


def memory(scene: Scene) -> Figures:
    """Peak memory at 100 MB, and with `FULL=1` at 20 GB."""
    small = "bench-100:1"
    scene.once("an image of 100 MiB", lambda: make_big_image(scene.api, small, 100))
    scene.once("a container of 100 MiB", lambda: make_containers(scene.api, small, "bench-100"))
    sizes = {"bench-100": "100 MiB"}
    if scene.full:
        huge = partial(make_huge_container, scene.api, "bench-huge", 20 << 10)
        scene.once("a container of 20 GiB", huge)
        sizes["bench-huge"] = "20 GiB"
    for name, size in sizes.items():
        ours = scene.backupd(
            "backupd",
            "backup",
            job={"containers": [name]},
            prepare=partial(scene.fresh, "backupd"),
        )
        runs = in_turns([ours], 1)
        yield _memory("memory", f"first export of a container of {size}", runs["backupd"], size)


def _against_pipes(scene: Scene, row: str, work: str, ours: Contender, source: str) -> Figures:
    """Our command against each pipe that begins with `source`, and against the limits."""
    fresh = scene.fresh
    compressed = scene.directory / "compressed"
    make = scene.shell("file", f"{source} | {_ZSTD} > {compressed}")
    measured(make.command, make.environment)
    expected = scene.size_mib << 20
    copy = f"$AWS s3 cp --quiet - s3://aws/a --expected-size {expected}"
    contenders = [
        ours,
        scene.shell(
            "rclone pipe", f"{source} | {_ZSTD} | $RCLONE rcat b:rclone/a", lambda: fresh("rclone")
        ),
        scene.shell("aws pipe", f"{source} | {_ZSTD} | {copy}", lambda: fresh("aws")),
        _restic(scene, f"{source} | $RESTIC backup -q --stdin"),
        scene.shell("limit: read", f"{source} > /dev/null"),
        scene.shell(
            "limit: upload",
            f"$RCLONE copyto {compressed} b:rclone/a",
            lambda: fresh("rclone"),
        ),
    ]
    try:
        runs = in_turns(contenders, scene.rounds)
    finally:
        compressed.unlink(missing_ok=True)
    yield from _judged(row, work, runs, ["rclone pipe", "aws pipe"])
    limits = [
        Run(read.wall_seconds + sent.wall_seconds, 0, 0)
        for read, sent in zip(runs["limit: read"], runs["limit: upload"], strict=True)
    ]
    told = f"{wall(runs['limit: read']):.1f} s to read, {wall(runs['limit: upload']):.1f} s to send"
    yield Figure(
        row, work, "wall time against the limits", paired(runs["backupd"], limits), "×", 1.25, told
    )
    ratio = paired(runs["backupd"], runs["restic"])
    told = f"{wall(runs['backupd']):.1f} s against {wall(runs['restic']):.1f} s"
    yield Figure(row, work, "wall time against restic", ratio, "×", None, told)


def _judged(row: str, work: str, runs: dict[str, list[Run]], peers: list[str]) -> Figures:
    """Wall time, CPU and memory against the fastest of the peers."""
    ours, fastest = runs["backupd"], min(peers, key=lambda name: wall(runs[name]))
    other = runs[fastest]
    told = f"{wall(ours):.1f} s against {wall(other):.1f} s of the {fastest}"
    yield Figure(row, work, "wall time", paired(ours, other), "×", 1.0, told)
    told = f"{cpu(ours):.1f} s against {cpu(other):.1f} s of the {fastest}"
    ratio = paired(ours, other, lambda run: run.cpu_seconds)
    yield Figure(row, work, "CPU", ratio, "×", 1.0, told)
    yield _memory(row, work, ours)


def _memory(row: str, work: str, runs: list[Run], what: str = "") -> Figure:
    named = f"peak memory, {what}" if what else "peak memory"
    return Figure(row, work, named, peak(runs), "MiB", MEMORY_TARGET_MIB)


def _restic(scene: Scene, script: str) -> Contender:
    """restic with a repository that is made anew before each round."""
    where = {"RESTIC_REPOSITORY": f"s3:{scene.server.endpoint}/restic"}

    def fresh() -> None:
        scene.fresh("restic")
        shutil.rmtree(scene.directory / "restic-cache", ignore_errors=True)
        init = scene.shell("restic", "$RESTIC init -q", environment=where)
        measured(init.command, init.environment)

    return scene.shell("restic", script, fresh, where)


def _archive_bytes(scene: Scene) -> int:
    pages = scene.server.client().get_paginator("list_objects_v2").paginate(Bucket="backupd")
    return sum(
        found["Size"]
        for page in pages
        for found in page.get("Contents", [])
        if "/archives/" in found["Key"]
    )


LARGE: dict[str, Callable[[Scene], Figures]] = {
    "first-backup": first_backup,
    "first-export": first_export,
    "first-volume": first_volume,
    "unchanged": unchanged,
    "restore": restore,
    "parallel": parallel,
    "memory": memory,
}
