"""`before` and `after`: commands inside a container around its reading."""

from __future__ import annotations

import io
import signal
import stat
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.integration.aftermath import (
    CANARY,
    journal,
    kept,
    manifest_in,
    names_listed,
    refuse_secrets,
    status,
    the_sentence,
    wait_until,
)
from tests.integration.command import Command
from tests.integration.conftest import WritePolicy
from tests.integration.holding import held
from tests.integration.trees import make_image, run_inside, succeeded
from tests.servers.dockerd import Engine
from tests.servers.faulty_engine import EXPORT, Fault, FaultyEngine, Then
from tests.servers.rootfs import base_image

NAME, IMAGE = "backupd-test-hooks", "backupd-test-hooks:1"
SERVICE = (
    "echo started >>/log; trap 'echo stopped >>/log; exit 0' TERM; "
    "touch /up; while :; do sleep 0.1; done"
)
BEFORE, AFTER = {"exec": "echo before >>/log"}, {"exec": "echo after >>/log"}


@pytest.fixture
def service(api: docker.APIClient) -> docker.APIClient:
    """The engine, with a running container that writes down what happens to it."""
    api.create_container(base_image(api), ["sh", "-c", SERVICE], name=NAME)
    api.start(NAME)
    wait_until(lambda: run_inside(api, NAME, "test -e /up && echo up || echo not") == "up\n")
    return api


@pytest.fixture
def faulty(engine: Engine) -> Iterator[FaultyEngine]:
    with FaultyEngine(engine.host) as proxy:
        yield proxy


class Hooked:
    """Writes a policy whose container has these commands."""

    def __init__(self, policy: WritePolicy, store: Path, host: str) -> None:
        self._policy = policy
        self.store = store
        self._host = host

    def __call__(
        self, before: Sequence[object] = (), after: Sequence[object] = (), **more: object
    ) -> None:
        selector = {"name": NAME, "before": list(before), "after": list(after), **more}
        self._policy(
            {"nightly": {"containers": [selector]}, "other": {"images": [IMAGE]}},
            store={"url": f"file://{self.store}"},
            docker={"host": self._host},
        )


@pytest.fixture
def hooked(tmp_path: Path, policy: WritePolicy, faulty: FaultyEngine) -> Hooked:
    return Hooked(policy, tmp_path / "store", faulty.host)


def log(api: docker.APIClient) -> list[str]:
    """What happened in the container, as it wrote it down."""
    chunks, _ = api.get_archive(NAME, "/log")
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        file = tar.extractfile("log")
        assert file is not None
        return file.read().decode().split()


def backed_up_log(backupd: Command) -> list[str]:
    """The same, as it stands in the backup."""
    succeeded(backupd("restore", "container", NAME, "--output", "back.tar"))
    with tarfile.open(backupd.directory / "back.tar") as tar:
        file = tar.extractfile("log")
        assert file is not None
        return file.read().decode().split()


@pytest.mark.parametrize(
    ("way", "in_backup", "afterwards"),
    [
        ({}, ["started", "before"], ["started", "before", "after"]),
        ({"pause": True}, ["started", "before"], ["started", "before", "after"]),
        (
            {"stop": True},
            ["started", "before", "stopped"],
            ["started", "before", "stopped", "started", "after"],
        ),
    ],
    ids=["as-it-is", "paused", "stopped"],
)
def test_commands_run_before_the_container_is_held_and_after_it_goes_on(
    way: Mapping[str, Any],
    in_backup: list[str],
    afterwards: list[str],
    service: docker.APIClient,
    backupd: Command,
    hooked: Hooked,
) -> None:
    hooked([BEFORE], [AFTER], **way)
    succeeded(backupd("backup", "nightly"))
    wait_until(lambda: len(log(service)) == len(afterwards))

    assert in_backup == backed_up_log(backupd)
    assert set(afterwards) == set(log(service))
    assert (afterwards[:-2], []) == (log(service)[:-2], journal(backupd))


def test_a_command_before_that_fails_stops_the_backup_and_what_is_after_runs(
    service: docker.APIClient, faulty: FaultyEngine, backupd: Command, hooked: Hooked
) -> None:
    failing = {"exec": "echo dumping; echo no space left >&2; exit 3"}
    hooked([failing, BEFORE], [AFTER], stop=True)
    result = backupd("backup", "nightly")

    assert 1 == result.code
    assert (
        f"container {NAME}: cannot back up container {NAME!r}: its command before[0] ended with "
        "exit code 3: no space left; nothing was read"
    ) == the_sentence(result)
    assert [] == [request for request in faulty.requests if request.endswith(("/export", "/stop"))]
    assert (["started", "after"], [], []) == (log(service), kept(hooked.store), journal(backupd))


def test_a_command_before_that_may_fail_is_a_warning_of_the_backup(
    service: docker.APIClient, backupd: Command, hooked: Hooked
) -> None:
    hooked([{"exec": ["nonsuch"], "on_failure": "warn"}, BEFORE])
    result = backupd("backup", "nightly")
    (warning,) = manifest_in(hooked.store)["warnings"]

    assert 0 == result.code
    assert warning.startswith("before[0] ended with exit code 12")
    assert warning in the_sentence(result)
    assert ["started", "before"] == log(service)


