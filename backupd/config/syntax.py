"""What is wrong with text that is not YAML, in words that say how to write it right.

The parser's own words ("found character that cannot start any token") help those who know YAML's
grammar; most mistakes are one of a few, and the line shows which. No secret is repeated.
"""

from __future__ import annotations

import re

import yaml

_VALUE = re.compile(
    r"^\s*(?:-\s+)*(?:(?P<key>[^\s:#\"'][^:#]*?)\s*:\s+)?(?:-\s+)*(?P<value>\S.*?)\s*$"
)
_UNSAFE_STARTS = "*@%`&!|>"
_UNSAFE_INSIDE = re.compile(r"[\[{,]\s*([*@%`!][^\],}]*)|:\s+([*@%`!][^\],}]*)")
_STARTS_AN_ENTRY = re.compile(r"\s*(?:-\s|[^\s#]+\s*:\s)")
"""Any other line goes on with what an earlier one began, which may be a secret."""
_MAYBE_SECRET = re.compile(r"secret|key|token|passw|ping|identity|recipient|://", re.IGNORECASE)
"""Addresses carry tokens, and those of services are whole secrets."""


class NotYamlError(Exception):
    """The text cannot be read at all: in which line, and why."""

    def __init__(self, line: int | None, cause: str) -> None:
        self.line = line
        self.cause = cause
        super().__init__(cause)


def describe(error: yaml.YAMLError, text: str) -> NotYamlError:
    """The problem that the parser's `error` stands for."""
    if isinstance(error, yaml.reader.ReaderError):
        above = text.count("\n", 0, error.position)
        return NotYamlError(
            above + 1, "has a control character, which YAML does not allow; remove it"
        )
    if not isinstance(error, yaml.MarkedYAMLError):
        return NotYamlError(None, "is not YAML")
    problem = str(error.problem or "")
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return NotYamlError(None, "is not YAML")
    number = mark.line + 1
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    cause = _by_line(line, problem) or _by_problem(problem)
    if cause.startswith("has a quote") and error.context_mark is not None:
        number = error.context_mark.line + 1
    return NotYamlError(number, cause)


def _by_line(line: str, problem: str) -> str | None:
    """What the line itself gives away, or None."""
    if "\\t" in problem or ("\t" in line and "'\\t'" in repr(problem)):
        return "has a tab where YAML allows only spaces; write spaces"
    if "found duplicate anchor" in problem:
        return None
    match = _VALUE.match(line)
    if match is None:
        return None
    key, value = match["key"], match["value"]
    if value[0] in _UNSAFE_STARTS:
        return _quote(value, line, key=key)
    if "${" in line and value[0] in "{[":
        return 'has a reference inside { } or [ ] without quotes; write "${env:NAME}"'
    inside = _UNSAFE_INSIDE.search(value) if value[0] in "{[" else None
    if inside:
        return _quote((inside[1] or inside[2]).strip(), line)
    if problem == "mapping values are not allowed here" and ": " in value:
        return _quote(value, line, key=key)
    return None


def _quote(value: str, line: str, *, key: str | None = None) -> str:
    """How to quote `value`, which is shown only if nothing hints that it is a secret."""
    start = f"begins with '{value[0]}'" if value[0] in _UNSAFE_STARTS else "has ': ' in it"
    if _MAYBE_SECRET.search(line) or not _STARTS_AN_ENTRY.match(line):
        return f"has a value that {start}, so it needs quotes around it"
    shown = value[:60].replace("\\", "\\\\").replace('"', '\\"')
    before = f"{key}: " if key else ""
    return f'has a value that {start}, so it needs quotes; write {before}"{shown}"'


def _by_problem(problem: str) -> str:
    """A sentence for the parser's own words, without the text that it may quote."""
    sentences = (
        ("found another document", "has a second document ('---'); a policy is one document"),
        ("found undefined alias", "names an alias (*name) that nothing above it defines (&name)"),
        ("found duplicate anchor", "defines one anchor (&name) twice"),
        ("unknown escape character", "has a backslash in double quotes; use single quotes"),
        ("unexpected end of stream", "has a quote that is never closed"),
        ("unexpected document separator", "has a quote that is never closed"),
        (
            "mapping values are not allowed",
            "has a ':' where none may stand; check the indentation, "
            "and quote a text that holds ': '",
        ),
        (
            "expected <block end>",
            "does not fit the lines above it; check the indentation, and that "
            "nothing follows a closing quote",
        ),
        ("expected ',' or ']'", "has a '[' that is never closed, or a ',' is missing"),
        ("expected ',' or '}'", "has a '{' that is never closed, or a ',' is missing"),
        ("could not find expected ':'", "has a line without ': ' where a key is expected"),
        ("found unknown directive", "has a line that begins with '%'; quote it"),
        ("undefined tag handle", "has a value that begins with '!'; write it in quotes"),
    )
    for words, sentence in sentences:
        if words in problem:
            return sentence
    return "is not YAML here; check the indentation, and quote texts with signs such as : # * @ %"
