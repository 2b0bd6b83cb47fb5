"""Whose backups a job answers for, and how sources become groups."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from backupd.catalog import Catalog
from backupd.duration import Duration
from backupd.layout import BackupKey, Kind, backup_key, segment
from backupd.policy import Policy
from backupd.retention import Rules
from backupd.stores.directory import DirectoryStore
from backupd.verbs.prune import GroupPlan, Terms, as_listed, covering, literals, plan

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
LONG = "registry.example.com/" + "team/" * 40 + "app:1"


def key_of(name: str, kind: Kind = Kind.IMAGE, *, days: int = 0, number: int = 0) -> BackupKey:
    archive_id = f"{number:016x}-0123456789ab"
    moment = NOW - DAY * days
    return backup_key(
        "web01", "nightly", kind, name, taken_at=moment, archive_id=archive_id, size_bytes=4
    )


def job_of(**section: Any) -> Any:
    return Policy.model_validate({"jobs": {"nightly": section}}).jobs["nightly"]


def is_covered(tmp_path: Path, name: str, kind: Kind = Kind.IMAGE, **section: Any) -> bool:
    """Whether the job answers for a source whose manifests are all gone by now."""
    catalog = Catalog(DirectoryStore(tmp_path), "web01")
    return covering(job_of(**section), catalog)(key_of(name, kind))


@pytest.mark.parametrize(
    ("name", "images"),
    [
        ("app:1", ["app:1"]),
        ("app:1@linux/arm64", [{"image": "app:1", "platform": "linux/arm64"}]),
        ("app:1", ["app:*"]),
        ("reg:5000/team/app:1", ["reg:5000/**"]),
        ("app:1@linux/arm64", [{"image": "app:*", "platform": "linux/arm64"}]),
    ],
)
def test_a_job_answers_for_images_that_it_names_or_that_fit_its_patterns(
    tmp_path: Path, name: str, images: list[Any]
) -> None:
    assert is_covered(tmp_path, name, images=images)


@pytest.mark.parametrize(
    ("name", "images"),
    [
        ("app:2", ["app:1"]),
        ("app:1", [{"image": "app:1", "platform": "linux/arm64"}]),
        ("app:1@linux/arm64", ["app:1"]),
        ("app2:1", ["app:*"]),
        ("app:1", [{"bundle": "app", "images": ["app:1", "db:1"]}]),
        ("app:1", [{"label": "keep"}]),
    ],
)
def test_a_job_does_not_answer_for_other_images(
    tmp_path: Path, name: str, images: list[Any]
) -> None:
    assert not is_covered(tmp_path, name, images=images)


def test_a_job_answers_for_its_bundles_by_their_names(tmp_path: Path) -> None:
    bundle = {"bundle": "app", "images": ["app:1", "db:1"]}

    assert is_covered(tmp_path, "app", Kind.BUNDLE, images=[bundle])
    assert not is_covered(tmp_path, "db", Kind.BUNDLE, images=[bundle])


@pytest.mark.parametrize(
    ("name", "expected"), [("web", True), ("web2", False), ("db-1", True), ("db-old", False)]
)
def test_a_job_answers_for_containers_that_it_names_or_that_fit_its_patterns(
    tmp_path: Path, name: str, *, expected: bool
) -> None:
    section = {"containers": ["web", "db-*"], "exclude": ["db-old"]}

    assert expected == is_covered(tmp_path, name, Kind.CONTAINER, **section)


def test_a_name_that_is_hashed_in_its_key_is_not_taken_for_one_that_fits_everything(
    tmp_path: Path,
) -> None:
    assert not is_covered(tmp_path, LONG, images=["**"])


def test_literals_are_told_as_listings_show_them() -> None:
    job = job_of(
        images=[
            "app:1",
            LONG,
            "db:*",
            {"image": "app:1", "platform": "linux/arm64"},
            {"bundle": "both", "images": ["app:1", "db:1"]},
        ],
        containers=["web", "db-*"],
    )

    assert literals(job) == {
        (Kind.IMAGE, "app:1"),
        (Kind.IMAGE, "app:1@linux/arm64"),
        (Kind.IMAGE, segment(LONG)),
        (Kind.BUNDLE, "both"),
        (Kind.CONTAINER, "web"),
    }


def test_a_long_name_is_listed_as_the_hash_in_its_key() -> None:
    key = key_of(LONG)

    assert (Kind.IMAGE, key.folder.split("/")[4]) == as_listed(Kind.IMAGE, LONG)


def planned(backups: list[BackupKey], **terms: Any) -> list[GroupPlan]:
    sound = {backup.archive_id for backup in backups}
    rules = terms.pop("rules", Rules(keep_last=1))
    return plan(backups, sound, Terms(rules, ZoneInfo("UTC"), NOW, 50, **terms))


def test_nothing_of_a_group_goes_that_is_left_alone() -> None:
    backups = [key_of("app:1", days=day, number=day) for day in (2, 1, 0)]

    (group,) = planned(backups, is_covered=lambda _: False)

    assert [] == group.going(yes=True)


def test_the_newest_backup_of_a_source_is_asked_who_answers_for_it() -> None:
    backups = [key_of("app:1", days=day, number=day) for day in (2, 1, 0)]
    asked: list[datetime] = []

    def ask(backup: BackupKey) -> bool:
        asked.append(backup.taken_at)
        return True

    planned(backups, is_covered=ask)

    assert [NOW] == asked


@pytest.mark.parametrize(("both", "left"), [(False, 1), (True, 0)])
def test_a_repository_is_gone_only_when_all_of_its_tags_are(*, both: bool, left: int) -> None:
    backups = [key_of("app:1", days=900), key_of("app:2", days=800, number=1)]
    rules = Rules(keep_last=1, gone_after=Duration.parse("30d"), group="repository")
    since = {(Kind.IMAGE, "app:1"): NOW - 300 * DAY}
    if both:
        since[Kind.IMAGE, "app:2"] = NOW - 200 * DAY

    (group,) = planned(backups, rules=rules, gone_since=since.get)

    assert left == len(backups) - len(group.going())
