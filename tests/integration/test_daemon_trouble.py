"""What a daemon meets at its start: another one, a damaged history, a store that refuses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.aftermath import the_sentence
from tests.integration.command import Command
from tests.integration.conftest import WritePolicy
from tests.integration.daemon_process import YEARLY, history, running
from tests.servers.receiver import Receiver

GOOD = {"schedule": YEARLY, "images": ["backupd-test-missing:1"]}


def test_a_second_daemon_is_refused(policy: WritePolicy, backupd: Command, tmp_path: Path) -> None:
    policy({"good": GOOD}, store={"url": f"file://{tmp_path}/store"})
    with running(backupd) as first:
        first.wait_until_ready()
        second = backupd("daemon")

    assert 7 == second.code
    assert f"cannot run a daemon on {backupd.state_dir}: process " in the_sentence(second)


@pytest.mark.parametrize("damage", ["garbage", "cut"])
def test_a_damaged_history_is_set_aside_and_a_new_one_begun(
    damage: str, policy: WritePolicy, backupd: Command, tmp_path: Path
) -> None:
    policy({"good": GOOD}, store={"url": f"file://{tmp_path}/store"})
    backupd("backup")
    path = backupd.state_dir / "history.sqlite"
    whole = path.read_bytes()
    path.write_bytes(b"\x00garbage" * 4096 if damage == "garbage" else whole[: len(whole) // 2])
    with running(backupd) as daemon:
        daemon.wait_until_ready()
        code = daemon.stop()

    assert 0 == code
    assert 1 == daemon.log.count("the history was damaged")
    assert [] == history(backupd).recent(None, 9)
    assert {"good"} == set(history(backupd).promises())
    assert 1 == len(list(backupd.state_dir.glob("history.sqlite.damaged-*Z")))


def test_a_store_that_refuses_the_login_is_told_to_people(
    policy: WritePolicy, backupd: Command, bucket: dict[str, Any]
) -> None:
    with Receiver() as receiver:
        notify = {"urls": [f"json://{receiver.address}/"]}
        policy({"good": GOOD}, store={**bucket, "secret_key": "wrong"}, notify=notify)
        with running(backupd) as daemon:
            told = receiver.next().json
            code = daemon.stop()

    assert ("backupd: trouble with the store on testhost", 0) == (told["title"], code)
    assert "the secret key does not belong to the access key" in told["message"]