def test_what_is_after_runs_although_the_export_failed(
    service: docker.APIClient, faulty: FaultyEngine, backupd: Command, hooked: Hooked
) -> None:
    hooked([BEFORE], [AFTER], pause=True)
    faulty.add(Fault(EXPORT, Then.BREAK, at_byte=100_000, times=2))
    result = backupd("backup", "nightly")

    assert 1 == result.code
    assert (["started", "before", "after"], []) == (log(service), kept(hooked.store))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_after_runs_although_the_backup_was_told_to_stop(
    number: signal.Signals,
    service: docker.APIClient,
    faulty: FaultyEngine,
    backupd: Command,
    hooked: Hooked,
) -> None:
    hooked([BEFORE], [AFTER], pause=True)
    fault = Fault(EXPORT, at_byte=100_000)
    with held(backupd, faulty, fault, "backup", "nightly") as backup:
        result = backup.end(number)

    assert 130 == result.code
    assert (["started", "before", "after"], []) == (log(service), journal(backupd))


def test_a_command_that_runs_can_be_cut_short_by_who_stops_the_backup(
    service: docker.APIClient, backupd: Command, hooked: Hooked
) -> None:
    hooked([{"exec": "touch /begun; sleep 600"}], [AFTER])
    with backupd.start("backup", "nightly") as backup:
        wait_until(lambda: run_inside(service, NAME, "test -e /begun || echo not") == "")
        backup.send_signal(signal.SIGTERM)
        backup.communicate(timeout=120)

    assert 130 == backup.returncode
    assert ["started", "after"] == log(service)


def test_every_command_after_runs_and_one_that_fails_is_a_warning(
    service: docker.APIClient, backupd: Command, hooked: Hooked
) -> None:
    hooked([], [{"exec": "exit 4"}, AFTER])
    result = backupd("backup", "nightly")

    assert 0 == result.code
    assert ["after[0] ended with exit code 4"] == manifest_in(hooked.store)["warnings"]
    assert ["started", "after"] == log(service)


def test_a_command_after_may_decide_that_there_is_no_backup(
    service: docker.APIClient, backupd: Command, hooked: Hooked
) -> None:
    hooked([], [{"exec": "echo inconsistent; exit 4", "on_failure": "abort"}, AFTER])
    result = backupd("backup", "nightly")

    assert 1 == result.code
    assert "after[0] ended with exit code 4: inconsistent; what was read is not kept" in (
        the_sentence(result)
    )
    assert [] == names_listed(backupd)
    assert ["started", "after"] == log(service)


def test_a_command_that_takes_too_long_has_failed(
    service: docker.APIClient, backupd: Command, hooked: Hooked
) -> None:
    hooked([{"exec": "echo waiting for the lock; sleep 600", "timeout": "1s"}])
    result = backupd("backup", "nightly")

    assert 1 == result.code
    assert (
        "before[0] did not end within 1 s, and may go on in there: waiting for the lock"
    ) in the_sentence(result)


def test_a_command_runs_as_the_user_that_is_named(
    service: docker.APIClient, backupd: Command, hooked: Hooked
) -> None:
    hooked([{"exec": "id -u >/tmp/user; id -g >>/tmp/user", "user": "123:456"}])
    run_inside(service, NAME, "mkdir -p /tmp; chmod 777 /tmp")
    succeeded(backupd("backup", "nightly"))

    assert "123\n456\n" == run_inside(service, NAME, "cat /tmp/user")


@pytest.mark.parametrize("state", ["exited", "paused"])
def test_nothing_is_run_in_a_container_that_a_person_stopped_or_paused(
    state: str, service: docker.APIClient, backupd: Command, hooked: Hooked
) -> None:
    hooked([BEFORE], [AFTER])
    if state == "exited":
        service.kill(NAME)
    else:
        service.pause(NAME)
    result = backupd("backup", "nightly")

    assert 0 == result.code
    assert f"it was not running ({state}), so no command was run inside it" in the_sentence(result)
    assert (state, ["started"]) == (status(service, NAME), log(service))


def test_a_killed_backup_owes_the_commands_after_to_the_next_one(
    service: docker.APIClient, faulty: FaultyEngine, backupd: Command, hooked: Hooked
) -> None:
    make_image(service, IMAGE)
    hooked([BEFORE], [AFTER], stop=True)
    fault = Fault(EXPORT, at_byte=100_000)
    with held(backupd, faulty, fault, "backup", "nightly") as backup:
        backup.end(signal.SIGKILL)
    result = backupd("backup", "other")
    wait_until(lambda: len(log(service)) == 5)

    assert 0 == result.code
    assert [
        f"backupd: container {NAME!r} was left stopped by a backup that died; it goes on now",
        f"backupd: container {NAME!r}: a backup that was cut off had not run after[0]; "
        "it is run now, for 300 s at most",
        f"backupd: container {NAME!r}: after[0] gave 0",
    ] == result.stderr.splitlines()
    assert ("running", []) == (status(service, NAME), journal(backupd))
    assert {"started", "before", "stopped", "after"} == set(log(service))


def test_no_message_repeats_a_command_and_nobody_else_reads_what_is_owed(
    service: docker.APIClient, faulty: FaultyEngine, backupd: Command, hooked: Hooked
) -> None:
    hooked(
        [{"exec": f"true {CANARY}; exit 1", "on_failure": "warn"}, {"exec": ["nonsuch", CANARY]}],
        [{"exec": f"true {CANARY}; exit 1"}],
    )
    result = backupd("backup", "nightly")
    hooked([], [{"exec": f"true {CANARY}"}])
    fault = Fault(EXPORT, at_byte=100_000)
    with held(backupd, faulty, fault, "backup", "nightly") as backup:
        backup.end(signal.SIGKILL)
    (entry,) = (backupd.state_dir / "journal").iterdir()

    assert 1 == result.code
    refuse_secrets(result)
    assert 0o600 == stat.S_IMODE(entry.stat().st_mode)
