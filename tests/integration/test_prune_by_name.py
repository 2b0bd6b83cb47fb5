"""Single backups and whole names, by a person's word: forget, pin, unpin, rename-job, adopt."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from backupd.stores.directory import DirectoryStore
from tests.contract.shelves import Shelf, ids_of
from tests.integration.aftermath import the_sentence
from tests.integration.command import Command
from tests.integration.conftest import WritePolicy
from tests.integration.trees import succeeded

IMAGE = "backupd-test-prune:1"
HOST = "testhost"


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """What is in the store of the command's policy."""
    return Shelf(DirectoryStore(tmp_path / "store"), tmp_path / "writer", host=HOST)


@pytest.fixture(autouse=True)
def nightly(policy: WritePolicy, shelf: Shelf) -> Any:
    """The policy of one job that keeps one backup of the image; no engine answers."""

    def write(**sections: Any) -> None:
        jobs = {"nightly": {"images": [IMAGE], "retention": {"keep_last": 1}}}
        sections = {"docker": {"host": "unix:///nowhere/docker.sock"}, **sections}
        policy(jobs, store={"url": shelf.store.url}, **sections)

    write()
    return write


AT_A_TERMINAL = (
    *(sys.executable, "-c"),
    "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))",
)
"""What to put before a command so that its standard input is a terminal where somebody types."""


def test_forget_removes_one_backup_and_its_archive(shelf: Shelf, backupd: Command) -> None:
    made = shelf.add_daily(3, name=IMAGE)

    result = succeeded(backupd("forget", "--yes", made[1].id))

    assert ([made[0].id, made[2].id], 2) == (shelf.ids(), len(shelf.archive_ids()))
    assert "removed 1 backups, freed 37 bytes" in result.stdout


def test_forget_keeps_an_archive_that_another_backup_names(shelf: Shelf, backupd: Command) -> None:
    made = shelf.add_daily(1, name=IMAGE)
    shelf.add(job="weekly", archive=made[0].archive)

    succeeded(backupd("forget", "--yes", made[0].key.id))

    assert ([], 1) == (shelf.broken(), len(shelf.archive_ids()))


def test_forget_without_a_terminal_needs_a_yes(shelf: Shelf, backupd: Command) -> None:
    made = shelf.add(name=IMAGE)

    result = backupd("forget", made.id)

    assert (2, [made.id]) == (result.code, shelf.ids())
    assert "there is no terminal; give --yes" in the_sentence(result)


@pytest.mark.parametrize(("answer", "code", "left"), [(b"n\n", 130, 1), (b"y\n", 0, 0)])
def test_forget_asks_at_a_terminal(
    shelf: Shelf, backupd: Command, answer: bytes, code: int, left: int
) -> None:
    made = shelf.add(name=IMAGE)

    result = backupd("forget", made.id, stdin=answer, before=AT_A_TERMINAL)

    assert "Remove for good?" in result.stdout
    assert (code, left) == (result.code, len(shelf.ids()))


def test_forget_does_nothing_when_one_of_the_ids_is_unknown(shelf: Shelf, backupd: Command) -> None:
    made = shelf.add(name=IMAGE)

    result = backupd("forget", "--yes", made.id, "0123456789ab")

    assert (5, [made.id]) == (result.code, shelf.ids())


def test_forget_wants_enough_of_an_id_to_be_sure(shelf: Shelf, backupd: Command) -> None:
    shelf.add_daily(17, name=IMAGE)  # sixteen digits can begin only so many differently
    begin = {made_id[0] for made_id in shelf.ids() if _begins(shelf.ids(), made_id[0]) > 1}

    result = backupd("forget", "--yes", min(begin))

    assert (2, 17) == (result.code, len(shelf.ids()))
    assert "several begin so" in the_sentence(result)


def test_a_pinned_backup_is_kept_by_prune_and_by_forget_until_it_is_unpinned(
    shelf: Shelf, backupd: Command
) -> None:
    made = shelf.add_daily(3, name=IMAGE)

    succeeded(backupd("pin", made[2].id, "--note", "before the migration"))
    forgotten = backupd("forget", "--yes", made[2].id)
    succeeded(backupd("prune"))
    while_pinned = shelf.ids()
    note = shelf.store.get_bytes(made[2].key.state_key("pinned"), limit_bytes=100)
    succeeded(backupd("unpin", made[2].id))
    succeeded(backupd("prune"))

    assert (2, b"before the migration") == (forgotten.code, note)
    assert "it is pinned; `backupd unpin` it first" in the_sentence(forgotten)
    assert ([made[0].id, made[2].id], [made[0].id]) == (while_pinned, shelf.ids())


def test_a_renamed_jobs_backups_are_the_new_jobs(shelf: Shelf, backupd: Command) -> None:
    made = shelf.add_daily(2, name=IMAGE, job="old")

    result = succeeded(backupd("rename-job", "old", "nightly"))
    rows = succeeded(backupd("list", "--json")).json

    assert "2 backups of job old are now of job nightly" in result.stdout
    assert [(one.id, "nightly") for one in reversed(made)] == [(r["id"], r["job"]) for r in rows]


@pytest.mark.parametrize(
    ("names", "code"), [(("old", "a/b"), 2), (("old", "old"), 2), (("missing", "new"), 5)]
)
def test_a_rename_that_makes_no_sense_is_refused(
    shelf: Shelf, backupd: Command, names: tuple[str, str], code: int
) -> None:
    made = shelf.add_daily(2, name=IMAGE, job="old")

    assert (code, ids_of(made)) == (backupd("rename-job", *names).code, shelf.ids())


def test_a_renamed_machine_goes_on_with_its_backups_under_its_new_name(
    shelf: Shelf, backupd: Command, nightly: Any
) -> None:
    made = shelf.add_daily(3, name=IMAGE)
    nightly(host="newname")

    adopted = succeeded(backupd("adopt", "--from", HOST))
    rows = succeeded(backupd("list", "--json")).json
    pruned = succeeded(backupd("prune", "--json")).json
    nightly(host=HOST)
    refused = backupd("prune")

    assert "backs up as 'newname'" in adopted.stdout
    assert "has the 3 backups of 'testhost'" in adopted.stdout
    assert [(one.id, one.archive.key) for one in reversed(made)] == [
        (row["id"], row["archive_key"]) for row in rows
    ]
    assert (2, 2) == (len(pruned["removed"]), pruned["archives_removed"])
    assert (4, True) == (refused.code, "adopted the backups of" in the_sentence(refused))


def _begins(ids: list[str], begin: str) -> int:
    return sum(one.startswith(begin) for one in ids)
