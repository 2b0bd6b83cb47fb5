"""No secret comes out, wherever it comes from: canaries in each place, a look at each output."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import docker
import pytest

from tests.integration import canaries
from tests.integration.canaries import (
    COMMAND,
    ENVIRONMENT,
    LABEL,
    NOTIFY,
    PING,
    QUERY,
    RECORDED,
    TLS_KEY,
    TOKEN,
    USER,
    VOLUME,
    WAYS,
    Keys,
    files_below,
    found_in,
    loud,
    objects_of,
)
from tests.integration.command import Command, Result
from tests.integration.conftest import WritePolicy
from tests.integration.daemon_process import YEARLY, promised_long_ago, running
from tests.integration.trees import succeeded
from tests.servers.receiver import HANG, Receiver
from tests.servers.rootfs import base_image
from tests.servers.seaweedfs import FULL, SeaweedFS

CONTAINER, DATA = "backupd-test-canary", "backupd-test-canary-data"
JOBS: dict[str, Any] = {
    "nightly": {
        "schedule": YEARLY,
        "containers": [
            {
                "name": CONTAINER,
                "with_volumes": True,
                "before": [{"exec": f": {COMMAND}; false", "on_failure": "warn"}],
            }
        ],
    }
}
KEYS = Keys(FULL.access_key, FULL.secret_key)
SECRETS = (*RECORDED, COMMAND, NOTIFY, PING, KEYS.access_key, KEYS.secret_key)


@pytest.fixture
def container(api: docker.APIClient) -> str:
    """A running container with canaries in all that inspect tells of it."""
    api.create_volume(DATA, labels={"password": VOLUME})
    made = api.create_container(
        base_image(api),
        ["sleep", "1000"],
        name=CONTAINER,
        environment={"PASSWORD": ENVIRONMENT},
        labels={"password": LABEL},
        stop_signal="SIGKILL",
        volumes=["/data"],
        host_config=api.create_host_config(binds=[f"{DATA}:/data"]),
    )
    api.start(made)
    return CONTAINER


def outputs_of(results: dict[str, Result]) -> dict[str, bytes]:
    return {
        f"{stream} of {verb}": output
        for verb, result in results.items()
        for stream, output in (("output", result.output), ("errors", result.stderr.encode()))
    }


def store_of(bucket: dict[str, Any], keys: dict[str, str]) -> dict[str, Any]:
    return {name: bucket[name] for name in ("url", "endpoint")} | keys


@pytest.mark.parametrize("way", WAYS)
def test_the_keys_of_a_store_come_out_nowhere(
    way: str,
    backupd: Command,
    policy: WritePolicy,
    bucket: dict[str, Any],
    s3: SeaweedFS,
    container: str,
) -> None:
    loud(backupd)
    policy(JOBS, store=store_of(bucket, WAYS[way](backupd, KEYS)))
    results = {verb: succeeded(backupd(verb)) for verb in ("check", "backup", "status")}
    results["list --json"] = succeeded(backupd("list", "--json"))
    objects = objects_of(s3.client(), bucket["url"].split("/")[2])
    records = {key for key in objects if key.endswith(".record.json")}

    assert [] == found_in(outputs_of(results), *SECRETS)
    assert [] == found_in(files_below(backupd.state_dir), *SECRETS)
    assert [] == found_in(
        {key: data for key, data in objects.items() if key not in records}, *SECRETS
    )
    assert 2 == len(records)
    # What was looked for is really there, so that the look is worth something.
    assert {ENVIRONMENT, LABEL, VOLUME} == {
        canary for canary in RECORDED for key in records if canary.encode() in objects[key]
    }


def test_no_view_of_backups_and_jobs_shows_a_secret(
    backupd: Command, policy: WritePolicy, bucket: dict[str, Any], container: str
) -> None:
    loud(backupd)
    policy(JOBS, store=store_of(bucket, WAYS["literally"](backupd, KEYS)))
    succeeded(backupd("backup"))
    (row,) = [one for one in backupd("list", "--json").json if one["kind"] == "container"]
    results = {
        f"{arguments[0]} {form}": succeeded(backupd(*arguments, *form))
        for form in ([], ["--json"])
        for arguments in (["list"], ["show", row["id"]], ["status"], ["history"], ["next"])
    }

    assert [] == found_in(outputs_of(results), *SECRETS)


@pytest.mark.parametrize("log_format", ["json", "journal", "text"])
def test_a_daemon_tells_no_secret_to_anybody(
    log_format: str,
    backupd: Command,
    policy: WritePolicy,
    bucket: dict[str, Any],
    s3: SeaweedFS,
    container: str,
) -> None:
    loud(backupd)
    port = _free_port()
    with Receiver(HANG) as service, Receiver(500) as pinged:
        policy(
            {"nightly": JOBS["nightly"] | {"ping": f"http://{pinged.address}/{PING}?k={PING}"}},
            store=store_of(bucket, WAYS["environment"](backupd, KEYS)),
            notify={
                "urls": [f"json://user:{NOTIFY}@{service.address}/{NOTIFY}?token={NOTIFY}"],
                "when": ["always"],
            },
            metrics={"listen": f"127.0.0.1:{port}"},
        )
        promised_long_ago(backupd, "nightly")
        with running(backupd, "--log-format", log_format) as daemon:
            daemon.wait_for("job nightly ended")
            service.next()
            # The program that talks to the service is at it now.
            shown = canaries.arguments()
            pages = {
                "the log": daemon.log.encode(),
                **files_below(backupd.state_dir),
                **{page: _page(port, page) for page in ("metrics", "healthz")},
            }
            objects = objects_of(s3.client(), bucket["url"].split("/")[2])

    assert [] == found_in(shown | pages, *SECRETS)
    assert [] == found_in(
        {key: data for key, data in objects.items() if ".record.json" not in key}, *SECRETS
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _page(port: int, page: str) -> bytes:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=30) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        return bytes(error.read())


class _Echo(BaseHTTPRequestHandler):
    """An S3 server that repeats in its refusal all that it was told."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        told = escape(" ".join(f"{name}: {value}" for name, value in self.headers.items()))
        code, token = "Echo", escape(self.headers.get("X-Amz-Security-Token") or "")
        text = f"<Error><Code>{code}</Code><Message>{token} {told}</Message></Error>".encode()
        self.send_response(400)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def do_PUT(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.do_GET()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def echoing() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_a_server_that_repeats_what_it_was_told_is_not_quoted(
    backupd: Command, policy: WritePolicy
) -> None:
    keys = {"access_key": "canary-access-key-1", "secret_key": "canary-secret-key-2"}
    loud(backupd)
    with echoing() as endpoint:
        store = {"url": "s3://bucket/x", "endpoint": endpoint, **keys, "session_token": TOKEN}
        policy({"nightly": {"images": ["a:1"]}}, store=store)
        results = {verb: backupd(verb) for verb in ("check", "list", "backup", "prune")}

    assert {4} >= {results["list"].code, results["prune"].code}
    assert "answered Echo" in results["list"].stderr
    assert [] == found_in(outputs_of(results), *keys.values(), TOKEN)


@pytest.mark.parametrize(
    "store",
    [
        {"secret_key": "SECRET", "secret_kee": "SECRET"},
        {"access_key": "a", "secret_key": ["SECRET"]},
        {"access_key": "a", "secret_key": {"SECRET": "SECRET"}},
        {"access_key": "a", "secret_key": "${env:SECRET"},
        {"access_key": "SECRET"},
        {"url": "s3://user:SECRET@bucket/x", "access_key": "a", "secret_key": "SECRET"},
        {"endpoint": "https://user:SECRET@host", "access_key": "a", "secret_key": "SECRET"},
        {"endpoint": "https://host/?token=SECRET", "access_key": "a", "secret_key": "SECRET"},
        {"access_key": "a", "secret_key": "SECRET\x00"},
    ],
    ids=str,
)
def test_a_wrong_policy_is_told_without_its_secrets(
    store: dict[str, Any], backupd: Command
) -> None:
    text = json.dumps(
        {"store": {"url": "s3://bucket/x", **store}, "jobs": {"a": {"images": ["b"]}}}
    )
    backupd.write(text.replace("SECRET", KEYS.secret_key))
    results = {verb: backupd(verb) for verb in ("check", "list", "daemon")}

    assert [2, 2, 2] == [result.code for result in results.values()]
    assert [] == found_in(outputs_of(results), KEYS.secret_key)


@pytest.mark.parametrize(
    "line",
    [
        "  secret_key: @SECRET",
        "  secret_key: %SECRET: x",
        "  secret_key: 'SECRET",
        '  secret_key: "\\q SECRET"',
        "  secret_key: [SECRET",
        "  secret_key:\tSECRET: SECRET",
        "  secret_key: *SECRET",
        "  secret_key: !SECRET x",
        "  secret_key: &SECRET",
        "  secret_key SECRET",
        "  secret_key: |\n SECRET\n   x",
    ],
)
def test_a_line_that_is_no_yaml_is_told_without_its_secret(line: str, backupd: Command) -> None:
    text = f"jobs: {{a: {{images: [b]}}}}\nstore:\n  url: s3://bucket/x\n{line}\n"
    backupd.write(text.replace("SECRET", KEYS.secret_key))
    result = backupd("check")

    assert 2 == result.code
    assert [] == found_in(outputs_of({"check": result}), KEYS.secret_key)


@pytest.mark.parametrize("kind", ["image", "container"])
@pytest.mark.parametrize(
    "address",
    [
        "http://{user}@127.0.0.1:1/x?token={query}",
        "http://{receiver}/{{}}?{query}",
        "ftp://{user}@host/x?{query}#{query}",
        "http://{user}:{query}@{receiver}/x#{query}",
    ],
)
def test_an_address_to_restore_from_is_told_without_its_secrets(
    kind: str, address: str, backupd: Command
) -> None:
    with Receiver() as receiver:
        url = address.format(user=USER, query=QUERY, receiver=receiver.address)
        target = backupd.directory / "out.tar"
        results = {"restore": backupd("restore", kind, "--from", url, "--output", target)}

    assert results["restore"].code in {2, 4, 6}
    assert [] == found_in(outputs_of(results), USER, QUERY)


def test_a_tls_key_that_cannot_be_used_is_not_shown(backupd: Command, policy: WritePolicy) -> None:
    tls = {name: str(backupd.directory / f"{name}.pem") for name in ("ca", "cert", "key")}
    for path in tls.values():
        Path(path).write_text(f"-----BEGIN PRIVATE KEY-----\n{TLS_KEY}\n")
    policy(
        {"nightly": {"images": ["a:1"]}},
        docker={"host": "tcp://127.0.0.1:1", "tls": tls},
        store={"url": f"file://{backupd.directory}/store"},
    )
    results = {verb: backupd(verb) for verb in ("check", "backup")}

    assert [3, 3] == [result.code for result in results.values()]
    assert [] == found_in(outputs_of(results), TLS_KEY)


ABORTS = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
from backupd.cli import main as shell
shell.cli.main = lambda **_: os.abort()
shell.main() if sys.argv[1] == "backupd" else os.abort()
"""


def _aborted(who: str, directory: Path) -> int:
    """How a process that aborts itself ended, as wait(2) has it."""
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", f"import os; os.chdir({str(directory)!r}){ABORTS}", who],
        {**os.environ, "PYTHONPATH": str(Path(canaries.__file__).parents[2])},
    )
    return os.waitpid(pid, 0)[1]


def test_a_crash_writes_no_memory_anywhere(tmp_path: Path) -> None:
    status = _aborted("backupd", tmp_path)

    assert signal.SIGABRT == os.WTERMSIG(status)
    assert not os.WCOREDUMP(status)
    assert [] == list(tmp_path.iterdir())


def test_no_program_that_is_started_dumps_its_memory(tmp_path: Path) -> None:
    code = (
        "import subprocess\nfrom backupd import core_dumps\ncore_dumps.forbid()\n"
        "print(subprocess.run(['cat', '/proc/self/limits'], capture_output=True).stdout.decode())"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    (line,) = [one for one in said.stdout.splitlines() if "core file" in one]
    assert ["0", "0"] == line.split()[4:6]


FAULT = """
from backupd.cli import main as shell
def wrong(**_):
    password = "canary-of-a-local-variable"
    raise RuntimeError("https://user:canary-of-a-user@host/x?token=canary-of-a-query \\x1b[31m")
shell.cli.main = wrong
shell.main()
"""


def test_a_fault_of_backupd_itself_tells_where_and_no_secret() -> None:
    said = subprocess.run([sys.executable, "-c", FAULT], capture_output=True, text=True)

    assert 1 == said.returncode
    assert "RuntimeError: https://host/x" in said.stderr
    assert "please report" in said.stderr
    assert "canary" not in said.stderr
    assert "\x1b" not in said.stderr
