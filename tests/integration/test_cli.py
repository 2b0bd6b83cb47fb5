"""The command line: where the policy is found, what `--help` shows, and the exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import docker
import jsonschema
import pytest
import yaml

from backupd import __version__
from backupd.cli.main import cli
from backupd.cli.verbs import Verb
from tests.integration.command import Command
from tests.integration.conftest import WritePolicy
from tests.integration.trees import image_ids, make_image, succeeded

IMAGE = "backupd-test-cli:1"


def verbs(command: click.Command, *words: str) -> Iterator[tuple[str, ...]]:
    """Every command and group, as the words that are typed for it."""
    yield words
    if isinstance(command, Verb):
        command = command.load()
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from verbs(child, *words, name)


def with_store(backupd: Command, name: str) -> dict[str, Any]:
    """A policy whose store is a directory of this name."""
    return {
        "host": "testhost",
        "state_dir": str(backupd.state_dir),
        "store": {"url": f"file://{backupd.directory}/{name}"},
        "jobs": {"nightly": {"images": [IMAGE]}},
    }


@pytest.mark.parametrize("words", [*verbs(cli)], ids=lambda words: "-".join(words) or "backupd")
def test_the_help_of_every_command_shows_an_example(
    words: tuple[str, ...], backupd: Command
) -> None:
    text = succeeded(backupd(*words, "--help")).stdout
    after_heading = text.partition("Example")[2]

    assert text.startswith(f"Usage: {' '.join(['backupd', *words])} ")
    assert f" {' '.join(['backupd', *words])}" in after_heading


def test_the_help_documents_the_exit_codes(backupd: Command) -> None:
    text = " ".join(succeeded(backupd("--help")).stdout.split())

    assert (
        "Exit codes: 0 all good, 1 some sources failed, 2 usage, policy or key, 3 engine, 4 store, "
        "5 not found, 6 damaged backup, 7 already running, 8 cannot be given back as it was."
    ) in text


def test_the_version_is_the_packages(backupd: Command) -> None:
    assert f"backupd, version {__version__}\n" == succeeded(backupd("--version")).stdout


def test_the_policy_is_found_by_its_variable(backupd: Command) -> None:
    backupd.write(with_store(backupd, "by-variable"))
    result = succeeded(backupd("list"))

    assert f"no backups in file://{backupd.directory}/by-variable\n" == result.stderr


@pytest.mark.parametrize("place", ["before the verb", "after the verb"])
def test_an_option_wins_over_the_variable_wherever_it_stands(
    place: str, backupd: Command, tmp_path: Path
) -> None:
    backupd.write(with_store(backupd, "by-variable"))
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(with_store(backupd, "by-option")))
    option = ["--config", str(other)]
    words = [*option, "list"] if place == "before the verb" else ["list", *option]
    result = succeeded(backupd(*words))

    assert f"no backups in file://{backupd.directory}/by-option\n" == result.stderr


def test_an_option_before_a_nested_verb_is_heard(backupd: Command, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(with_store(backupd, "by-option")))
    result = backupd("--config", other, "restore", "image", IMAGE)

    assert (5, True) == (result.code, f"{backupd.directory}/by-option" in result.stderr)


def test_the_schema_accepts_the_policy_of_these_tests(backupd: Command) -> None:
    schema = json.loads(succeeded(backupd("schema")).stdout)

    jsonschema.validate(with_store(backupd, "any"), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**with_store(backupd, "any"), "jbos": {}}, schema)


USAGE = {
    "an unknown verb": ["bakcup"],
    "an unknown option": ["backup", "--fast"],
    "an unknown kind": ["list", "--kind", "picture"],
    "nothing to restore": ["restore", "image"],
    "a container without a name": ["restore", "container"],
    "a name and an archive": ["restore", "image", IMAGE, "--from", "-"],
    "a tag for two images": ["restore", "image", IMAGE, "other:1", "--tag", "a:1"],
    "a tag for two containers": ["restore", "container", "a", "b", "--tag", "a:1"],
    "an output for two images": ["restore", "image", IMAGE, "other:1", "--output", "-"],
    "a tag that is none": ["restore", "image", IMAGE, "--tag", "Upper Case"],
    "a reference that is none": ["restore", "image", "Upper Case"],
    "a time that is none": ["restore", "image", IMAGE, "--at", "yesterday"],
    "a change without import": ["restore", "container", "a", "--change", "USER root"],
    "a store that is none": ["list", "--store", "ftp://example.com"],
    "no id": ["show"],
    "a tag that is an id": ["restore", "image", IMAGE, "--tag", f"sha256:{'0' * 64}"],
    "a tag that is a digest": ["restore", "image", IMAGE, "--tag", f"a@sha256:{'0' * 64}"],
    "a tag for a container's tar": ["restore", "container", "a", "--tag", "a:1", "--output", "-"],
    "a message for a tar": ["restore", "container", "a", "--message", "a", "--output", "-"],
    "a platform for a tar": ["restore", "image", "a", "--platform", "linux/arm64", "--output", "-"],
    "a time of an archive": ["restore", "image", "--from", "-", "--at", "2026-01-01"],
    "an id of an archive": ["restore", "container", "--from", "-", "--id", "0123"],
    "a job of an archive": ["restore", "bundle", "--from", "-", "--job", "nightly"],
    "a host of an archive": ["restore", "image", "--from", "-", "--host", "web01"],
}


@pytest.mark.parametrize("words", USAGE.values(), ids=USAGE)
def test_a_call_that_makes_no_sense_is_refused(words: list[str], backupd: Command) -> None:
    backupd.write(with_store(backupd, "store"))
    result = backupd(*words)

    assert (2, b"", False) == (result.code, result.output, "Traceback" in result.stderr)
    assert {backupd.config} == set(backupd.directory.iterdir())


UNKNOWN = {
    "a job or source": ["backup", "nightyl"],
    "a job and an unknown source": ["backup", "nightly", "backupd-test-unknown:1"],
    "a source of another job": ["backup", IMAGE, "--job", "weekly"],
    "a job to take a source from": ["backup", IMAGE, "--job", "nightyl"],
    "an image": ["restore", "image", "backupd-test-unknown:1"],
    "a container": ["restore", "container", "unknown"],
    "a bundle": ["restore", "bundle", "unknown"],
    "an id": ["restore", "image", "--id", "123456789abc"],
    "an id to show": ["show", "123456789abc"],
    "another host": ["restore", "image", IMAGE, "--host", "unknown"],
    "a job's backup": ["restore", "image", IMAGE, "--job", "weekly"],
}


@pytest.mark.parametrize("words", UNKNOWN.values(), ids=UNKNOWN)
def test_an_unknown_name_is_refused_before_any_work(
    words: list[str], api: docker.APIClient, policy: WritePolicy, backupd: Command
) -> None:
    make_image(api, IMAGE)
    store = {"url": f"file://{backupd.directory}/store"}
    jobs = {"nightly": {"images": [IMAGE]}, "weekly": {"images": ["backupd-test-cli-*"]}}
    policy(jobs, store=store)
    before = image_ids(api)
    result = backupd(*words)
    files = [path for path in (backupd.directory / "store").rglob("*") if path.is_file()]

    assert (5, 1) == (result.code, len(result.stderr.splitlines()))
    assert (before, []) == (image_ids(api), files)


def test_a_policy_that_is_missing_is_named(backupd: Command) -> None:
    result = backupd("check")

    assert (2, True) == (result.code, str(backupd.config) in result.stderr)


def test_every_problem_of_a_policy_is_told_at_once(backupd: Command) -> None:
    backupd.write("jobs:\n  nightly:\n    schedule: 22:00\n    imagse: [a]\n    images: ['a b']\n")
    result = backupd("backup")

    assert 2 == result.code
    assert ["config.yaml:3", "config.yaml:4", "config.yaml:5"] == [
        f"config.yaml:{number}" for number in (3, 4, 5) if f"config.yaml:{number}" in result.stderr
    ]
    assert {backupd.config} == set(backupd.directory.iterdir())


def test_an_engine_that_does_not_answer_is_said_in_one_sentence(backupd: Command) -> None:
    socket = f"unix://{backupd.directory}/no.sock"
    backupd.write({**with_store(backupd, "store"), "docker": {"host": socket}})
    result = backupd("backup")

    assert (3, 1) == (result.code, len(result.stderr.splitlines()))
    # The failed run stands in the history, where `status` finds it; the store was not touched.
    assert {backupd.config, backupd.state_dir} == set(backupd.directory.iterdir())
