"""What a command inside a container printed, out of the engine's frames."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backupd.engine_exec import TAIL_BYTES, Ended, Tail


def tail(chunks: Iterable[bytes]) -> Tail:
    kept = Tail()
    for chunk in chunks:
        kept.feed(chunk)
    return kept


def frame(text: bytes, output: int = 1) -> bytes:
    return struct.pack(">BxxxI", output, len(text)) + text


@given(
    texts=st.lists(st.tuples(st.text(max_size=40), st.sampled_from([1, 2])), max_size=8),
    size=st.integers(1, 50),
)
def test_frames_are_read_however_they_are_cut(texts: list[tuple[str, int]], size: int) -> None:
    stream = b"".join(frame(text.encode(), output) for text, output in texts)
    chunks = [stream[at : at + size] for at in range(0, len(stream), size)]

    kept = tail(chunks)

    assert "".join(text for text, output in texts if output == 1) == kept.output
    assert "".join(text for text, output in texts if output == 2) == kept.errors


def test_only_the_end_of_a_long_output_is_kept() -> None:
    said = tail(frame(b"x" * 1000 + str(number).encode()) for number in range(100)).output

    assert TAIL_BYTES == len(said)
    assert said.endswith("x99")


def test_bare_words_of_an_engine_are_kept_too() -> None:
    assert "OCI runtime exec failed" == tail([b"OCI runtime ", b"exec failed"]).output


@pytest.mark.parametrize(
    ("output", "line"),
    [("", ""), ("one\n", "one"), ("one\ntwo\r\n\n  \n", "two"), ("x" * 1000, "x" * 300)],
)
def test_the_last_line_that_says_something_stands_in_a_message(output: str, line: str) -> None:
    assert line == Ended(1, output).last_line


def test_the_last_line_of_the_errors_stands_in_a_message_if_there_is_one() -> None:
    assert "no space left" == Ended(1, "dumping\ndone", "warning\nno space left\n").last_line
    assert "done" == Ended(1, "dumping\ndone", " \n").last_line
