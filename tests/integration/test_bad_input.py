"""A policy or a command that cannot be meant is refused before anything is touched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.aftermath import CANARY, refuse_secrets, the_sentence
from tests.integration.command import Command
from tests.servers.dockerd import Engine
from tests.servers.faulty_engine import FaultyEngine

GOOD = """\
host: testhost
state_dir: {directory}/state
docker:
  host: {engine}
store:
  url: file://{directory}/store
  access_key: {canary}-access
  secret_key: {canary}-secret
jobs:
  nightly:
    schedule: "0 3 * * *"
    images: ["backupd-test-*:1.0"]
"""
PLAIN = GOOD.replace("  access_key: {canary}-access\n  secret_key: {canary}-secret\n", "")

CHANGES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "unknown key": ("schedule:", "shedule:", ("config.yaml:9", "did you mean 'schedule'")),
    "unknown section": ("store:", "stores:", ("did you mean 'store'",)),
    "duplicate key": ("host: testhost", "host: a\nhost: b", ("config.yaml:2", "twice")),
    "unquoted cron": ('"0 3 * * *"', "*/5 * * * *", ("config.yaml:9", "quote")),
    "unquoted at": ('"0 3 * * *"', "@daily", ("config.yaml:9", "quote")),
    "a number for a time": ('"0 3 * * *"', "22:00", ("config.yaml:9", 'write "22:00"')),
    "a number for a tag": ('"backupd-test-*:1.0"', "1.10", ("config.yaml:10", 'write "1.10"')),
    "a wrong cron": ("0 3 * * *", "0 25 * * *", ("config.yaml:9", "jobs.nightly.schedule")),
    "no jobs": ("jobs:", "jobs: {}\nx-jobs:", ("jobs",)),
    "a list for a job": ("  nightly:\n", "  other: []\n  nightly:\n", ("jobs.other",)),
    "half a YAML": ("images: [", "images: [[", ("config.yaml:",)),
    "a tab": ("    images", "\timages", ("config.yaml:10",)),
    "an alias bomb": (
        "host: testhost",
        "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\n"
        "c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]\n"
        "e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d]\nf: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e]\n"
        "g: &g [*f, *f, *f, *f, *f, *f, *f, *f, *f]\nhost: [*g, *g, *g, *g, *g, *g, *g, *g, *g]",
        ("config.yaml",),
    ),
    "a python object": ("host: testhost", "host: !!python/object/apply:os.getpid []", ("host",)),
}


@pytest.fixture
def watched(engine: Engine) -> Iterator[FaultyEngine]:
    """An engine that remembers what it was asked."""
    with FaultyEngine(engine.host) as proxy:
        yield proxy


def write(backupd: Command, watched: FaultyEngine, text: str) -> Path:
    return backupd.write(
        text.replace("{directory}", str(backupd.directory))
        .replace("{engine}", watched.host)
        .replace("{canary}", CANARY)
    )


def assert_untouched(backupd: Command, watched: FaultyEngine) -> None:
    assert [] == watched.requests
    assert ["config.yaml"] == sorted(path.name for path in backupd.directory.iterdir())


@pytest.mark.parametrize("change", CHANGES)
def test_a_wrong_policy_is_refused_with_its_line_before_anything_is_touched(
    change: str, backupd: Command, watched: FaultyEngine
) -> None:
    old, new, words = CHANGES[change]
    assert old in PLAIN
    write(backupd, watched, PLAIN.replace(old, new, 1))
    result = backupd("backup", timeout_seconds=120)

    assert 2 == result.code, result.stderr
    refuse_secrets(result)
    assert [] == [word for word in words if word not in result.stderr], result.stderr
    assert_untouched(backupd, watched)


def test_all_that_is_wrong_with_a_policy_comes_at_once_with_its_lines(
    backupd: Command, watched: FaultyEngine
) -> None:
    text = PLAIN.replace("images:", "imags:").replace("0 3 * * *", "0 99 * * *")
    write(backupd, watched, text.replace("state_dir: {directory}/state", "state_dir: relative"))
    result = backupd("backup")
    lines = result.stderr.splitlines()

    assert 2 == result.code
    assert [2, 9, 10] == sorted(int(line.split("config.yaml:")[1].split(":")[0]) for line in lines)
    assert_untouched(backupd, watched)


def test_a_wrong_policy_repeats_no_secret(backupd: Command, watched: FaultyEngine) -> None:
    text = GOOD.replace("secret_key: {canary}-secret", "secret_key: ['{canary}-secret']")
    write(backupd, watched, text.replace("access_key:", "acess_key:"))
    result = backupd("backup")

    assert 2 == result.code
    refuse_secrets(result)
    assert_untouched(backupd, watched)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"[]", b"null", b"- a\n- b\n"])
def test_a_policy_that_is_none_is_refused(
    content: bytes, backupd: Command, watched: FaultyEngine
) -> None:
    backupd.config.write_bytes(content)
    result = backupd("check")

    assert 2 == result.code
    assert "config.yaml" in result.stderr
    refuse_secrets(result)


def test_a_folder_is_no_policy(backupd: Command) -> None:
    backupd.config.mkdir()
    result = backupd("check")

    assert 2 == result.code
    assert "config.yaml" in the_sentence(result)


def test_a_secret_that_cannot_be_found_is_named_and_nothing_is_touched(
    backupd: Command, watched: FaultyEngine
) -> None:
    text = GOOD.replace("{canary}-secret", "${env:NO_SUCH_VARIABLE}")
    write(backupd, watched, text.replace("file://{directory}/store", "s3://bucket"))
    result = backupd("backup")

    assert 2 == result.code
    assert "NO_SUCH_VARIABLE" in the_sentence(result)
    assert_untouched(backupd, watched)


@pytest.mark.parametrize("name", ["nightli", "nginx:latest", "../../etc/passwd", "a\x1b[31mb"])
def test_a_name_that_matches_nothing_is_refused_before_any_work(
    name: str, backupd: Command, watched: FaultyEngine
) -> None:
    write(backupd, watched, PLAIN)
    result = backupd("backup", name)

    assert 5 == result.code
    assert "neither a job nor a source" in the_sentence(result)
    assert "\x1b" not in result.stderr
    assert not (backupd.directory / "store").exists()
