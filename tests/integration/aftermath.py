"""What must hold after something went wrong, looked at from outside and never through backupd."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import docker

from tests.integration.command import Command, Result
from tests.servers.seaweedfs import FULL, GRANTED, NO_DELETE, READ_ONLY, SeaweedFS

CANARY = "canary-7f3a"
"""Stands in every secret that a test plants; it must never be seen again."""

_SECRETS = (
    CANARY,
    *(secret for each in (FULL, READ_ONLY, NO_DELETE, GRANTED) for secret in (each.secret_key,)),
)
_TRACES = ("Traceback", 'File "', "internal error")


def the_sentence(result: Result) -> str:
    """The one line that the command said on standard error, which holds nothing secret."""
    refuse_secrets(result)
    # After Ctrl-C the sentence begins on a line of its own, for the terminal's `^C`.
    lines = result.stderr.lstrip("\n").splitlines()
    assert 1 == len(lines), result.stderr
    assert lines[0].startswith("backupd: "), lines[0]
    return lines[0].removeprefix("backupd: ")


def refuse_secrets(result: Result) -> None:
    """Fail when the command printed a secret or a traceback."""
    said = result.stderr + result.output.decode(errors="replace")
    assert [] == [text for text in (*_SECRETS, *_TRACES) if text in said], said


def kept(store: Path) -> list[str]:
    """Every file below a directory store, unfinished ones too, but for who writes there."""
    files = [path for path in store.rglob("*") if path.is_file()]
    return sorted(str(path.relative_to(store)) for path in files if path.name != "host.json")


def kept_in(server: SeaweedFS, section: Mapping[str, Any]) -> list[str]:
    """Every object of a bucket, but for who writes there, and every unfinished upload."""
    bucket = section["url"].split("/")[2]
    client = server.client()
    objects = [each["Key"] for each in client.list_objects_v2(Bucket=bucket).get("Contents", [])]
    uploads = client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    unfinished = [f"unfinished {each['Key']}" for each in uploads]
    return sorted([key for key in objects if not key.endswith("/host.json")] + unfinished)


def journal(backupd: Command) -> list[str]:
    """What is written down as not undone yet."""
    return sorted(path.name for path in (backupd.state_dir / "journal").glob("*"))


def images(api: docker.APIClient) -> list[tuple[str, tuple[str, ...]]]:
    """Every image with its tags; the dangling and the hidden ones too."""
    found = api.images(all=True)
    return sorted((each["Id"], tuple(sorted(each["RepoTags"] or ()))) for each in found)


def status(api: docker.APIClient, container: str) -> str:
    """`running`, `paused`, `exited` …"""
    return str(api.inspect_container(container)["State"]["Status"])


def names_listed(backupd: Command) -> list[str]:
    """The sources that have a backup, by the command itself."""
    return [each["name"] for each in backupd("list", "--json").json]


def manifest_in(store: Path) -> dict[str, Any]:
    """The only manifest of a directory store."""
    (path,) = store.glob("*/backups/**/*.json")
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def wait_until(condition: Callable[[], bool], *, timeout_seconds: float = 120) -> None:
    """Return once the condition holds. Raises TimeoutError."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("what a test waits for did not happen")
        time.sleep(0.05)
