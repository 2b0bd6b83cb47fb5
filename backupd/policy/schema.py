"""The JSON Schema of the policy file, made from the models, so that an editor helps to write it.

Pydantic describes what its models hold; this makes of it what a person may write: no `null`, and a
reference such as `${env:NAME}` wherever a text with a fixed form stands. Pure.
"""

from __future__ import annotations

from typing import Any

from backupd.policy import Policy

REFERENCE_PATTERN = r"\$\{(env|file|credential):.+\}"


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) that every valid policy file keeps."""
    made = _as_written(Policy.model_json_schema(by_alias=True, mode="validation"))
    if not isinstance(made, dict):
        raise TypeError("a schema is a mapping")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **made,
        "title": "Policy of backupd",
        # Where anchors for repeated parts can stand, as in Compose files.
        "patternProperties": {"^x-": {}},
    }


def _as_written(part: object) -> object:
    if isinstance(part, list):
        return [_as_written(one) for one in part if one != {"type": "null"}]
    if not isinstance(part, dict):
        return part
    # A default that is a mapping or null says nothing that a person could write.
    kept = {
        key: _as_written(value)
        for key, value in part.items()
        if not (key == "default" and (value is None or isinstance(value, dict | list)))
    }
    choices = kept.get("anyOf")
    if isinstance(choices, list) and len(choices) == 1:
        kept = {**choices[0], **{key: value for key, value in kept.items() if key != "anyOf"}}
    return _with_references(kept)


def _with_references(part: dict[str, Any]) -> dict[str, Any]:
    if part.get("type") != "string":
        return part
    if "pattern" in part:
        form = str(part["pattern"]).removeprefix("^").removesuffix("$")
        return {**part, "pattern": f"^({form}|{REFERENCE_PATTERN})$"}
    if "enum" in part:
        rest = {key: value for key, value in part.items() if key not in {"enum", "type"}}
        choice = {"type": "string", "enum": part["enum"]}
        return {**rest, "anyOf": [choice, {"type": "string", "pattern": f"^{REFERENCE_PATTERN}$"}]}
    return part
