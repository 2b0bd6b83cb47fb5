"""A store that goes away in the middle: its name, its keys, its bucket, its disk, its listing."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.faults.counts import DONE, CountedCommand
from tests.faults.scene import JOB, MIB, PAUSED, Scene, policy_of
from tests.faults.sweeping import backups_in, settle
from tests.integration.aftermath import journal, the_sentence, wait_until
from tests.integration.command import QUICK
from tests.integration.conftest import WritePolicy, store_section
from tests.integration.trees import succeeded
from tests.servers.faulty_store import ANY, COMPLETE, PART, Fault, FaultyStore, Then, part, refusal
from tests.servers.seaweedfs import FULL, NO_DELETE, SeaweedFS

ALWAYS = 1 << 30
NAME = "store.test"
WITH_HOSTS = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"')
"""Runs a command, after the path of a file that is its /etc/hosts."""

WriteStore = Callable[..., Path]


@pytest.fixture
def backupd(tmp_path: Path) -> CountedCommand:
    """The command with short waits."""
    return CountedCommand(tmp_path, module=QUICK)


@pytest.fixture
def write_store(policy: WritePolicy, bucket: dict[str, Any], to_store: FaultyStore) -> WriteStore:
    """Writes the policy of one paused container, with changes to its store."""

    def write(*, timeout: str = "1h", **changes: object) -> Path:
        jobs = policy_of([], [PAUSED])
        jobs[JOB]["timeout"] = timeout
        store = {**bucket, "endpoint": to_store.address, "part_size": "5MiB", **changes}
        return policy(jobs, store=store, compression="none")

    return write


@pytest.fixture(autouse=True)
def _container_runs(scene: Scene, backupd: CountedCommand) -> Iterator[None]:
    yield
    assert ({PAUSED: "running"}, []) == (scene.states(PAUSED), journal(backupd))


@pytest.fixture
def hosts(tmp_path: Path, to_store: FaultyStore) -> Path:
    """What the command has for /etc/hosts: the store's name."""
    path = tmp_path / "hosts"
    path.write_text(f"127.0.0.1 localhost {NAME}\n")
    return path


def by_name(to_store: FaultyStore) -> dict[str, str]:
    """The store's section with the store's name in it."""
    return {"endpoint": to_store.address.replace("127.0.0.1", NAME), "addressing": "path"}


def forget(hosts: Path) -> None:
    """Let the name be unknown; in place, since the file is mounted."""
    hosts.write_text("127.0.0.1 localhost\n")
    DONE.faults += 1


def test_a_name_that_is_unknown_from_the_start_is_told(
    backupd: CountedCommand, write_store: WriteStore, to_store: FaultyStore, hosts: Path
) -> None:
    write_store(**by_name(to_store))
    forget(hosts)
    result = backupd("backup", JOB, before=(*WITH_HOSTS, str(hosts)))

    assert 4 == result.code
    assert f"the name in http://{NAME}" in the_sentence(result)


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_name_that_is_lost_in_the_middle_is_looked_up_again(
    comes_back: bool,
    scene: Scene,
    backupd: CountedCommand,
    write_store: WriteStore,
    to_store: FaultyStore,
    hosts: Path,
    s3: SeaweedFS,
    bucket: dict[str, Any],
) -> None:
    known = hosts.read_text()

    def lose() -> None:
        forget(hosts)
        if comes_back:
            threading.Timer(0.3, hosts.write_text, [known]).start()
        to_store.hang_up()

    write_store(**by_name(to_store))
    to_store.add(Fault(part(2), Then.BREAK, act=lose))
    result = backupd("backup", JOB, before=(*WITH_HOSTS, str(hosts)))
    hosts.write_text(known)
    write_store()

    if comes_back:
        assert (0, "") == (result.code, result.stderr)
    else:
        assert 1 == result.code
        assert "cannot be resolved; check the store's 'endpoint', DNS" in result.stderr
    assert comes_back == (backups_in(s3, bucket) == 1)
    settle(scene, backupd, s3, bucket)


