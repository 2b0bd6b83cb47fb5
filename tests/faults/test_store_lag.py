"""A store whose listings lag: nothing that is needed goes, and nothing stays for ever."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.faults.scene import JOB, PLAIN, Scene, listed, policy_of
from tests.faults.sweeping import backups_in, settle
from tests.integration.aftermath import refuse_secrets, the_sentence
from tests.integration.command import Command
from tests.integration.conftest import WritePolicy
from tests.integration.trees import succeeded
from tests.servers.faulty_store import Fault, FaultyStore
from tests.servers.seaweedfs import SeaweedFS

ALWAYS = 1 << 30
LIST_BACKUPS = r"GET /[^/?]+\?(?=.*list-type=2)(?=.*prefix=[^&]*backups).*"


@pytest.fixture(autouse=True)
def _two_backups(
    scene: Scene,
    backupd: Command,
    policy: WritePolicy,
    to_store: FaultyStore,
    s3: SeaweedFS,
    bucket: dict[str, Any],
) -> Iterator[None]:
    def write(retention: dict[str, int] | None) -> None:
        jobs = policy_of([], [PLAIN])
        jobs[JOB] |= {"retention": retention} if retention else {}
        store = {**bucket, "endpoint": to_store.address}
        policy(jobs, store=store, compression="none", prune="never")

    write({"keep_last": 1})
    for _ in range(2):
        succeeded(backupd("backup", JOB))
    yield
    to_store.heal()
    write(None)
    settle(scene, backupd, s3, bucket)


def as_it_was() -> Callable[[bytes], bytes]:
    """Answers with the first listing again and again."""
    seen: list[bytes] = []

    def again(body: bytes) -> bytes:
        seen.append(body)
        return seen[0]

    return again


def without(key_part: str) -> Callable[[bytes], bytes]:
    """Leaves the object out of a listing."""

    def thinned(body: bytes) -> bytes:
        entry = rf"<Contents>(?:(?!</Contents>).)*{re.escape(key_part)}.*?</Contents>"
        return re.sub(entry.encode(), b"", body, flags=re.DOTALL)

    return thinned


def test_a_backup_that_is_still_listed_after_its_removal_is_told_and_its_archive_goes_later(
    backupd: Command, to_store: FaultyStore, s3: SeaweedFS, bucket: dict[str, Any]
) -> None:
    oldest = listed(backupd)[0]
    to_store.add(Fault(LIST_BACKUPS, alter=as_it_was(), times=ALWAYS))
    pruned = backupd("prune")
    ghost = backupd("restore", "container", "--id", oldest["id"], "--output", "ghost.tar")
    to_store.heal()

    assert 0 != pruned.code
    refuse_secrets(pruned)
    assert "deleted without an error and still listed" in pruned.stderr
    assert 5 == ghost.code
    assert "it is no longer in s3://" in the_sentence(ghost)
    assert not (backupd.directory / "ghost.tar").exists()
    assert 1 == backups_in(s3, bucket)


def test_a_backup_that_is_not_listed_yet_keeps_its_archive(
    backupd: Command, to_store: FaultyStore, s3: SeaweedFS, bucket: dict[str, Any]
) -> None:
    taken = listed(backupd)[-1]["taken_at"]
    newest = re.sub(r"[-:]", "", str(taken))[:15]
    to_store.add(Fault(LIST_BACKUPS, alter=without(newest), times=ALWAYS))
    seen = len(listed(backupd))
    pruned = backupd("prune")
    to_store.heal()

    assert 1 == seen
    assert 0 == pruned.code, pruned.stderr
    assert 2 == backups_in(s3, bucket)
