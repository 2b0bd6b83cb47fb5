"""Where a secret can come from, and how to look for it in everything that comes out.

Each canary is a text that stands in one of these places and nowhere else, so one that is found in
an output tells by itself where the leak is.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.integration.command import Command

ENVIRONMENT = "canary-of-the-containers-environment-1q"
LABEL = "canary-of-the-containers-label-2w"
COMMAND = "canary-of-the-command-inside-3e"
NOTIFY = "canary-of-the-notify-address-4r"
PING = "canary-of-the-ping-address-5t"
VOLUME = "canary-of-the-volumes-label-6y"
TOKEN = "canary-of-the-session-token-7u"
USER, QUERY = "canary-of-an-addresss-user-8i", "canary-of-an-addresss-query-9o"
TLS_KEY = "canary-of-the-tls-key-0p"

RECORDED = frozenset({ENVIRONMENT, LABEL, VOLUME})
"""What has to come back with a container or volume: it stands in its record of inspect alone."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a store."""

    access_key: str
    secret_key: str


Way = Callable[[Command, Keys], dict[str, str]]
"""Gives `keys` to the command in one way; what of them the policy's `store` says itself."""


def _literally(backupd: Command, keys: Keys) -> dict[str, str]:
    return {"access_key": keys.access_key, "secret_key": keys.secret_key}


def _by_environment(backupd: Command, keys: Keys) -> dict[str, str]:
    backupd.environment.update(STORE_ACCESS=keys.access_key, STORE_SECRET=keys.secret_key)
    return {"access_key": "${env:STORE_ACCESS}", "secret_key": "${env:STORE_SECRET}"}


def _by_file(backupd: Command, keys: Keys) -> dict[str, str]:
    access = _private(backupd.directory / "s3.access", keys.access_key)
    secret = _private(backupd.directory / "s3.secret", keys.secret_key)
    return {"access_key": f"${{file:{access}}}", "secret_key": f"${{file:{secret}}}"}


def _by_credential(backupd: Command, keys: Keys) -> dict[str, str]:
    folder = backupd.directory / "credentials"
    folder.mkdir(exist_ok=True)
    _private(folder / "access", keys.access_key)
    _private(folder / "secret", keys.secret_key)
    backupd.environment["CREDENTIALS_DIRECTORY"] = str(folder)
    return {"access_key": "${credential:access}", "secret_key": "${credential:secret}"}


def _by_aws_environment(backupd: Command, keys: Keys) -> dict[str, str]:
    backupd.environment.update(
        AWS_ACCESS_KEY_ID=keys.access_key, AWS_SECRET_ACCESS_KEY=keys.secret_key
    )
    return {}


def _by_aws_file(backupd: Command, keys: Keys) -> dict[str, str]:
    folder = backupd.directory / ".aws"
    folder.mkdir(exist_ok=True)
    text = f"[default]\naws_access_key_id = {keys.access_key}\n"
    _private(folder / "credentials", f"{text}aws_secret_access_key = {keys.secret_key}\n")
    return {}


WAYS: dict[str, Way] = {
    "literally": _literally,
    "environment": _by_environment,
    "file": _by_file,
    "credential": _by_credential,
    "AWS environment": _by_aws_environment,
    "AWS file": _by_aws_file,
}


def _private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def forms(canary: str) -> Iterator[bytes]:
    """The ways in which a text may stand in an output; base64 wherever in its three it begins."""
    yield canary.encode()
    yield quote(canary, safe="").encode()
    for shift in range(3):
        # The first and the last characters depend on what stands beside.
        yield base64.b64encode(bytes(shift) + canary.encode())[4:-4]


def found_in(outputs: dict[str, bytes], *canaries: str) -> list[str]:
    """Each output that holds a canary, with the canary; none should."""
    return [
        f"{canary} in {where}"
        for where, output in outputs.items()
        for canary in canaries
        if any(form in output for form in forms(canary))
    ]


def files_below(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def arguments() -> dict[str, bytes]:
    """What every process of this machine shows of its command line."""
    shown = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            shown[f"the arguments of process {folder.name}"] = (folder / "cmdline").read_bytes()
        except OSError:
            continue  # it ended meanwhile
    return shown


def objects_of(client: Any, bucket: str) -> dict[str, bytes]:
    """Every object of a bucket."""
    listed = client.list_objects_v2(Bucket=bucket).get("Contents", [])
    return {
        each["Key"]: client.get_object(Bucket=bucket, Key=each["Key"])["Body"].read()
        for each in listed
    }


def loud(backupd: Command) -> None:
    """Let every library say all that it can, as somebody may who looks for a fault."""
    folder = backupd.directory / "loud"
    folder.mkdir()
    text = "import logging, sys\nlogging.basicConfig(level=logging.DEBUG, stream=sys.stderr)\n"
    (folder / "sitecustomize.py").write_text(text)
    import backupd as package

    code = Path(package.__file__).parents[1]
    backupd.environment["PYTHONPATH"] = f"{folder}:{code}"
