"""What pydantic finds wrong, as sentences for the person who wrote the file.

Each of pydantic's error types that the models can raise has its own words; the place is looked up
in the document. A value is repeated only if it was written in the file and is no secret.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from backupd.config.document import Finding, Spot, Unquoted
from backupd.config.references import is_reference
from backupd.config.secrets import may_be_shown
from backupd.policy.schema import schema


@dataclass(frozen=True)
class _Place:
    """Where an error belongs: the deepest part of the document on its way."""

    spot: Spot
    at: tuple[str | int, ...]
    rest: tuple[str | int, ...]

    @property
    def secret(self) -> bool:
        return not may_be_shown(self.at)

    @property
    def shown(self) -> str:
        """The value as it may be repeated in a message, with a space after it; often empty."""
        raw = self.spot.raw
        if raw is None:
            return ""
        if is_reference(raw):
            return f"what {raw} gives "
        if self.secret:
            return "the value "
        return f"'{_shorten(raw)}' "


def findings(error: ValidationError, root: Spot) -> Iterator[Finding]:
    """One finding for each of pydantic's errors, in its order."""
    for one in error.errors(include_url=False, include_input=False):
        place = _locate(root, one["loc"])
        context = one.get("ctx", {})
        words = _WORDS.get(one["type"], _unknown)
        yield Finding(place.spot.line, place.at, words(place, context))


def _locate(root: Spot, loc: tuple[str | int, ...]) -> _Place:
    spot = root
    at: list[str | int] = []
    rest: list[str | int] = []
    for step in loc:
        if step in spot.children and not rest:
            spot = spot.children[step]
            at.append(step)
        elif not (isinstance(step, str) and step[:1] in "<["):
            # Tags of unions (<image>) and of keys ([key]) are no part of the document.
            rest.append(step)
    return _Place(spot, tuple(at), tuple(rest))


def _shorten(raw: str) -> str:
    """`raw` in one line of 80 signs at most, without the secrets that an address may carry."""
    safe = re.sub(r"://.*@", "://…@", raw, flags=re.DOTALL)
    safe = re.sub(r"(://[^?#]*[?#]).+", r"\1…", safe, flags=re.DOTALL)
    line = "".join(sign if sign.isprintable() else "�" for sign in safe)
    return line if len(line) <= 80 else f"{line[:77]}…"


def _missing(place: _Place, context: Mapping[str, Any]) -> str:
    return f"needs '{place.rest[-1]}'" if place.rest else "is missing"


def _extra(place: _Place, context: Mapping[str, Any]) -> str:
    key = str(place.at[-1])
    known = _known_keys(place.at[:-1])
    if key in known:
        return "does not belong to this kind of selector; remove it"
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    if near:
        return f"is not a known key; did you mean '{near[0]}'?"
    return f"is not a known key; known here: {', '.join(sorted(known))}"


def _text(place: _Place, context: Mapping[str, Any]) -> str:
    value = place.spot.value
    if place.spot.raw is None:
        return f"must be a text, not {_noun(value)}"
    kind = value.kind if isinstance(value, Unquoted) else _noun(value)
    if place.secret:
        return f"is read as {kind}, not as text; write it in quotes"
    raw = _shorten(place.spot.raw)
    return f'is read as {kind}, not as text; write "{raw}"'


def _noun(value: object) -> str:
    if isinstance(value, bool):
        return "a truth value"
    if isinstance(value, int):
        return "a number"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a mapping"
    return value.kind if isinstance(value, Unquoted) else "text"


def _whole_number(place: _Place, context: Mapping[str, Any]) -> str:
    if isinstance(place.spot.value, str) and place.spot.value.isdecimal():
        return f"must be a number; write {place.spot.value} without quotes"
    return f"{place.shown}is not a whole number, such as 3".strip()


def _truth(place: _Place, context: Mapping[str, Any]) -> str:
    return f"{place.shown}is neither true nor false; write one of them without quotes"


def _list(place: _Place, context: Mapping[str, Any]) -> str:
    if place.spot.raw is not None and isinstance(place.spot.value, str):
        is_hidden = place.secret or is_reference(place.spot.raw)
        shown = "value" if is_hidden else _shorten(place.spot.raw)
        return f'must be a list; write ["{shown}"]'
    return "must be a list; write each entry in its own line after '- '"


def _mapping(place: _Place, context: Mapping[str, Any]) -> str:
    known = _known_keys(place.at)
    if known:
        return f"must be a mapping of keys and values; known here: {', '.join(sorted(known))}"
    return "must be a mapping: each entry begins with its name and ':'"


def _limit(words: str, key: str) -> Callable[[_Place, Mapping[str, Any]], str]:
    def say(place: _Place, context: Mapping[str, Any]) -> str:
        limit = context[key]
        mebibytes = limit // 1024**2
        return f"{place.shown}must be {words} {f'{mebibytes}MiB' if mebibytes else limit}"

    return say


def _choice(place: _Place, context: Mapping[str, Any]) -> str:
    expected = str(context["expected"])
    if expected == "True":
        return "can only be true; write 'in_use: true', or remove the entry"
    return f"{place.shown}is not known here; write {expected.replace(chr(39), '')}"


def _pattern(place: _Place, context: Mapping[str, Any]) -> str:
    return f"{place.shown}has signs other than letters, digits, hyphens and underscores"


def _empty(place: _Place, context: Mapping[str, Any]) -> str:
    return "is empty; give it a value, or remove the key"


def _own_words(place: _Place, context: Mapping[str, Any]) -> str:
    return f"{place.shown}{context['error']}"


def _unknown(place: _Place, context: Mapping[str, Any]) -> str:
    return f"{place.shown}is not accepted here; config.example.yaml shows the form"


_WORDS: dict[str, Callable[[_Place, Mapping[str, Any]], str]] = {
    "missing": _missing,
    "extra_forbidden": _extra,
    "string_type": _text,
    "path_type": _text,
    "int_type": _whole_number,
    "bool_type": _truth,
    "tuple_type": _list,
    "dict_type": _mapping,
    "model_type": _mapping,
    "greater_than_equal": _limit("at least", "ge"),
    "less_than_equal": _limit("at most", "le"),
    "literal_error": _choice,
    "string_pattern_mismatch": _pattern,
    "string_too_short": _empty,
    "value_error": _own_words,
}


def _known_keys(at: tuple[str | int, ...]) -> list[str]:
    """The keys that may stand in the mapping at `at`, by the policy's own schema."""
    whole = schema()
    parts = [whole]
    for step in at:
        parts = [below for part in _forms(parts, whole) for below in _below(part, step)]
    return sorted({key for part in _forms(parts, whole) for key in part.get("properties", {})})


def _forms(parts: list[dict[str, Any]], whole: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Each part, with what it refers to and its alternatives unfolded."""
    for part in parts:
        if "$ref" in part:
            part = whole["$defs"][part["$ref"].rpartition("/")[2]]
        yield part
        yield from _forms(part.get("anyOf", []), whole)


def _below(part: dict[str, Any], step: str | int) -> Iterator[dict[str, Any]]:
    if isinstance(step, int):
        found = part.get("items")
    else:
        found = part.get("properties", {}).get(step, part.get("additionalProperties"))
    if isinstance(found, dict):
        yield found
