"""What one run does at the same time, and what it does one after another."""

from __future__ import annotations

from backupd.policy import AS_IT_IS, Compression, Consistency
from backupd.sources import Source
from backupd.sources.container import ContainerSource
from backupd.sources.image import BundleSource, ImageSource
from backupd.sources.volume import VolumeSource
from backupd.verbs.lanes import belonging, lanes_of
from backupd.verbs.task import Task

STOP = Consistency(stop=True)


def task(source: Source, job: str = "nightly") -> Task:
    return Task(job, source, Compression(), "name")


def container(name: str, consistency: Consistency = AS_IT_IS, *needs: str) -> ContainerSource:
    return ContainerSource(name, consistency, frozenset(needs))


WEB = container("web")


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


def volume(name: str, *beside: str) -> VolumeSource:
    return VolumeSource(name, frozenset(beside))


def test_a_container_and_the_volumes_that_it_mounts_are_one_unit() -> None:
    lanes = shown(
        task(volume("data", "db")), task(container("db", STOP)), task(volume("alone")), task(WEB)
    )

    assert [[["db", "data"]], [["web"]], [["alone"]]] == lanes


def test_containers_that_share_a_volume_are_one_unit_however_they_are_held() -> None:
    lanes = shown(
        task(container("db", Consistency(pause=True))),
        task(WEB),
        task(container("app", STOP, "db")),
        task(volume("both", "db", "app")),
        task(volume("own", "app")),
    )

    assert [[["db", "app", "both", "own"]], [["web"]]] == lanes


def test_a_volume_joins_no_container_of_another_job() -> None:
    lanes = shown(task(container("db", STOP)), task(volume("data", "db"), "weekly"))

    assert [[["db"]], [["data"]]] == lanes


def test_a_container_takes_its_volumes_along_and_a_volume_what_is_held_for_it() -> None:
    held, running = task(container("db", STOP)), task(WEB)
    data, pages = task(volume("data", "db")), task(volume("pages", "web"))
    elsewhere = task(volume("data", "db"), "weekly")
    tasks = [held, running, data, pages, elsewhere]

    assert [data] == belonging(tasks, [held])
    assert [held] == belonging(tasks, [data])
    assert [pages] == belonging(tasks, [running])
    assert [] == belonging(tasks, [pages])
