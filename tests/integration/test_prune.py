"""`backupd prune` and what follows each job, through the command: what it shows, does and refuses.

The pasts come straight into the store, so that no test waits for days to go by.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import docker
import pytest

from backupd.stores.directory import DirectoryStore
from tests.contract.shelves import DAY, NOW, Shelf, ids_of
from tests.integration.aftermath import names_listed, refuse_secrets, the_sentence
from tests.integration.command import Command, Result
from tests.integration.conftest import WritePolicy, leaving_no_trace
from tests.integration.holding import held
from tests.integration.objects import Objects
from tests.integration.trees import lose, make_image, succeeded
from tests.servers.dockerd import Engine
from tests.servers.faulty_engine import LOAD, Fault, FaultyEngine
from tests.servers.seaweedfs import NO_DELETE, SeaweedFS

IMAGE, OTHER = "backupd-test-prune:1", "backupd-test-prune:2"
ONE, TWO = {"keep_last": 1}, {"keep_last": 2}
HOST = "testhost"


@pytest.fixture(scope="module")
def image(engine: Engine) -> Iterator[str]:
    with leaving_no_trace(engine) as client:
        make_image(client, IMAGE)
        yield IMAGE


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """What is in the store of the command's policy."""
    return Shelf(DirectoryStore(tmp_path / "store"), tmp_path / "writer", host=HOST)


@pytest.fixture
def nightly(policy: WritePolicy, shelf: Shelf) -> Any:
    """Writes the policy of one job that has the image, with these rules."""

    def write(retention: Any = None, **sections: Any) -> None:
        job = {"images": [IMAGE], "schedule": "0 3 * * *"}
        jobs = {"nightly": {**job, **({"retention": retention} if retention else {})}}
        policy(jobs, store={"url": shelf.store.url}, **sections)

    return write


def json_of(backupd: Command, *arguments: str, code: int = 0) -> Any:
    result = backupd("prune", "--json", *arguments)
    assert code == result.code, result.stderr
    return result.json


def backed_up(backupd: Command, *arguments: str, code: int = 0) -> Result:
    result = backupd("backup", *arguments)
    assert code == result.code, result.stderr
    return result


def test_a_dry_run_says_what_would_go_and_removes_nothing(
    nightly: Any, shelf: Shelf, backupd: Command
) -> None:
    nightly(ONE)
    made = shelf.add_daily(3, name=IMAGE)
    before = shelf.objects()

    result = succeeded(backupd("prune", "--dry-run"))

    assert f"image {IMAGE} of job nightly: keep 1, remove 2" in result.stdout
    assert "would remove 2 backups and free 74 bytes" in result.stdout
    assert [False, True, True] == [made_id in result.stdout for made_id in ids_of(made)]
    assert (before, []) == (shelf.objects(), list((backupd.state_dir).glob("gone.json")))


def test_prune_removes_what_the_dry_run_said(nightly: Any, shelf: Shelf, backupd: Command) -> None:
    nightly(ONE)
    made = shelf.add_daily(3, name=IMAGE)
    said = json_of(backupd, "--dry-run")

    result = succeeded(backupd("prune"))

    assert "removed 2 backups and 2 archives that no backup names any more, freed" in result.stdout
    assert [made[0].id] == shelf.ids()
    assert said["would_free_bytes"] == sum(one.archive.stored_bytes for one in made[1:])


def test_explain_shows_every_backup_and_which_rule_keeps_it(
    nightly: Any, shelf: Shelf, backupd: Command
) -> None:
    nightly({"keep_daily": 2})
    made = shelf.add_daily(4, name=IMAGE)
    shelf.pin(made[3])

    rows = succeeded(backupd("prune", "--dry-run", "--explain")).stdout.splitlines()
    reasons = {made_id: row for made_id in ids_of(made) for row in rows if made_id in row}

    assert "keep" in reasons[made[0].id]
    assert "daily backup, minimum 1" in reasons[made[0].id]
    assert reasons[made[2].id].split()[0] == "remove"
    assert reasons[made[3].id].split()[-1] == "pinned"


