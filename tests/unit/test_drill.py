"""Drills without an engine: what is chosen, what is compared, what is promised and told."""

from __future__ import annotations

import io
import tarfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from backupd.daemon.generation import timetables_of
from backupd.errors import ArchiveBroken
from backupd.layout import DAMAGED, BackupKey, Kind, backup_key, parse_backup_key
from backupd.policy import Drill, Policy, Trial
from backupd.run_record import DRILL
from backupd.verbs.drill import Audience, Result, Verdict, drill, meant, newest_of_each
from backupd.verbs.drill_volume import Tree
from backupd.verbs.drilling import summary
from tests.contract.shelves import DAY, NOW
from tests.unit.proven import add, backup_of, make_shelf, mark


def backup(kind: Kind, name: str, age: timedelta = timedelta(), job: str = "nightly") -> Any:
    archive_id = "0" * 16 + "-" + "1" * 12
    return backup_key(
        "web01", job, kind, name, taken_at=NOW - age, archive_id=archive_id, size_bytes=1
    )


def test_the_newest_of_each_source_is_drilled_containers_first() -> None:
    image, old = backup(Kind.IMAGE, "web:1"), backup(Kind.CONTAINER, "web", DAY)
    volume, new = backup(Kind.VOLUME, "data"), backup(Kind.CONTAINER, "web")
    other = backup(Kind.CONTAINER, "web", job="weekly")

    assert [new, other, volume, image] == newest_of_each([image, old, volume, new, other])


def test_without_sources_all_are_wanted() -> None:
    every = [backup(Kind.IMAGE, "web:1"), backup(Kind.VOLUME, "data")]

    assert (every, []) == meant(Drill(), every)


def test_sources_are_names_and_patterns_of_images_too() -> None:
    wishes = Drill.model_validate({"sources": ["app_*", "nginx", {"name": "/srv/data"}]})
    names = ["app_db", "nginx:1.27", "/srv/data", "web", "nginx-exporter:1"]
    chosen, unknown = meant(wishes, [backup(Kind.VOLUME, name) for name in names])

    assert (names[:3], []) == ([one.name for one in chosen], unknown)


def test_a_source_that_means_nothing_is_named() -> None:
    wishes = Drill.model_validate({"sources": ["wbe", "web"]})
    web = backup(Kind.CONTAINER, "web")

    assert ([web], ["wbe"]) == meant(wishes, [web])


def test_a_source_is_found_by_a_name_that_is_too_long_for_a_key() -> None:
    name = f"registry.example/{'team/' * 40}app:1"
    wishes = Drill.model_validate({"sources": [name]})
    listed = parse_backup_key(backup(Kind.IMAGE, name).key)

    assert isinstance(listed, BackupKey)
    assert name != listed.name
    assert ([listed], []) == meant(wishes, [listed])


def test_the_first_source_that_means_a_container_says_what_is_special_to_it() -> None:
    own = {"name": "db*", "seconds": 60, "command": ["pg_isready"]}
    wishes = Drill.model_validate({"sources": [own, "*"], "seconds": 5, "command": "true"})

    assert Trial(60, ("pg_isready",)) == wishes.trial_of("db-1")
    assert Trial(5, ("sh", "-c", "true")) == wishes.trial_of("web")


@pytest.mark.parametrize(
    "bad", [{"seconds": 0}, {"command": ""}, {"sources": [7]}, {"schedule": "never"}, {"x": 1}]
)
def test_a_drill_that_makes_no_sense_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Drill.model_validate(bad)


@pytest.mark.parametrize("schedule", ["0 6 * * 0", None])
def test_a_drill_has_a_timetable_if_the_policy_has_a_schedule(schedule: str | None) -> None:
    jobs = {"nightly": {"containers": ["web"]}}
    policy = Policy.model_validate({"jobs": jobs, "drill": {"schedule": schedule}})

    assert (schedule is not None) is (DRILL in timetables_of(policy, "web01"))


def test_what_is_known_as_damaged_is_told_and_not_tried(tmp_path: Path) -> None:
    shelf = make_shelf(tmp_path)
    made = add(shelf)
    mark(shelf, made, DAMAGED, NOW)
    told: list[Result] = []
    audience = Audience(lambda _: lambda _: None, told.append, pytest.fail)
    results = drill(shelf.site, [backup_of(shelf, made)], Drill(), audience, keep=False)

    assert [Verdict.DAMAGED] == [result.verdict for result in results]
    assert told == results
    assert f"backup {made.id} is damaged: it failed a check at " in results[0].sentence


def test_the_summary_counts_each_kind_of_end() -> None:
    one = backup(Kind.IMAGE, "web:1")
    verdicts = [*Verdict, Verdict.PROVEN]

    assert "proved 2 of 5 sources, 1 failed, 1 damaged, 1 cannot be drilled" == summary(
        [Result(one, verdict, "") for verdict in verdicts]
    )


def number_of(*files: tuple[str, bytes], **changes: Any) -> int:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for key, value in changes.items():
                setattr(member, key, value)
            tar.addfile(member, io.BytesIO(content))
    tree = Tree()
    for byte in buffer.getvalue():
        tree.feed(bytes([byte]))
    return tree.finish()


def test_trees_are_equal_whatever_their_order_and_times() -> None:
    first = number_of(("./a", b"1"), ("./b\xff", b"2"))

    assert first == number_of(("./b\xff", b"2"), ("./a", b"1"), mtime=7, uname="else")


@pytest.mark.parametrize(
    "other",
    [
        [("./a", b"1")],
        [("./a", b"1"), ("./b", b"3")],
        [("./a", b"2"), ("./b", b"1")],
        [("./a", b"1"), ("./c", b"2")],
        [("./a", b"1"), ("./b", b"2"), ("./b", b"2")],
        [],
    ],
)
def test_trees_differ_by_any_file(other: list[tuple[str, bytes]]) -> None:
    assert number_of(("./a", b"1"), ("./b", b"2")) != number_of(*other)


def test_a_tree_differs_by_what_a_link_leads_to() -> None:
    link = {"type": tarfile.SYMTYPE}

    assert number_of(("./a", b""), linkname="x", **link) != number_of(
        ("./a", b""), linkname="y", **link
    )


def test_a_tree_that_is_cut_is_none() -> None:
    tree = Tree()
    tree.feed(b"")

    with pytest.raises(ArchiveBroken):
        tree.finish()