def test_keys_that_are_rotated_in_the_middle_serve_the_next_run(
    scene: Scene,
    backupd: CountedCommand,
    write_store: WriteStore,
    to_store: FaultyStore,
    tmp_path: Path,
    s3: SeaweedFS,
    bucket: dict[str, Any],
) -> None:
    access, secret = tmp_path / "access", tmp_path / "secret"

    def rotate_to(access_key: str, secret_key: str) -> None:
        access.write_text(f"{access_key}\n")
        secret.write_text(f"{secret_key}\n")

    def revoke() -> None:
        old = f"Credential={NO_DELETE.access_key}"
        refused = (403, refusal("InvalidAccessKeyId"))
        to_store.add(Fault(ANY, answer=refused, sent_with=old, times=ALWAYS))

    rotate_to(NO_DELETE.access_key, NO_DELETE.secret_key)
    for path in (access, secret):
        path.chmod(0o600)
    write_store(access_key=f"${{file:{access}}}", secret_key=f"${{file:{secret}}}")
    to_store.add(Fault(part(2), Then.BREAK, act=revoke))
    failed = backupd("backup", JOB)
    rotate_to(FULL.access_key, FULL.secret_key)
    result = backupd("backup", JOB)

    assert 1 == failed.code
    assert "does not know the access key; check the store's 'access_key'" in failed.stderr
    assert (0, "") == (result.code, result.stderr)
    assert 1 == backups_in(s3, bucket)
    settle(scene, backupd, s3, bucket)


def test_a_job_that_times_out_does_not_wait_for_a_store_that_is_silent(
    scene: Scene,
    backupd: CountedCommand,
    write_store: WriteStore,
    to_store: FaultyStore,
    s3: SeaweedFS,
    bucket: dict[str, Any],
) -> None:
    write_store(timeout="8s")
    to_store.add(Fault(PART, Then.STALL, times=ALWAYS))
    result = backupd("backup", JOB)
    to_store.heal()

    assert 1 == result.code
    assert "timed out after 8s; raise jobs.nightly.timeout" in the_sentence(result)
    assert 0 < to_store.asked(PART) < 12, "two parts, of eight attempts each"
    assert 0 == backups_in(s3, bucket)
    settle(scene, backupd, s3, bucket)


def test_a_bucket_that_is_removed_in_the_middle_is_told_and_serves_again_once_it_is_back(
    scene: Scene,
    backupd: CountedCommand,
    write_store: WriteStore,
    to_store: FaultyStore,
    s3: SeaweedFS,
    bucket: dict[str, Any],
) -> None:
    name = bucket["url"].split("/")[2]

    def is_removed() -> bool:
        client = s3.client()
        for found in client.list_objects_v2(Bucket=name).get("Contents", []):
            client.delete_object(Bucket=name, Key=found["Key"])
        try:
            client.delete_bucket(Bucket=name)
        except ClientError:
            return False
        return True

    write_store()
    to_store.add(Fault(COMPLETE, act=lambda: wait_until(is_removed)))
    failed = backupd("backup", JOB)
    asked = backupd("list")
    s3.make_bucket(name)
    result = backupd("backup", JOB)

    assert 1 == failed.code
    assert f"has no bucket '{name}'; create it" in failed.stderr.splitlines()[0]
    assert 4 == asked.code
    assert f"has no bucket '{name}'; create it" in the_sentence(asked)
    assert (0, "") == (result.code, result.stderr)
    assert 1 == backups_in(s3, bucket)
    settle(scene, backupd, s3, bucket)


@pytest.fixture
def small_server(tmp_path: Path) -> Iterator[tuple[SeaweedFS, Path]]:
    """A server whose disk has room for 96 MiB, and where that disk is."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", disk], check=True)
    try:
        with SeaweedFS(disk) as server:
            yield server, disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_server_whose_disk_is_full_keeps_no_half_backup_and_serves_again_with_room(
    scene: Scene,
    backupd: CountedCommand,
    policy: WritePolicy,
    small_server: tuple[SeaweedFS, Path],
) -> None:
    server, disk = small_server
    section = store_section(server)
    filler = disk / "filler"

    def fill() -> None:
        DONE.faults += 1
        with filler.open("wb") as file, suppress(OSError):
            while True:
                file.write(os.urandom(MIB))

    policy(policy_of([], [PAUSED]), store={**section, "part_size": "5MiB"}, compression="none")
    before = succeeded(backupd("backup", JOB))
    fill()
    failed = backupd("backup", JOB)
    filler.unlink()
    result = backupd("backup", JOB)

    assert "" == before.stderr
    assert failed.code in {1, 4}
    assert re.match(r"backupd: .*cannot write s3://", failed.stderr)
    assert (0, "") == (result.code, result.stderr)
    assert 2 == backups_in(server, section)
    settle(scene, backupd, server, section)