def test_the_json_of_a_prune_has_the_documented_fields(
    nightly: Any, shelf: Shelf, backupd: Command
) -> None:
    nightly(ONE)
    made = shelf.add_daily(2, name=IMAGE)
    shelf.add(name=OTHER)

    result = json_of(backupd)

    assert {
        "dry_run": False,
        "would_free_bytes": made[1].archive.stored_bytes,
        "groups": [
            {
                "job": "nightly",
                "kind": "image",
                "name": IMAGE,
                "refused": None,
                "left_alone": None,
                "backups": [
                    {
                        "id": made[0].id,
                        "taken_at": f"{made[0].taken_at:%Y-%m-%dT%H:%M:%S}.000Z",
                        "keep": True,
                        "reasons": ["last backup", "minimum 1"],
                        "rules": ["keep_last", "minimum"],
                    },
                    {
                        "id": made[1].id,
                        "taken_at": f"{made[1].taken_at:%Y-%m-%dT%H:%M:%S}.000Z",
                        "keep": False,
                        "reasons": [],
                        "rules": [],
                    },
                ],
            },
            {**result["groups"][1], "name": OTHER},
        ],
        "removed": [made[1].id],
        "freed_bytes": made[1].archive.stored_bytes,
        "archives_removed": 1,
        "uploads_dropped": 0,
        "refused": [],
        "skipped": [],
    } == result
    assert "the policy no longer names it" in result["groups"][1]["left_alone"]


def test_the_json_of_a_dry_run_has_no_fields_of_what_was_done(
    nightly: Any, shelf: Shelf, backupd: Command
) -> None:
    nightly(ONE)
    shelf.add(name=IMAGE)

    result = json_of(backupd, "--dry-run")

    assert ({"dry_run", "would_free_bytes", "groups"}, True) == (result.keys(), result["dry_run"])


def test_until_shows_what_the_schedule_and_the_rules_would_leave(
    nightly: Any, shelf: Shelf, backupd: Command
) -> None:
    nightly({"keep_daily": 3, "keep_last": 1})
    made = shelf.add(DAY, name=IMAGE)
    day = (NOW + 10 * DAY).date()

    result = json_of(backupd, "--until", f"{day}")
    shown = succeeded(backupd("prune", "--until", f"{day}")).stdout
    (group,) = result["groups"]
    left = [datetime.fromisoformat(text) for text in group["left"]]

    assert {"job": "nightly", "kind": "image", "name": IMAGE, "left": group["left"]} == group
    assert [day - timedelta(days=back) for back in (1, 2, 3)] == [one.date() for one in left]
    assert {3} == {one.hour for one in left}
    assert f"{day - timedelta(days=1)} 03:00:00 UTC" in shown
    assert [made.id] == shelf.ids()


@pytest.mark.parametrize("date", ["2020-01-01", "tomorrow"])
def test_until_wants_a_day_to_come(nightly: Any, backupd: Command, date: str) -> None:
    nightly(ONE)

    assert 2 == backupd("prune", "--until", date).code


def test_a_plan_beyond_the_limit_is_refused_until_somebody_says_yes(
    nightly: Any, shelf: Shelf, backupd: Command
) -> None:
    nightly(ONE)
    made = shelf.add_daily(11, name=IMAGE)

    refused = backupd("prune")
    untouched = shelf.ids()
    overruled = backupd("prune", "--yes")

    assert (1, ids_of(made)) == (refused.code, untouched)
    assert "REFUSED" in refused.stdout
    assert "would remove 10 of its 11 backups, more than prune_limit" in refused.stdout
    assert "then repeat with --yes" in refused.stdout
    assert (0, [made[0].id]) == (overruled.code, shelf.ids())
    assert "overruled" in overruled.stdout


def test_a_plan_with_a_backup_from_the_future_is_refused_whoever_says_yes(
    nightly: Any, shelf: Shelf, backupd: Command
) -> None:
    nightly(ONE)
    future = shelf.add(-DAY, name=IMAGE)
    shelf.add_daily(3, name=IMAGE)

    result = json_of(backupd, "--yes", code=1)

    assert f"its newest backup {future.id} is dated" in result["groups"][0]["refused"]
    assert ([], 4) == (result["removed"], len(shelf.ids()))


def test_only_the_jobs_that_are_named_are_pruned(
    policy: WritePolicy, shelf: Shelf, backupd: Command
) -> None:
    job = {"images": [IMAGE], "retention": ONE}
    policy({"nightly": job, "weekly": job}, store={"url": shelf.store.url})
    shelf.add_daily(3, name=IMAGE)
    weekly = shelf.add_daily(3, name=IMAGE, job="weekly")

    succeeded(backupd("prune", "nightly"))

    assert 4 == len(shelf.ids())
    assert set(ids_of(weekly)) < set(shelf.ids())


def test_a_job_that_nobody_knows_is_not_found(nightly: Any, backupd: Command) -> None:
    nightly(ONE)

    result = backupd("prune", "nightyl")

    assert (5, "cannot find job 'nightyl'") == (result.code, the_sentence(result)[:25])


