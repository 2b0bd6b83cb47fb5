"""Policies that somebody spoiled: a valid one, or each problem with its line; no traceback."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backupd.config import Loaded, load
from backupd.errors import PolicyError
from tests.unit.fuzzing import fuzzed
from tests.unit.test_example_policy import LINES, TEXT, load_text

PIECES = (
    "*", "@daily", "%", "&a", "*a", "!x", "!!set", "<<: *a", "- ", ": ", "\t", "{", "}", "[", "]",
    "'", '"', "|", ">", "#", " #", "~", "null", "1.10", "22:00", "off", "010", "${env:X}",
    "${file:/etc}", "${", "---", "\n", "\n\n", "é", "\x00", "\u2028", "9" * 40, "? ", ", ", "=",
)  # fmt: skip


@st.composite
def mutations(draw: st.DrawFn) -> str:
    """The example with some of its text cut, doubled, moved, or with troublesome pieces put in."""
    text = TEXT
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 60)))
        piece = draw(
            st.one_of(st.sampled_from(PIECES), st.sampled_from(LINES), st.text(max_size=8))
        )
        action = draw(st.sampled_from(["insert", "replace", "cut", "double", "line"]))
        match action:
            case "insert":
                text = text[:start] + piece + text[start:]
            case "replace":
                text = text[:start] + piece + text[end:]
            case "cut":
                text = text[:start] + text[end:]
            case "double":
                text = text[:end] + text[start:end] + text[end:]
            case "line":
                lines = text.splitlines()
                number = draw(st.integers(0, max(0, len(lines) - 1)))
                text = "\n".join([*lines[:number], *lines[number + 1 :]])
    return text


@fuzzed(1000)
@given(mutations())
@example("jobs: !!python/object/apply:os.system [echo]\n")
@example("jobs: &a\n  b: *a\n")
@example("store: 2026-13-45\n")
@example("store: !!int x\njobs: !!bool x\n")
@example("? ? ? a\n")
def test_any_change_gives_a_policy_or_problems_with_a_line(tmp_path: Path, text: str) -> None:
    found: Loaded | PolicyError
    try:
        found = load_text(tmp_path, text.encode("utf-8", "replace").decode("utf-8"))
    except PolicyError as error:
        found = error

    if isinstance(found, Loaded):
        assert found.policy.jobs
    else:
        assert found.problems
        assert all(problem.line for problem in found.problems)
        # The words of pydantic and PyYAML help nobody who has not read their sources.
        assert not re.search(r"Input should|validation error|while parsing|expected <", str(found))


def loaded(tmp_path: Path, content: bytes) -> Loaded | PolicyError:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    try:
        return load(path, environ={})
    except PolicyError as error:
        return error


@fuzzed(300)
@given(st.lists(st.tuples(st.integers(0, len(TEXT) - 1), st.binary(max_size=3)), max_size=4))
@example([(0, b"\xff\xfe")])
@example([(100, b"\x00")])
def test_any_bytes_give_a_policy_or_problems_with_a_line(
    tmp_path: Path, changes: list[tuple[int, bytes]]
) -> None:
    content = bytearray(TEXT.encode())
    for place, new in changes:
        content[place : place + 1] = new

    found = loaded(tmp_path, bytes(content))

    assert isinstance(found, Loaded) or all(problem.line for problem in found.problems)


BOMB = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}]\n"
    for old, new in zip("abcdefghijkl", "bcdefghijklm", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        "jobs: " + "[" * 100_000,
        "jobs: " + "{a: " * 5000 + "1" + "}" * 5000,
        "- " * 20_000,
        "jobs:\n  a: {images: [b], timeout: " + "9" * 10_000 + "h}\n",
        "parallel: " + "9" * 10_000 + "\njobs: {a: {images: [b]}}\n",
        "&a jobs: {<<: *a}\n",
        "x-a: &a {<<: &b {<<: *a}}\njobs: {a: {images: [b]}}\n",
    ],
    ids=["bomb", "lists", "mappings", "dashes", "span", "number", "itself", "each-other"],
)
def test_what_would_grow_without_end_is_a_problem_with_a_line(tmp_path: Path, text: str) -> None:
    found = loaded(tmp_path, text.encode())

    assert isinstance(found, PolicyError)
    assert all(problem.line for problem in found.problems)
    assert all(len(str(problem)) < 1000 for problem in found.problems)
