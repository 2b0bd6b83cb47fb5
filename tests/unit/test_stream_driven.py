"""A blocking transformation, fed piece by piece: same bytes, same errors, and no thread left."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backupd.errors import DamagedBackup
from backupd.stream import Driven, limited

NAME = "the driven one"
CHUNKS = st.lists(st.binary(max_size=300), max_size=30)


def copying(reader: io.BufferedIOBase, writer: io.BufferedIOBase) -> None:
    while piece := reader.read(100):
        writer.write(piece)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == NAME]


def through(driven: Driven, pieces: int = 10) -> bytes:
    """What comes out of it, fed with so many pieces."""
    return b"".join([*(driven.feed(b"abc") for _ in range(pieces)), driven.finish()])


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    yield
    assert [] == threads()


@given(chunks=CHUNKS)
def test_what_comes_out_is_what_the_transformation_makes(chunks: list[bytes]) -> None:
    with Driven(copying, name=NAME) as driven:
        made = [driven.feed(chunk) for chunk in chunks]
        made.append(driven.finish())

    assert b"".join(chunks) == b"".join(made)


def test_its_error_comes_out_as_it_is() -> None:
    error = DamagedBackup("not like this")

    def failing(reader: io.BufferedIOBase, writer: io.BufferedIOBase) -> None:
        reader.read(1)
        raise error

    with Driven(failing, name=NAME) as driven, pytest.raises(DamagedBackup) as caught:
        through(driven)

    assert error is caught.value


def test_an_error_reaches_who_waits_for_room() -> None:
    def failing(reader: io.BufferedIOBase, writer: io.BufferedIOBase) -> None:
        reader.read(1)
        raise KeyError("full")

    with Driven(failing, depth=1, name=NAME) as driven, pytest.raises(KeyError):
        through(driven)


@pytest.mark.parametrize("pieces", [1, 10])
def test_one_that_ends_too_early_is_an_error(pieces: int) -> None:
    may_end = threading.Event()

    with Driven(lambda _, __: may_end.wait(), name=NAME) as driven:
        driven.feed(b"abc")
        may_end.set()
        with pytest.raises(ValueError, match="ended before its input"):
            through(driven, pieces)


def test_left_early_it_sees_no_end() -> None:
    ends: list[bytes] = []

    def reading(reader: io.BufferedIOBase, writer: io.BufferedIOBase) -> None:
        while piece := reader.read(10):
            writer.write(piece)
        ends.append(b"the end")

    with Driven(reading, name=NAME) as driven:
        driven.feed(b"abc")

    assert [] == ends


def test_closed_it_leaves_even_when_it_never_was_fed() -> None:
    driven = Driven(copying, name=NAME)

    assert [NAME] == threads()
    driven.close()
    driven.close()


def test_no_more_than_its_depth_waits() -> None:
    """Back-pressure: a transformation that does not read lets its feeder wait."""
    may_read, read = threading.Event(), threading.Semaphore(0)

    def slow(reader: io.BufferedIOBase, writer: io.BufferedIOBase) -> None:
        may_read.wait()
        while reader.read(-1):
            read.release()

    with Driven(slow, depth=2, name=NAME) as driven:
        driven.feed(b"1")
        driven.feed(b"2")
        feeder = threading.Thread(target=driven.feed, args=[b"3"])
        feeder.start()
        is_waiting = feeder.is_alive() and not read.acquire(blocking=False)
        may_read.set()
        feeder.join()
        driven.finish()

    assert is_waiting


def test_more_stored_bytes_than_there_should_be_are_damage_at_the_first_one() -> None:
    came: list[bytes] = []

    with pytest.raises(DamagedBackup, match="backup 7 is damaged: more than its 5 stored bytes"):
        came.extend(limited(iter([b"abc", b"de", b"f"]), 5, what="backup 7"))

    assert [b"abc", b"de"] == list(limited([b"abc", b"de"], 5, what="backup 7"))