def test_what_the_policy_no_longer_names_is_said_and_pruned_when_asked(
    nightly: Any, shelf: Shelf, backupd: Command
) -> None:
    nightly(ONE)
    retired = shelf.add_daily(5, name=OTHER, job="retired")

    by_itself = succeeded(backupd("prune"))
    untouched = shelf.ids()
    succeeded(backupd("prune", "--job", "retired", "--retention", "keep_last=3"))

    assert f"image {OTHER} of job retired: keep 5, remove 0" in by_itself.stdout
    assert "left alone: the policy no longer names it" in by_itself.stdout
    assert (ids_of(retired), ids_of(retired[:3])) == (untouched, shelf.ids())


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ("keep_last", "write RULE=VALUE"),
        ("keep_lots=3", "keep_lots"),
        ("keep_last=-1", "whole number"),
        ("keep_last=²", "whole number"),
        ("keep_last=0", "keeps everything"),
        ("keep_last=1,keep_last=2", "twice"),
        ("keep_within=3x", "duration"),
    ],
)
def test_rules_that_make_no_sense_are_refused(
    nightly: Any, backupd: Command, rules: str, says: str
) -> None:
    nightly(ONE)

    result = backupd("prune", "--job", "nightly", "--retention", rules)

    assert 2 == result.code
    assert says in the_sentence(result)


def test_rules_on_the_command_line_need_a_job(nightly: Any, backupd: Command) -> None:
    nightly(ONE)

    result = backupd("prune", "--retention", "keep_last=1")

    assert 2 == result.code
    assert "--retention needs --job" in the_sentence(result)


def test_prune_follows_each_job(image: str, nightly: Any, shelf: Shelf, backupd: Command) -> None:
    nightly(TWO)
    shelf.add_daily(3, name=IMAGE)

    result = backed_up(backupd, "nightly")

    assert 2 == len(shelf.ids())
    assert "pruned 2 old backups" in result.stderr


@pytest.mark.parametrize("when", ["never", {"schedule": "30 5 * * *"}])
def test_prune_does_not_follow_where_the_policy_wants_it_apart(
    image: str, nightly: Any, shelf: Shelf, backupd: Command, when: Any
) -> None:
    nightly(TWO, prune=when)
    shelf.add_daily(3, name=IMAGE)

    backed_up(backupd)
    after_backup = len(shelf.ids())
    succeeded(backupd("prune"))

    assert (4, 2) == (after_backup, len(shelf.ids()))


def test_prune_does_not_follow_the_backup_of_a_single_source(
    image: str, nightly: Any, shelf: Shelf, backupd: Command
) -> None:
    nightly(ONE)
    shelf.add_daily(3, name=IMAGE)

    backed_up(backupd, IMAGE)

    assert 4 == len(shelf.ids())


def test_prune_follows_only_the_job_that_ran(
    image: str, policy: WritePolicy, shelf: Shelf, backupd: Command
) -> None:
    job = {"images": [IMAGE], "retention": ONE}
    policy({"nightly": job, "weekly": job}, store={"url": shelf.store.url})
    weekly = shelf.add_daily(3, name=IMAGE, job="weekly")

    backed_up(backupd, "--job", "nightly")

    assert set(ids_of(weekly)) < set(shelf.ids())


def test_a_source_that_is_not_on_the_engine_loses_nothing_after_the_run(
    image: str, policy: WritePolicy, shelf: Shelf, backupd: Command
) -> None:
    rules = {"keep_last": 1, "gone_after": "1h"}
    policy(
        {"nightly": {"images": [IMAGE, OTHER], "retention": rules}},
        store={"url": shelf.store.url},
    )
    shelf.add_daily(3, name=IMAGE)
    missing = shelf.add_daily(3, name=OTHER)

    backed_up(backupd, code=1)

    assert set(ids_of(missing)) < set(shelf.ids())
    assert 4 == len(shelf.ids())


def test_a_backup_whose_prune_was_refused_is_a_backup(
    image: str, nightly: Any, shelf: Shelf, backupd: Command
) -> None:
    nightly(ONE)
    shelf.add_daily(12, name=IMAGE)

    result = backed_up(backupd)

    assert 13 == len(shelf.ids())
    assert "more than prune_limit allows" in result.stderr


def test_the_json_of_a_backup_is_not_spoiled_by_its_prune(
    image: str, nightly: Any, shelf: Shelf, backupd: Command
) -> None:
    nightly(ONE)
    shelf.add_daily(2, name=IMAGE)

    result = backed_up(backupd, "--json")

    assert (1, 1) == (len(result.json), len(shelf.ids()))


