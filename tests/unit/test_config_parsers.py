"""libyaml reads a policy as PyYAML's own parser does, only faster.

A comment with an exclamation mark makes `read` use the latter, which is slow and exact.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backupd.config.document import Document, read
from backupd.config.syntax import NotYamlError

EXACTLY = "# !\n"
EVENLY = "# .\n"
PIECES = (
    *("a", "b: ", "c: 1.10", "d: 'x'", "- ", "-", "\n", "\n  ", "\n    ", "[", "]", "{", "}"),
    *(", ", ": ", "# note", "#", '"', "'", "&n ", "*n", "<<: *n", "|\n", "> ", "*", "?", "~"),
    *("010", "on", "null", "2001-01-01", "ü", "😀", "%", "@", "http://h:80/x", "---\n", "\\"),
    *("\u2028", "\x85"),
)


def document(text: str) -> Document | None:
    """What is read, or None for what is no YAML."""
    try:
        return read(text)
    except NotYamlError:
        return None


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_both_parsers_read_the_same(text: str) -> None:
    exact = document(EXACTLY + text)

    if exact is not None and not exact.findings:
        assert exact == document(EVENLY + text)


@pytest.mark.parametrize(
    "text",
    [
        "a: {b: [1, x, 'y'], c: \"z\"} # note\nd:\n  - e # f\n  - |\n    g\n    h\n",
        'x-usual: &u {a: 1}\njobs:\n  web: {<<: *u, b: "*:1"}\n',
        "a: what goes\n  on and on\nb: ü # ä\n",
    ],
)
def test_both_parsers_find_values_lines_and_comments(text: str) -> None:
    assert document(EXACTLY + text) == document(EVENLY + text)


@pytest.mark.parametrize("text", ["[" * 200_000, "- " * 200_000, "{a: " * 100_000])
def test_a_document_that_is_nested_too_deeply_crashes_no_parser(text: str) -> None:
    with pytest.raises(NotYamlError, match="is nested deeper than 30 levels"):
        read(text)


@pytest.mark.parametrize(
    "text", ["a: &n\n  <<: *n\n", "&n [*n]", "a: &n {b: *n}", "&n\n<<: [*n, *n]"]
)
def test_a_value_that_holds_itself_is_refused(text: str) -> None:
    with pytest.raises(NotYamlError, match="repeat themselves without end"):
        read(text)
