"""An engine that answers anything: what it says is used, or refused in a sentence.

A real socket is asked, by the real client; what answers there is no engine, but has a real one's
answers to begin with.
"""

from __future__ import annotations

import json
import re
import socketserver
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backupd.container_body import Ran
from backupd.container_plan import Seen, plan
from backupd.engine import Engine
from backupd.engine_create import info, inspect_network, networks
from backupd.errors import BackupdError, EngineError, NotFound
from backupd.policy import DockerSpec, Job
from backupd.sources.container import ContainerSource
from backupd.sources.image import ImageSource
from backupd.sources.select import select
from backupd.sources.volume import VolumeSource
from backupd.stop_order import dependencies
from backupd.volume_access import users_of
from tests.unit.fuzzing import fuzzed, spoiled

ID, IMAGE_ID = "ab" * 32, "sha256:" + "cd" * 32
LABELS = {
    "com.docker.compose.project": "shop",
    "com.docker.compose.service": "web",
    "com.docker.compose.depends_on": "db:service_started:false",
}
MOUNT = {
    "Type": "volume",
    "Name": "data",
    "Source": "/var/lib/docker/volumes/data/_data",
    "Destination": "/data",
    "Driver": "local",
    "RW": True,
}
NETWORK = {
    "Name": "shop_default",
    "Id": ID,
    "Driver": "bridge",
    "Scope": "local",
    "IPAM": {"Driver": "default", "Config": [{"Subnet": "172.18.0.0/16"}]},
    "Containers": {ID: {"Name": "web", "IPv4Address": "172.18.0.2/16"}},
    "Labels": {},
}
VOLUME = {"Name": "data", "Driver": "local", "Scope": "local", "Labels": None, "Options": None}
ANSWERS: dict[str, Any] = {
    "/info": {
        "ID": "engine",
        "ServerVersion": "26.1.5",
        "Driver": "overlay2",
        "OSType": "linux",
        "Architecture": "x86_64",
        "DockerRootDir": "/var/lib/docker",
        "Plugins": {"Volume": ["local"], "Network": ["bridge"], "Log": ["json-file"]},
        "Runtimes": {"runc": {}},
    },
    "/images/json": [{"Id": IMAGE_ID, "RepoTags": ["app:1"], "Labels": {"a": "b"}, "Size": 1}],
    "/containers/json": [
        {
            "Id": ID,
            "Names": ["/web"],
            "Image": "app:1",
            "ImageID": IMAGE_ID,
            "Labels": LABELS,
            "State": "running",
            "HostConfig": {"NetworkMode": "container:db"},
            "Mounts": [MOUNT],
        }
    ],
    "/images/x/json": {
        "Id": IMAGE_ID,
        "RepoTags": ["app:1"],
        "RepoDigests": [],
        "Os": "linux",
        "Architecture": "amd64",
        "Size": 1000,
        "RootFS": {"Type": "layers", "Layers": ["sha256:" + "ef" * 32]},
        "Config": {"Cmd": ["sh"]},
    },
    "/containers/x/json": {
        "Id": ID,
        "Name": "/web",
        "Image": IMAGE_ID,
        "SizeRootFs": 1000,
        "State": {"Status": "running", "Running": True, "Paused": False, "ExitCode": 0},
        "Config": {"Image": "app:1", "Hostname": ID[:12], "Labels": LABELS, "Env": ["A=1"]},
        "HostConfig": {"NetworkMode": "shop_default", "Binds": ["data:/data"], "VolumesFrom": None},
        "Mounts": [MOUNT],
        "NetworkSettings": {"Networks": {"shop_default": {"NetworkID": ID, "Aliases": ["web"]}}},
    },
    "/containers/x/changes": [{"Path": "/etc", "Kind": 0}],
    "/networks/x": NETWORK,
    "/networks": [NETWORK],
    "/volumes/x": VOLUME,
    "/volumes": {"Volumes": [VOLUME], "Warnings": None},
    "/exec/x/json": {"ID": ID, "Running": False, "ExitCode": 0},
}
VERSION = {"ApiVersion": "1.45", "Version": "26.1.5", "MinAPIVersion": "1.24"}
DEEP = b"[" * 100_000 + b"]" * 100_000
HALF = b'[{"Id": "a", "Names": ["/\\ud800"], "ImageID": "b"}]'

