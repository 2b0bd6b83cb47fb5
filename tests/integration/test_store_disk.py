"""A directory that cannot take a backup, or a file, says so in one sentence and stays clean."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.aftermath import kept, names_listed, the_sentence
from tests.integration.command import AS_NOBODY, NOBODY, Command
from tests.integration.conftest import WritePolicy, leaving_no_trace
from tests.servers.dockerd import Engine
from tests.servers.faulty_engine import FaultyEngine
from tests.servers.rootfs import build_image

IMAGE, BIG = "backupd-test-disk:1", "backupd-test-disk:big"
MIB = 1 << 20
JOBS = {"nightly": {"schedule": "@daily", "images": [IMAGE]}}
BOTH = {"nightly": {"schedule": "@daily", "images": [BIG, IMAGE]}}


@pytest.fixture(scope="module", autouse=True)
def image(engine: Engine) -> Iterator[str]:
    with leaving_no_trace(engine) as client:
        build_image(client, BIG, layers=[{"data/random": os.urandom(24 * MIB)}])
        yield build_image(client, IMAGE, layers=[{"data/small": b"small"}])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for 8 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_disk_that_fills_up_fails_the_source_that_does_not_fit_and_no_other(
    policy: WritePolicy, backupd: Command, small_disk: Path
) -> None:
    policy(BOTH, store={"url": f"file://{small_disk}"}, compression={"zstd": 9})
    result = backupd("backup")

    assert 1 == result.code
    assert "the disk is full; free some space, then run again" in the_sentence(result)
    assert [IMAGE] == names_listed(backupd)
    assert not any("big" in path for path in kept(small_disk))


def test_a_disk_that_is_full_already_is_told_before_any_work(
    policy: WritePolicy, backupd: Command, small_disk: Path
) -> None:
    with (small_disk / "filler").open("wb") as filler:
        subprocess.run(
            ["dd", "if=/dev/zero", "bs=64k"],
            stdout=filler,
            capture_output=False,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    policy(JOBS, store={"url": f"file://{small_disk}/store"})
    result = backupd("backup")

    assert 4 == result.code
    assert "the disk is full; free some space, then run again" in the_sentence(result)


def test_an_output_that_fills_the_disk_leaves_no_file(
    policy: WritePolicy, backupd: Command, small_disk: Path, tmp_path: Path
) -> None:
    policy(BOTH, store={"url": f"file://{tmp_path}/store"})
    saved = backupd("backup", BIG)
    result = backupd("restore", "image", BIG, "--output", small_disk / "big.tar")

    assert 0 == saved.code
    assert 2 == result.code
    assert f"cannot write {small_disk}/big.tar: No space left on device" in the_sentence(result)
    assert [] == list(small_disk.iterdir())


def test_a_store_on_a_read_only_file_system_is_told_before_any_work(
    policy: WritePolicy, backupd: Command, small_disk: Path
) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    policy(JOBS, store={"url": f"file://{small_disk}/store"})
    result = backupd("backup")

    assert 4 == result.code
    assert "the file system is read-only; mount it for writing" in the_sentence(result)


def test_a_store_directory_of_another_user_is_told_before_any_work(
    policy: WritePolicy, backupd: Command, engine: Engine, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    store = tmp_path / "store"
    store.mkdir(mode=0o755)
    backupd.state_dir.mkdir()
    shutil.chown(backupd.state_dir, NOBODY, NOBODY)
    with FaultyEngine(engine.host) as open_to_all:
        path = Path(open_to_all.host.removeprefix("unix://"))
        path.parent.chmod(0o711)
        path.chmod(0o666)
        policy(JOBS, store={"url": f"file://{store}"}, docker={"host": open_to_all.host})
        result = backupd("backup", before=AS_NOBODY)

    assert 4 == result.code
    assert "this user may not; give it the directory, or run as its owner" in the_sentence(result)
    assert [] == kept(store)


def test_a_state_directory_of_another_user_is_told(
    policy: WritePolicy, backupd: Command, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    backupd.state_dir.mkdir(mode=0o755)
    policy(JOBS, store={"url": f"file://{tmp_path}/store"}, docker={"host": "tcp://127.0.0.1:1"})
    result = backupd("adopt", before=AS_NOBODY)

    assert result.code in {2, 4}
    assert "this user" in the_sentence(result)


def test_a_store_path_that_is_a_file_is_told(
    policy: WritePolicy, backupd: Command, tmp_path: Path
) -> None:
    (tmp_path / "store").write_text("mine")
    policy(JOBS, store={"url": f"file://{tmp_path}/store"})
    result = backupd("backup")

    assert 4 == result.code
    assert "a part of that path is a file" in the_sentence(result)
    assert "mine" == (tmp_path / "store").read_text()
