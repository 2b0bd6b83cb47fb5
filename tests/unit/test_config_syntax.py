"""Text that is not YAML: the line, and how to write it right."""

from __future__ import annotations

from pathlib import Path

import pytest

from backupd.config import load
from backupd.errors import PolicyError


def refusal(path: Path, text: str) -> str:
    path.write_text(text)
    with pytest.raises(PolicyError) as error:
        load(path, environ={})
    [problem] = error.value.problems
    return str(problem).removeprefix(f"{path.parent}/")


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("schedule: */5 * * * *", "begins with '*', so it needs quotes; write schedule: \"*/5 * *"),
        ("schedule: @daily", "begins with '@', so it needs quotes; write schedule: \"@daily\""),
        ("host: %h", "begins with '%', so it needs quotes; write host: \"%h\""),
        ("host: `x`", "begins with '`', so it needs quotes; write host: \"`x`\""),
        ("exclude: [*:test]", "begins with '*', so it needs quotes; write \"*:test\""),
        ("exclude: [a, *:test]", "begins with '*', so it needs quotes; write \"*:test\""),
        ("- *:test", "begins with '*', so it needs quotes; write \"*:test\""),
        ("exclude: *test", "begins with '*', so it needs quotes; write exclude: \"*test\""),
        ("label: a: b", "has ': ' in it, so it needs quotes; write label: \"a: b\""),
        ("\tlabel: a", "has a tab where YAML allows only spaces; write spaces"),
        ("store: {access_key: ${env:KEY}}", 'without quotes; write "${env:NAME}"'),
        ('label: "a', "has a quote that is never closed"),
        ("label: 'a", "has a quote that is never closed"),
        ('label: "a\\d"', "has a backslash in double quotes; use single quotes"),
        ('label: "a" b', "nothing follows a closing quote"),
        ("images: [a", "has a '[' that is never closed, or a ',' is missing"),
        ("images: {a: b", "has a '{' that is never closed, or a ',' is missing"),
        ("label: x\n    b: c", "check the indentation"),
        ("nonsense\na: b", "without ': ' where a key is expected"),
    ],
)
def test_a_line_that_is_not_yaml_gets_a_hint(tmp_path: Path, line: str, hint: str) -> None:
    found = refusal(tmp_path / "config.yaml", f"timezone: UTC\n{line}\n")

    assert hint in found


@pytest.mark.parametrize(
    "value", ["*s3cr3t", "@s3cr3t", "%s3cr3t", "s3cr3t: x", "`s3cr3t", "!s3cr3t x"]
)
@pytest.mark.parametrize("form", ["store:\n  secret_key: {}\n", "store: {{secret_key: {}}}\n"])
def test_a_secret_that_breaks_the_line_is_not_repeated(
    tmp_path: Path, form: str, value: str
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(form.format(value))

    with pytest.raises(PolicyError) as error:
        load(path, environ={})

    assert "s3cr3t" not in str(error.value)


def test_the_line_is_the_one_with_the_mistake(tmp_path: Path) -> None:
    found = refusal(tmp_path / "config.yaml", "a: 1\nb: 2\nc: @daily\nd: 4\n")

    assert found.startswith("config.yaml:3: ")


def test_an_unclosed_quote_is_shown_where_it_opens(tmp_path: Path) -> None:
    found = refusal(tmp_path / "config.yaml", 'a: 1\nb: "2\nc: 3\nd: 4\n')

    assert found.startswith("config.yaml:2: ")


@pytest.mark.parametrize(
    "text",
    [
        "store:\n  secret_key:\n    @s3cr3t\n",
        "store:\n  secret_key: {s3cr3t, s3cr3t}\n",
        "store:\n  secret_key: {s3cr3t: 1, s3cr3t: 2}\n",
        "store:\n  secret_key: [!x s3cr3t]\n",
        "store:\n  secret_key: [s3cr3t]\n",
        "store:\n  secret_key: !s3cr3t\n",
        "store:\n  secret_kye: @s3cr3t\n",
        "store:\n  secret_kye: s3cr3t\n",
        "store:\n  secret_key: ${env:s3cr3t\n",
        "store:\n  secret_key: s3cr3t ${env:X}\n",
        "store:\n  secret_key: '${s3cr3t}'\n",
        "store:\n  secret_key: s3cr3t\n  access_key: s3cr3t s3cr3t\n  url: s3://a-b\n",
    ],
)
def test_a_mangled_secret_is_not_repeated(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)

    with pytest.raises(PolicyError) as error:
        load(path, environ={})

    assert "s3cr3t" not in str(error.value)
