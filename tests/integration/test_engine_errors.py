"""An engine that is not there, or that may not be asked: exit code 3 and what to do about it."""

from __future__ import annotations

import os
import socket
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.integration.aftermath import (
    CANARY,
    images,
    kept,
    refuse_secrets,
    the_sentence,
)
from tests.integration.command import AS_NOBODY, Command
from tests.integration.conftest import WritePolicy
from tests.servers.dockerd import Engine
from tests.servers.faulty_engine import IMPORT, LOAD, Fault, FaultyEngine, Then, error_json, refusal
from tests.servers.rootfs import build_image

IMAGE, CONTAINER = "backupd-test-errors:1", "backupd-test-errors"
JOBS = {"nightly": {"schedule": "@daily", "images": [IMAGE], "containers": [CONTAINER]}}
MIB = 1 << 20


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def faulty(engine: Engine) -> Iterator[FaultyEngine]:
    with FaultyEngine(engine.host) as proxy:
        yield proxy


ADDRESSES = {
    "no socket": ("unix:///nowhere/docker.sock", "there is no engine at unix:///nowhere"),
    "a refused port": ("tcp://127.0.0.1:1", "nothing answers at tcp://127.0.0.1:1; start"),
    "an unknown host": ("tcp://engine.invalid:2375", "the host name in tcp://engine.invalid:2375"),
}


@pytest.mark.parametrize("words", [("backup",), ("check",)], ids=" ".join)
@pytest.mark.parametrize("address", ADDRESSES)
def test_an_engine_that_is_not_there_is_told_before_any_work(
    address: str, words: tuple[str, ...], policy: WritePolicy, backupd: Command, store: Path
) -> None:
    host, sentence = ADDRESSES[address]
    policy(JOBS, store={"url": f"file://{store}"}, docker={"host": host})
    result = backupd(*words)

    assert 3 == result.code
    assert sentence in the_sentence(result)
    assert [] == kept(store)


@pytest.mark.parametrize("given", ["nonsense", "http://127.0.0.1:1", "ftp://x", "tcp://"])
def test_a_docker_host_of_the_environment_that_is_none_is_told(
    given: str, policy: WritePolicy, backupd: Command, store: Path
) -> None:
    policy(JOBS, store={"url": f"file://{store}"}, docker=None)
    backupd.environment["DOCKER_HOST"] = given
    result = backupd("backup")

    assert result.code in {2, 3}
    assert given in the_sentence(result)


def test_a_socket_that_this_user_may_not_use_is_told_with_the_group_to_join(
    policy: WritePolicy, backupd: Command, engine: Engine, store: Path
) -> None:
    if os.geteuid() != 0 or not engine.is_ours:
        pytest.skip("only root can become another user, who may not use the engine's socket")
    policy(JOBS, store={"url": f"file://{store}"})
    result = backupd("check", before=AS_NOBODY)

    assert 3 == result.code
    assert "add this user to the group docker" in the_sentence(result)