JOB = Job.model_validate(
    {
        "images": ["*", {"in_use": True}],
        "containers": [{"name": "*", "stop": True, "with_volumes": True}],
        "volumes": ["*"],
    }
)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    answers: dict[str, bytes]
    status = 200


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        path = re.sub(r"^/v[0-9.]+", "", self.path.partition("?")[0])
        path = re.sub(r"^/(images|containers|networks|volumes|exec)/(?!json$)[^/]+", r"/\1/x", path)
        body = self.server.answers.get(path, b'{"message": "page not found"}')
        self.send_response(self.server.status if path in self.server.answers else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        pass


class Liar:
    """What answers on the socket, and a client of it that knows its version."""

    def __init__(self, server: _Server, host: str) -> None:
        self.server = server
        self.host = host
        self.reset()
        self.engine = Engine(DockerSpec(), host=host)
        self.engine.version()

    def reset(self) -> None:
        self.server.status = 200
        told = {"/version": VERSION, **ANSWERS}
        self.server.answers = {path: json.dumps(one).encode() for path, one in told.items()}


@pytest.fixture(scope="module")
def liar() -> Iterator[Liar]:
    with tempfile.TemporaryDirectory(prefix="backupd-liar-") as directory:
        path = Path(directory) / "docker.sock"
        with _Server(str(path), _Handler) as server:
            server.answers = {}
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            made = Liar(server, f"unix://{path}")
            yield made
            made.engine.close()
            server.shutdown()


def plan_again(engine: Engine) -> None:
    """As a restore plans what an engine told just now, on the same engine."""
    container = engine.inspect_container("web")
    told = info(engine)
    seen = Seen(
        networks={one["Name"]: one for one in networks(engine)},
        volumes=("data",),
        containers={"web": ID},
        drivers={kind: found for kind, found in (told.get("Plugins") or {}).items() if found},
    )
    with suppress(LookupError, TypeError, ValueError, AttributeError):
        # A restore reads records so: what is understood of them is another test's business.
        plan(Ran(container), seen, name="web", image="app:1", backed_up=())


def ask_anew(engine: Engine) -> None:
    """As an engine is asked for its version, which it is once only."""
    with closing(Engine(DockerSpec(), host=engine.host)) as another:
        another.version()


USES: dict[str, tuple[Callable[[Engine], object], ...]] = {
    "/info": (ask_anew, info),
    "/images/json": (Engine.images, lambda engine: select(engine, "nightly", JOB)),
    "/containers/json": (
        lambda engine: select(engine, "nightly", JOB),
        lambda engine: dependencies(engine.containers()),
        lambda engine: users_of(engine, "data"),
    ),
    "/images/x/json": (ImageSource("app:1").survey, ContainerSource("web").survey),
    "/containers/x/json": (ContainerSource("web").survey, plan_again),
    "/containers/x/changes": (lambda engine: engine.changes("web"),),
    "/networks/x": (
        lambda engine: inspect_network(engine, "shop_default"),
        ContainerSource("web").survey,
    ),
    "/networks": (networks, plan_again),
    "/volumes/x": (VolumeSource("data").survey, ContainerSource("web").survey),
    "/volumes": (lambda engine: select(engine, "nightly", JOB),),
    "/exec/x/json": (lambda engine: engine.exec_inspect("x"),),
}


def used(liar: Liar, path: str) -> list[BackupdError]:
    """What the uses of an answer say of it; whatever else they raise is the test's failure."""
    refusals = list[BackupdError]()
    for use in USES[path]:
        try:
            use(liar.engine)
        except (EngineError, NotFound) as error:
            refusals.append(error)
    return refusals


@pytest.mark.parametrize("path", sorted(USES))
def test_a_real_engines_answer_is_used(liar: Liar, path: str) -> None:
    liar.reset()

    assert [] == used(liar, path)


@pytest.mark.parametrize("path", sorted(USES))
@fuzzed(60)
@given(data=st.data())
def test_an_answer_is_used_or_refused_in_a_sentence(
    liar: Liar, path: str, data: st.DataObject
) -> None:
    liar.reset()
    liar.server.answers[path] = json.dumps(data.draw(spoiled(ANSWERS[path]))).encode()

    for refusal in used(liar, path):
        assert str(refusal).startswith("cannot ")
        assert "pydantic" not in str(refusal)


@fuzzed(40)
@given(
    st.sampled_from(sorted(USES)),
    st.one_of(st.sampled_from([DEEP, HALF, b"", b"null", b"<html>", b"\xff"]), st.binary()),
)
@example("/containers/json", HALF)
@example("/images/json", DEEP)
def test_what_is_no_json_is_said_not_to_come_from_an_engine(
    liar: Liar, path: str, body: bytes
) -> None:
    liar.reset()
    liar.server.answers[path] = body

    assert all(str(refusal).startswith("cannot ") for refusal in used(liar, path))


@fuzzed(40)
@given(
    st.sampled_from([400, 404, 409, 500, 503]),
    st.one_of(
        st.sampled_from([DEEP, HALF, b"", b"null", b"<html>", b'{"message": {}}', b"[]"]),
        spoiled({"message": "no such container"}).map(lambda told: json.dumps(told).encode()),
    ),
)
def test_a_refusal_is_a_sentence_whatever_it_says(liar: Liar, status: int, body: bytes) -> None:
    liar.reset()
    liar.server.status = status
    liar.server.answers["/containers/x/json"] = body

    with pytest.raises((EngineError, NotFound), match=r"^cannot inspect container 'web': "):
        liar.engine.inspect_container("web")


def test_a_container_without_a_name_is_passed_over(liar: Liar) -> None:
    liar.reset()
    (whole,) = ANSWERS["/containers/json"]
    liar.server.answers["/containers/json"] = json.dumps(
        [whole, whole | {"Names": None}, whole | {"Names": []}]
    ).encode()

    assert [["/web"]] == [summary["Names"] for summary in liar.engine.containers()]
