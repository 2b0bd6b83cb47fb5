"""What one run does at the same time, and what it does one after another."""

from __future__ import annotations

from backupd.policy import AS_IT_IS, Compression, Consistency
from backupd.sources import Source
from backupd.sources.container import ContainerSource
from backupd.sources.image import BundleSource, ImageSource
from backupd.verbs.backup import lanes_of
from backupd.verbs.task import Task

STOP = Consistency(stop=True)


def task(source: Source, job: str = "nightly") -> Task:
    return Task(job, source, Compression(), "name")


def container(name: str, consistency: Consistency = AS_IT_IS, *needs: str) -> ContainerSource:
    return ContainerSource(name, consistency, frozenset(needs))


def shown(*tasks: Task) -> list[list[list[str]]]:
    return [[[each.source.name for each in unit] for unit in lane] for lane in lanes_of(tasks)]


def test_images_are_one_after_another_and_containers_beside_them() -> None:
    lanes = shown(
        task(ImageSource("a:1")),
        task(container("web")),
        task(BundleSource("both", ("a:1", "b:1"))),
        task(container("db", Consistency(pause=True))),
    )

    assert [[["a:1"], ["both"]], [["web"]], [["db"]]] == lanes


def test_containers_that_depend_on_each_other_are_stopped_together() -> None:
    lanes = shown(
        task(container("db", STOP)), task(container("x", STOP)), task(container("app", STOP, "db"))
    )

    assert [[["app", "db"]], [["x"]]] == lanes


def test_a_container_that_is_not_stopped_is_in_no_group() -> None:
    lanes = shown(task(container("db", STOP)), task(container("app", AS_IT_IS, "db")))

    assert [[["db"]], [["app"]]] == lanes


def test_jobs_have_groups_of_their_own() -> None:
    lanes = shown(
        task(container("db", STOP)),
        task(container("app", STOP, "db"), "weekly"),
        task(container("db", STOP), "weekly"),
    )

    assert [[["db"]], [["app", "db"]]] == lanes
