"""`config.example.yaml` is the reference, so it must be whole, valid, and known to editors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
import yaml
from pydantic import BaseModel

from backupd.config import Loaded, load
from backupd.policy import (
    ContainerGlob,
    ContainerLabel,
    ContainerLiteral,
    Defaults,
    DockerSpec,
    Drill,
    DrillSource,
    Encryption,
    ExpiresAfter,
    Hook,
    ImageBundle,
    ImageGlob,
    ImageInUse,
    ImageLabel,
    ImageLiteral,
    Job,
    Limits,
    Metrics,
    Notify,
    ObjectLock,
    Ping,
    Policy,
    Prune,
    Retention,
    StoreSpec,
    TlsSpec,
    Verify,
    VolumeGlob,
    VolumeLabel,
    VolumeLiteral,
)
from backupd.policy.schema import schema

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"
TEXT = EXAMPLE.read_text(encoding="utf-8")
LINES = TEXT.splitlines()
SECTIONS: tuple[type[BaseModel], ...] = (
    Policy,
    DockerSpec,
    TlsSpec,
    StoreSpec,
    Defaults,
    Retention,
    Job,
    ImageLiteral,
    ImageGlob,
    ImageLabel,
    ImageInUse,
    ImageBundle,
    ContainerLiteral,
    ContainerGlob,
    ContainerLabel,
    VolumeLiteral,
    VolumeGlob,
    VolumeLabel,
    Hook,
    Limits,
    Metrics,
    Notify,
    Ping,
    Prune,
    Verify,
    Drill,
    DrillSource,
    Encryption,
    ObjectLock,
    ExpiresAfter,
)
ENTRY = re.compile(r"( *)# ((?:- |[a-z_]+:(?: |$)).*)")


def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema())


def load_text(directory: Path, text: str) -> Loaded:
    path = directory / "config.yaml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return load(path, environ={"S3_SESSION_TOKEN": "token"})


def with_the_bucket(directory: Path) -> str:
    """The example with its commented store in place of the active one, keys in real files."""
    start = LINES.index("# store:")
    end = next(n for n in range(start, len(LINES)) if not LINES[n].startswith("#"))
    block = [line.removeprefix("#").removeprefix(" ") for line in LINES[start:end]]
    first = LINES.index("store:")
    text = "\n".join([*LINES[:first], *block, *LINES[end:]])
    for name in ("s3.access", "s3.secret"):
        (directory / name).write_text("key\n")
        (directory / name).chmod(0o600)
    return text.replace("/etc/backupd/s3.", f"{directory}/s3.")


def commented_entries() -> Iterator[Any]:
    """Each commented line that a person may switch on by itself, switched on."""
    start = LINES.index("# store:")
    end = next(n for n in range(start, len(LINES)) if not LINES[n].startswith("#"))
    for number, line in enumerate(LINES):
        match = ENTRY.fullmatch(line)
        if match is None or start <= number < end or "tls" in line or line.startswith("  #   "):
            continue
        changed = [*LINES[:number], match[1] + match[2], *LINES[number + 1 :]]
        yield pytest.param("\n".join(changed), id=f"line-{number + 1}")


def test_the_example_is_valid_as_it_stands(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, TEXT)

    assert (["nightly", "stack"], ()) == (list(loaded.policy.jobs), loaded.warnings)


def test_the_example_with_the_bucket_is_valid(tmp_path: Path) -> None:
    store = load_text(tmp_path, with_the_bucket(tmp_path)).policy.store

    assert ("my-backups", "docker", set(StoreSpec.model_fields)) == (
        store.bucket,
        store.prefix,
        store.model_fields_set,
    )


@pytest.mark.parametrize("text", list(commented_entries()))
def test_each_line_of_the_example_may_be_switched_on(tmp_path: Path, text: str) -> None:
    changed = load_text(tmp_path, text)

    assert changed.policy.jobs


def test_enough_lines_are_switched_on() -> None:
    assert len(list(commented_entries())) >= 20


def test_the_encrypted_connection_of_the_example_is_valid(tmp_path: Path) -> None:
    text = TEXT.replace("# host: unix:///var/run/docker.sock", "host: tcp://10.0.0.1:2376")
    for line in LINES:
        if line.startswith(("  # tls:", "  #   ca:", "  #   cert:", "  #   key:")):
            text = text.replace(line, line.replace("# ", "", 1))

    tls = load_text(tmp_path, text).policy.docker.tls

    assert tls == TlsSpec(
        ca=Path("/etc/backupd/docker/ca.pem"),
        cert=Path("/etc/backupd/docker/cert.pem"),
        key=Path("/etc/backupd/docker/key.pem"),
    )


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_stands_in_the_example(section: type[BaseModel]) -> None:
    keys = {
        str(described.validation_alias or name) for name, described in section.model_fields.items()
    }

    missing = {key for key in keys if not re.search(rf"\b{key}: ?", TEXT)}

    assert set() == missing


def test_no_section_is_left_out_here() -> None:
    def models(annotation: object) -> Iterator[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield annotation
        for part in get_args(annotation):
            yield from models(part)

    found: set[type[BaseModel]] = {Policy}
    while True:
        more = {
            model
            for section in found
            for described in section.model_fields.values()
            for model in models(described.annotation)
        }
        if more <= found:
            break
        found |= more

    assert {*SECTIONS} == {model for model in found if model.__name__ != "Compression"}


def test_the_first_line_points_an_editor_at_the_schema() -> None:
    assert LINES[0] == "# yaml-language-server: $schema=./schema.json"


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


def test_the_schema_takes_the_example(tmp_path: Path) -> None:
    for text in (TEXT, with_the_bucket(tmp_path)):
        assert [] == list(validator().iter_errors(yaml.safe_load(text)))


@pytest.mark.parametrize("text", list(commented_entries()))
def test_the_schema_takes_each_line_of_the_example(text: str) -> None:
    assert [] == list(validator().iter_errors(yaml.safe_load(text)))


def test_the_schema_describes_every_key() -> None:
    def undescribed(part: object, at: str) -> Iterator[str]:
        if isinstance(part, dict):
            for key, value in part.get("properties", {}).items():
                if "description" not in value and "$ref" not in value:
                    yield f"{at}.{key}"
            for key, value in part.items():
                yield from undescribed(value, f"{at}/{key}")

    whole = {name: part for name, part in schema()["$defs"].items() if name != "Compression"}

    assert [] == list(undescribed(whole, ""))


@pytest.mark.parametrize(
    "policy",
    [
        {},
        {"jobs": {}},
        {"jobs": {"a": {"imges": ["b"]}}},
        {"jobs": {"a": {"images": [1.1]}}},
        {"jobs": {"a": {"images": [{}]}}},
        {"jobs": {"a": {"images": [{"in_use": False}]}}},
        {"jobs": {"a": {"images": None}}},
        {"jobs": {"a": {"images": ["b"], "schedule": 5}}},
        {"jobs": {"a": {"images": ["b"]}}, "compression": {"zstd": 40}},
        {"jobs": {"a": {"images": ["b"]}}, "reuse_max_age": "30"},
        {"jobs": {"a": {"images": ["b"]}}, "store": {"addressing": "dns"}},
        {"jobs": {"a": {"images": ["b"]}}, "store": {"region": "a b"}},
        {"jobs": {"a": {"images": ["b"]}}, "store": {"uploads": 17}},
        {"jobs": {"a": {"images": ["b"], "retention": {"keep_last": "some"}}}},
    ],
)
def test_the_schema_refuses_what_the_models_refuse(policy: dict[str, object]) -> None:
    assert [] != list(validator().iter_errors(policy))


@pytest.mark.parametrize(
    "policy",
    [
        {
            "jobs": {"a": {"images": ["b"]}},
            "store": {"addressing": "${env:X}", "region": "${env:Y}"},
        },
        {"jobs": {"a": {"images": ["b"]}}, "x-usual": {"anything": 1}},
        {"jobs": {"a": {"images": ["b"]}}, "compression": "none"},
    ],
)
def test_the_schema_takes_references_extensions_and_short_forms(policy: dict[str, object]) -> None:
    assert [] == list(validator().iter_errors(policy))
