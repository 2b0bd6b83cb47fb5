"""Names on a screen: none may move the cursor, turn the line around or forge another."""

from __future__ import annotations

import json

import pytest

from backupd.text import shown, shown_json
from tests.unit.fuzzing import HOSTILE_TEXTS

NASTY = [*HOSTILE_TEXTS, "\x9b31m", "\u2028", "\u2066", "\U000e0001", "\x7f"]


@pytest.mark.parametrize("name", NASTY, ids=ascii)
def test_a_name_is_one_printable_line(name: str) -> None:
    line = shown(name)

    assert line.isprintable()
    assert "\n" not in line


@pytest.mark.parametrize("name", NASTY, ids=ascii)
def test_json_stays_what_it_is_without_a_sign_that_does_anything(name: str) -> None:
    document = {"name": name, "others": "é→"}
    text = json.dumps(document, ensure_ascii=False, indent=2)

    said = shown_json(text)

    assert document == json.loads(said)
    assert all(line.isprintable() for line in said.split("\n"))
    assert "é→" in said
