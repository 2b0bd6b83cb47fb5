"""No private key and no passphrase comes out, whichever way it is given."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import docker
import pyrage
import pytest

from tests.integration.canaries import QUERY, USER, files_below, found_in, loud
from tests.integration.command import Command
from tests.integration.conftest import WritePolicy
from tests.integration.test_canaries import outputs_of
from tests.integration.trees import succeeded
from tests.servers.rootfs import base_image

KEY = pyrage.x25519.Identity.generate()
SECRET, PUBLIC = str(KEY), str(KEY.to_public())
PART = SECRET.removeprefix("AGE-SECRET-KEY-1")
"""What a quotation that leaves the beginning out would still show."""
Names = tuple[list[str], dict[str, Any]]
"""Arguments of a verb that reads back, and sections of the policy."""


def _private(path: Path, text: str) -> Path:
    path.touch(0o600)
    path.write_text(text)
    return path


def _by_option(backupd: Command, text: str) -> Names:
    return ["--identity", str(_private(backupd.directory / "age.key", text))], {}


def _by_environment(backupd: Command, text: str) -> Names:
    backupd.environment["AGE_KEY"] = text
    return ["--identity", "${env:AGE_KEY}"], {}


def _by_policy(backupd: Command, text: str) -> Names:
    return [], {"identity": f"${{file:{_private(backupd.directory / 'age.key', text)}}}"}


def _by_credential(backupd: Command, text: str) -> Names:
    folder = backupd.directory / "credentials"
    folder.mkdir(exist_ok=True)
    _private(folder / "age.key", text)
    backupd.environment["CREDENTIALS_DIRECTORY"] = str(folder)
    return [], {"identity": "${credential:age.key}"}


def _literally(backupd: Command, text: str) -> Names:
    return [], {"identity": text}


WAYS: dict[str, Callable[[Command, str], Names]] = {
    "option": _by_option,
    "environment": _by_environment,
    "policy": _by_policy,
    "credential": _by_credential,
    "literally": _literally,
}


def sections(backupd: Command, recipient: str = PUBLIC, **more: Any) -> dict[str, Any]:
    return {
        "store": {"url": f"file://{backupd.directory}/store"},
        "defaults": {"encryption": {"recipients": [recipient]}},
        **more,
    }


@pytest.mark.parametrize("way", WAYS)
def test_a_private_key_that_opens_comes_out_nowhere(
    way: str, backupd: Command, policy: WritePolicy, api: docker.APIClient
) -> None:
    loud(backupd)
    name = base_image(api)
    key, more = WAYS[way](backupd, f"{SECRET}\n")
    policy({"nightly": {"images": [name]}}, **sections(backupd, **more))
    results = {verb: succeeded(backupd(verb)) for verb in ("check", "backup")}
    (row,) = backupd("list", "--json").json
    target = backupd.directory / "out.tar"
    results |= {
        "verify": succeeded(backupd("verify", "--data", *key)),
        "drill": succeeded(backupd("drill", *key)),
        "restore": succeeded(backupd("restore", "image", name, "--output", target, *key)),
        "show": succeeded(backupd("show", row["id"])),
        "show --json": succeeded(backupd("show", row["id"], "--json")),
        "history": succeeded(backupd("history", "--json")),
        "status": backupd("status", "--json"),
    }

    assert "verified 1 of 1 backups" in results["verify"].stdout
    assert [] == found_in(outputs_of(results), SECRET, PART)
    assert [] == found_in(files_below(backupd.state_dir), SECRET, PART)
    assert [] == found_in(files_below(backupd.directory / "store"), SECRET, PART)


@pytest.mark.parametrize(
    "spoiled",
    [PART, f"{SECRET}x", f"{SECRET[:-1]}\n{PART}", f"x: {SECRET}"],
    ids=["without its beginning", "longer", "in two lines", "behind a word"],
)
@pytest.mark.parametrize("way", WAYS)
def test_a_private_key_that_cannot_be_used_comes_out_nowhere(
    way: str, spoiled: str, backupd: Command, policy: WritePolicy
) -> None:
    loud(backupd)
    key, more = WAYS[way](backupd, spoiled)
    policy({"nightly": {"images": ["a:1"]}}, **sections(backupd, **more))
    archive, target = backupd.directory / "x.tar.age", backupd.directory / "out.tar"
    archive.write_bytes(pyrage.encrypt(b"a tar", [KEY.to_public()]))
    result = backupd("restore", "image", "--from", archive, "--output", target, *key)

    assert 2 == result.code
    assert "identity" in result.stderr
    assert [] == found_in(outputs_of({"restore": result}), PART, PART[:-1])


@pytest.mark.parametrize(
    "encryption",
    [
        {"recipients": [SECRET]},
        {"recipients": SECRET},
        {"recipients": {SECRET: SECRET}},
        {"recipient": SECRET},
        {SECRET: SECRET},
        [SECRET],
        SECRET,
    ],
    ids=["in place", "no list", "a mapping", "misspelt", "as a key", "a list", "a text"],
)
def test_a_private_key_where_the_public_one_belongs_comes_out_nowhere(
    encryption: Any, backupd: Command, policy: WritePolicy
) -> None:
    job = {"images": ["a:1"], "encryption": encryption}
    policy({"nightly": job}, **sections(backupd), identity=[SECRET])
    results = {verb: backupd(verb) for verb in ("check", "list", "daemon")}

    assert [2, 2, 2] == [result.code for result in results.values()]
    assert [] == found_in(outputs_of(results), PART)


@contextmanager
def serving(data: bytes) -> Iterator[str]:
    """The address of a web server that answers everything with `data`."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("cut", [None, 40])
def test_an_address_of_an_encrypted_archive_is_told_without_its_secrets(
    cut: int | None, backupd: Command
) -> None:
    sealed = pyrage.encrypt(b"a tar", [KEY.to_public()])
    with serving(sealed[:cut]) as address:
        url = f"http://{USER}:{USER}@{address}/x.tar.age?{QUERY}#{QUERY}"
        target = backupd.directory / "out.tar"
        results = {"restore": backupd("restore", "image", "--from", url, "--output", target)}

    assert results["restore"].code == (6 if cut else 2)
    assert [] == found_in(outputs_of(results), USER, QUERY)
