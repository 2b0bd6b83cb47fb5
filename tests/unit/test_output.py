"""A tar in a file: whole under its name or not there, and nothing is left of a broken one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backupd.errors import UsageError
from backupd.verbs import output
from backupd.verbs.output import write_tar

CHUNKS = [b"one", b"two"]
DYING = """
import os, signal, sys
from backupd.verbs.output import write_tar

def chunks():
    yield b"one"
    os.kill(os.getpid(), signal.SIGKILL)

write_tar(chunks(), sys.argv[1])
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory in memory, whose file system knows files without a name on every Linux."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as made:
        yield Path(made)


def watched(folder: Path, seen: list[list[str]]) -> Iterator[bytes]:
    for chunk in CHUNKS:
        seen.append([path.name for path in folder.iterdir()])
        yield chunk


def test_a_file_has_no_name_until_it_is_whole(folder: Path) -> None:
    seen: list[list[str]] = []
    written = write_tar(watched(folder, seen), str(folder / "image.tar"))

    assert [[], []] == seen
    assert (6, b"onetwo") == (written, (folder / "image.tar").read_bytes())


def test_nothing_is_left_of_a_process_that_is_killed_in_the_middle(folder: Path) -> None:
    target = folder / "image.tar"
    done = subprocess.run([sys.executable, "-c", DYING, target], check=False)

    assert (-signal.SIGKILL, []) == (done.returncode, list(folder.iterdir()))


@pytest.fixture(params=[True, False], ids=["nameless", "named"])
def write(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`write_tar` where the system has files without a name, and where it has none."""
    if not request.param:
        monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY)  # as a kernel reads it that has none
    return output.write_tar


def test_what_somebody_put_there_meanwhile_is_not_replaced(
    folder: Path, write: Callable[..., int]
) -> None:
    target = folder / "image.tar"

    def meanwhile() -> Iterator[bytes]:
        target.write_bytes(b"precious")
        yield b"one"

    with pytest.raises(UsageError, match=r"image\.tar exists already"):
        write(meanwhile(), str(target))
    assert [b"precious"] == [path.read_bytes() for path in folder.iterdir()]


def test_nothing_is_left_of_what_was_broken_off(folder: Path, write: Callable[..., int]) -> None:
    def broken() -> Iterator[bytes]:
        yield b"one"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(broken(), str(folder / "image.tar"))
    assert [] == list(folder.iterdir())


def test_where_files_need_a_name_a_whole_one_has_its_own(
    folder: Path, write: Callable[..., int]
) -> None:
    write(iter(CHUNKS), str(folder / "image.tar"))

    assert [("image.tar", b"onetwo")] == [(p.name, p.read_bytes()) for p in folder.iterdir()]