def test_a_socket_that_nobody_listens_on_is_told(
    policy: WritePolicy, backupd: Command, store: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("s") / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    policy(JOBS, store={"url": f"file://{store}"}, docker={"host": f"unix://{path}"})
    result = backupd("backup")

    assert 3 == result.code
    assert "start the engine (`systemctl start docker`)" in the_sentence(result)


TOO_OLD = "client version 1.41 is too old. Minimum supported API version is 1.99"


@pytest.mark.parametrize(
    ("request_", "status", "body", "sentence"),
    [
        (r"GET .*/version", 200, b"<html>hello</html>", "is not a Docker engine"),
        (r"GET .*/version", 404, b"not here", "not here"),
        (r"GET .*/version", 500, refusal("out of memory"), "out of memory"),
        (r"GET .*/images/json.*", 400, refusal(TOO_OLD), TOO_OLD),
        (r"GET .*/images/json.*", 500, b"", "cannot list images"),
        (r"GET .*/images/json.*", 200, b"[{", "cannot list images"),
        (r"GET .*/containers/json.*", 403, refusal("denied by plugin"), "denied by plugin"),
    ],
)
def test_an_engine_that_answers_with_an_error_is_quoted_before_any_work(
    request_: str,
    status: int,
    body: bytes,
    sentence: str,
    policy: WritePolicy,
    backupd: Command,
    faulty: FaultyEngine,
    store: Path,
) -> None:
    faulty.add(Fault(request_, answer=(status, body), times=9))
    policy(JOBS, store={"url": f"file://{store}"}, docker={"host": faulty.host})
    result = backupd("backup")

    assert result.code in {3, 5}, result.stderr
    assert sentence in the_sentence(result)
    assert [] == kept(store)


def test_an_engine_that_hangs_up_is_told(
    policy: WritePolicy, backupd: Command, faulty: FaultyEngine, store: Path
) -> None:
    faulty.add(Fault(r"GET .*/images/json.*", Then.BREAK, times=9))
    policy(JOBS, store={"url": f"file://{store}"}, docker={"host": faulty.host})
    result = backupd("backup")

    assert 3 == result.code
    assert "cannot list images: the connection to the engine broke off" in the_sentence(result)


@pytest.fixture
def gone(
    api: docker.APIClient, policy: WritePolicy, backupd: Command, faulty: FaultyEngine, store: Path
) -> docker.APIClient:
    """The engine without the image and the container that were just backed up."""
    content = {"data/random": os.urandom(3 * MIB)}
    build_image(api, IMAGE, layers=[content], config={"Env": [f"TOKEN={CANARY}-env"]})
    api.create_container(IMAGE, ["sleep", "1"], name=CONTAINER, labels={"key": f"{CANARY}-label"})
    policy(JOBS, store={"url": f"file://{store}"}, docker={"host": faulty.host})
    saved = backupd("backup")
    assert 0 == saved.code, saved.stderr
    api.remove_container(CONTAINER)
    api.remove_image(IMAGE)
    return api


RESTORES: dict[str, tuple[str, tuple[str, ...]]] = {
    "load": (LOAD, ("restore", "image", IMAGE)),
    "synthetic load": (LOAD, ("restore", "container", CONTAINER)),
    "import": (IMPORT, ("restore", "container", CONTAINER, "--via", "import")),
}


@pytest.mark.parametrize("way", RESTORES)
def test_an_engine_that_refuses_a_restore_is_quoted_without_any_secret(
    way: str, gone: docker.APIClient, backupd: Command, faulty: FaultyEngine
) -> None:
    request_, words = RESTORES[way]
    before = images(gone)
    faulty.add(Fault(request_, answer=(500, refusal("no space left on device"))))
    result = backupd(*words)

    assert 3 == result.code
    refuse_secrets(result)
    assert "the engine says: no space left on device" in result.stderr.splitlines()[-1]
    assert before == images(gone)


@pytest.mark.parametrize("way", ["load", "synthetic load"])
def test_an_error_in_the_answer_to_a_load_is_quoted(
    way: str, gone: docker.APIClient, backupd: Command, faulty: FaultyEngine
) -> None:
    request_, words = RESTORES[way]
    before = images(gone)
    body = b'{"stream":"Loading layer"}\r\n' + error_json("write /big: no space left on device")
    faulty.add(Fault(request_, answer=(200, body)))
    result = backupd(*words)

    assert 3 == result.code
    assert "write /big: no space left on device" in result.stderr.splitlines()[-1]
    assert before == images(gone)


@pytest.mark.parametrize("way", RESTORES)
def test_a_restore_whose_connection_breaks_leaves_no_image(
    way: str, gone: docker.APIClient, backupd: Command, faulty: FaultyEngine
) -> None:
    request_, words = RESTORES[way]
    before = images(gone)
    faulty.add(Fault(request_, Then.BREAK, at_sent_byte=MIB))
    result = backupd(*words)

    assert 3 == result.code
    refuse_secrets(result)
    assert "the connection to the engine broke off" in result.stderr.splitlines()[-1]
    assert before == images(gone)


def test_a_load_that_the_engine_only_claims_is_noticed(
    gone: docker.APIClient, backupd: Command, faulty: FaultyEngine
) -> None:
    body = b'{"stream":"Loaded image: backupd-test-errors:1\\n"}\r\n'
    faulty.add(Fault(LOAD, answer=(200, body)))
    result = backupd("restore", "image", IMAGE, "--quiet")

    assert 3 == result.code
    assert f"cannot find {IMAGE} after loading it" in the_sentence(result)


SSH = """\
#!{python}
import contextlib, os, socket, threading
engine = socket.socket(socket.AF_UNIX)
engine.connect({socket!r})
def out():
    with contextlib.suppress(OSError):
        while data := engine.recv(65536):
            os.write(1, data)
    os._exit(0)
threading.Thread(target=out, daemon=True).start()
with contextlib.suppress(OSError):
    while data := os.read(0, 65536):
        engine.sendall(data)
os._exit(0)
"""


def test_an_engine_behind_ssh_that_stalls_is_given_up(
    gone: docker.APIClient,
    policy: WritePolicy,
    backupd: Command,
    faulty: FaultyEngine,
    store: Path,
    tmp_path: Path,
) -> None:
    path = tmp_path / "bin" / "ssh"
    path.parent.mkdir()
    path.write_text(
        textwrap.dedent(SSH).format(
            python=sys.executable, socket=faulty.host.removeprefix("unix://")
        )
    )
    path.chmod(0o755)
    backupd.environment["PATH"] = f"{path.parent}:{os.environ['PATH']}"
    build_image(gone, IMAGE, layers=[{"data/other": os.urandom(3 * MIB)}])
    docker_section = {"host": "ssh://somebody@somewhere", "stall_timeout": "2s"}
    policy(
        {"nightly": {"schedule": "@daily", "images": [IMAGE]}},
        store={"url": f"file://{store}-2"},
        docker=docker_section,
    )
    faulty.add(Fault(r"GET .*/images/get\?.*", Then.STALL, at_byte=MIB))
    result = backupd("backup", timeout_seconds=60)

    assert 1 == result.code
    assert "the engine sent nothing for 2s" in the_sentence(result)