def test_a_source_is_gone_when_it_was_not_on_the_engine_for_so_long(
    api: docker.APIClient, policy: WritePolicy, shelf: Shelf, backupd: Command
) -> None:
    make_image(api, OTHER, text="one-off")
    rules = {"keep_last": 1, "gone_after": "30d"}
    policy(
        {"nightly": {"images": ["backupd-test-prune:*"], "retention": rules}},
        store={"url": shelf.store.url},
    )
    shelf.add(50 * DAY, name=OTHER)
    gone = backupd.state_dir / "gone.json"

    succeeded(backupd("prune"))
    while_there = json.loads(gone.read_bytes())
    lose(api, OTHER)
    succeeded(backupd("prune"))
    noticed = json.loads(gone.read_bytes())
    gone.write_text(json.dumps(dict.fromkeys(noticed, f"{NOW - 40 * DAY}")))
    still = shelf.ids()
    result = succeeded(backupd("prune"))

    assert ({}, [f"nightly/image/{OTHER}"], 1) == (while_there, list(noticed), len(still))
    assert ([], True) == (shelf.ids(), "gone for more than 30d" in result.stdout)


def test_a_restore_that_is_reading_a_backup_does_not_lose_it(
    api: docker.APIClient, engine: Engine, nightly: Any, shelf: Shelf, backupd: Command
) -> None:
    with FaultyEngine(engine.host) as faulty:
        make_image(api, IMAGE, text="reading", layers=[{"data": b"\0" * (3 << 20)}])
        nightly(None, docker={"host": faulty.host}, compression="none")
        backed_up(backupd)
        (old,) = shelf.ids()
        lose(api, IMAGE)
        make_image(api, IMAGE, text="newer")
        backed_up(backupd)
        nightly(ONE, docker={"host": faulty.host})
        restore_old = ("restore", "image", IMAGE, "--id", old)
        fault = Fault(LOAD, at_sent_byte=1 << 20)
        with held(backupd, faulty, fault, *restore_old) as restore:
            during = backupd("prune")
            ended = restore.end()
        succeeded(backupd("prune"))

    assert (0, 0) == (during.code, ended.code)
    assert f"backup {old} is being restored: it stays for now" in during.stderr
    assert old not in shelf.ids()
    assert 1 == len(shelf.archive_ids())


def test_prune_says_what_a_bucket_refused_and_loses_nothing(
    s3: SeaweedFS, bucket: dict[str, Any], policy: WritePolicy, backupd: Command, image: str
) -> None:
    objects = Objects(s3, bucket)
    policy({"nightly": {"images": [IMAGE]}})
    for _ in range(2):
        backed_up(backupd)
    before = set(objects.sizes())
    keys = {"access_key": NO_DELETE.access_key, "secret_key": NO_DELETE.secret_key}
    policy({"nightly": {"images": [IMAGE], "retention": ONE}}, store={**bucket, **keys})

    result = backupd("prune")

    assert (1, before) == (result.code, set(objects.sizes()))
    assert "warning: the store did not remove testhost/backups/nightly" in result.stderr
    refuse_secrets(result)


def test_a_bucket_is_pruned_of_manifests_and_archives(
    s3: SeaweedFS,
    bucket: dict[str, Any],
    api: docker.APIClient,
    policy: WritePolicy,
    backupd: Command,
) -> None:
    objects = Objects(s3, bucket)
    policy({"nightly": {"images": [IMAGE], "retention": ONE}})
    for text in ("one", "two"):
        make_image(api, IMAGE, text=text)
        backed_up(backupd)

    assert (1, [IMAGE]) == (len(objects.archives()), names_listed(backupd))


def test_another_hosts_manifests_can_be_pruned_from_here(
    nightly: Any, shelf: Shelf, tmp_path: Path, backupd: Command
) -> None:
    nightly(ONE)
    other = Shelf(shelf.store, tmp_path / "other", host="otherhost")
    made = other.add_daily(3, name=IMAGE)

    succeeded(backupd("prune", "--host", "otherhost"))

    assert ([made[0].id], 3) == (other.ids(), len(other.archive_ids()))


def test_a_host_that_is_not_in_the_store_is_not_found(nightly: Any, backupd: Command) -> None:
    nightly(ONE)

    assert 5 == backupd("prune", "--host", "nobody").code


def test_a_prefix_of_another_machine_is_not_pruned(
    nightly: Any, shelf: Shelf, backupd: Command
) -> None:
    nightly(ONE)
    shelf.add_daily(3, name=IMAGE)
    shelf.store.put_bytes(f"{HOST}/host.json", b'{"machine_id": "another"}')

    result = backupd("prune")

    assert (4, 3) == (result.code, len(shelf.ids()))
    assert "run `backupd adopt` if it replaces that machine" in the_sentence(result)
