"""`--from` and `--output`: archives outside of any store, for whoever has only a file or a pipe."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import docker
import pytest
import zstandard

from tests.integration.command import Command
from tests.integration.conftest import leaving_no_trace
from tests.integration.trees import (
    exported,
    files_of,
    files_of_image,
    has_image,
    image_facts,
    image_ids,
    lose,
    make_image,
    saved,
    start_container,
    succeeded,
)
from tests.servers.dockerd import Engine
from tests.servers.rootfs import layer_tar

IMAGE, OTHER = "backupd-test-bare:1", "backupd-test-bare:other"
NAME, IMPORTED = "backupd-test-bare", "backupd-test-bare:imported"

CODECS: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "tar.zst": zstandard.ZstdCompressor().compress,
    "tar.gz": gzip.compress,
    "tar.xz": partial(lzma.compress, preset=0),
    "tar.bz2": bz2.compress,
}


@pytest.fixture
def no_policy(tmp_path: Path, engine: Engine) -> Command:
    """The command without any policy, on a machine whose engine is $DOCKER_HOST."""
    return Command(tmp_path, {"DOCKER_HOST": engine.host})


@pytest.fixture
def image_tar(api: docker.APIClient) -> bytes:
    """What `docker save` gives of an image that is lost afterwards."""
    make_image(api, IMAGE)
    tar = saved(api, IMAGE)
    lose(api, IMAGE)
    return tar


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served(directory: Path) -> Iterator[str]:
    """The address of a web server that gives out the files of `directory`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def cut_download(data: bytes) -> Iterator[str]:
    """The address of a server that promises all of `data`, sends half, and hangs up."""

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(data)}\r\n\r\n"
            connection.sendall(head.encode() + data[: len(data) // 2])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/image.tar"
        thread.join()


@pytest.mark.parametrize("suffix", CODECS)
def test_an_image_comes_back_from_a_file_of_each_compression(
    suffix: str, api: docker.APIClient, no_policy: Command
) -> None:
    before = make_image(api, IMAGE, OTHER)
    archive = no_policy.directory / f"image.{suffix}"
    archive.write_bytes(CODECS[suffix](saved(api, "backupd-test-bare")))
    lose(api, IMAGE, OTHER)
    result = succeeded(no_policy("restore", "image", "--from", archive))

    assert before == image_facts(api, IMAGE)
    assert {f"restored  image  {IMAGE}", f"restored  image  {OTHER}"} == set(
        result.stdout.splitlines()
    )


def test_an_image_comes_back_from_standard_input(
    api: docker.APIClient, no_policy: Command, image_tar: bytes
) -> None:
    piped = CODECS["tar.zst"](image_tar)
    succeeded(no_policy("restore", "image", "--from", "-", stdin=piped))

    assert (IMAGE,) == image_facts(api, IMAGE).tags


def test_an_image_comes_back_from_a_web_server(
    api: docker.APIClient, no_policy: Command, image_tar: bytes
) -> None:
    (no_policy.directory / "image.tar.gz").write_bytes(gzip.compress(image_tar))
    with served(no_policy.directory) as url:
        succeeded(no_policy("restore", "image", "--from", f"{url}/image.tar.gz"))

    assert (IMAGE,) == image_facts(api, IMAGE).tags


def test_an_image_comes_back_under_another_name(
    api: docker.APIClient, no_policy: Command, image_tar: bytes
) -> None:
    succeeded(no_policy("restore", "image", "--from", "-", "--tag", OTHER, stdin=image_tar))

    assert (OTHER,) == image_facts(api, OTHER).tags
    assert False is has_image(api, IMAGE)


def test_a_container_comes_back_as_docker_import_brings_it(
    api: docker.APIClient, no_policy: Command
) -> None:
    start_container(api, NAME)
    before = files_of(api, NAME)
    (no_policy.directory / "export.tar.zst").write_bytes(CODECS["tar.zst"](exported(api, NAME)))
    changes = ("--change", "ENV A=two\\ words", "--change", 'CMD ["sh", "-c", "echo $A"]')
    options = ("--tag", IMPORTED, *changes, "--message", "by hand")
    succeeded(no_policy("restore", "container", "--from", "export.tar.zst", *options))
    found = api.inspect_image(IMPORTED)

    assert before == files_of_image(api, IMPORTED, f"{NAME}-again")
    assert (["sh", "-c", "echo $A"], ["A=two words"], "by hand") == (
        found["Config"]["Cmd"],
        found["Config"]["Env"],
        found["Comment"],
    )


def test_a_container_comes_back_without_a_name_like_docker_import_without_one(
    api: docker.APIClient, no_policy: Command
) -> None:
    start_container(api, NAME)
    before = image_ids(api)
    tar = exported(api, NAME)
    result = succeeded(no_policy("restore", "container", "--from", "-", stdin=tar))
    (image_id,) = image_ids(api) - before

    assert image_id in result.stdout
    assert [f"sha256:{hashlib.sha256(tar).hexdigest()}"] == api.inspect_image(image_id)["RootFS"][
        "Layers"
    ]


def cut(tar: bytes) -> bytes:
    return tar[: len(tar) // 2]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut inside": cut,
    "cut at its last block": lambda tar: tar.rstrip(b"\0")[:-512],
    "without its end": lambda tar: tar[: len(tar.rstrip(b"\0")) // 512 * 512 + 512],
    "cut while compressed by zstd": lambda tar: cut(CODECS["tar.zst"](tar)),
    "cut while compressed by gzip": lambda tar: cut(gzip.compress(tar)),
    "cut while compressed by xz": lambda tar: cut(CODECS["tar.xz"](tar)),
    "cut while compressed by bzip2": lambda tar: cut(bz2.compress(tar)),
    "changed while compressed by zstd": lambda tar: _flipped(
        zstandard.ZstdCompressor(write_checksum=True).compress(tar)
    ),
    "nothing at all": lambda _: b"",
    "a tar of nothing": lambda _: bytes(10_240),
    "no tar": lambda _: b"this is a letter to a friend\n" * 1_000,
}


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.fixture(scope="module")
def whole_tars(engine: Engine) -> dict[str, bytes]:
    """A good archive of each kind."""
    with leaving_no_trace(engine) as api:
        make_image(api, IMAGE)
        start_container(api, NAME)
        return {"image": saved(api, IMAGE), "container": exported(api, NAME)}


@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        *(("image", damage) for damage in DAMAGES),
        ("container", "cut at its last block"),
        ("container", "cut while compressed by zstd"),
        # These two an engine imports without a word, as images that hold nothing.
        ("container", "nothing at all"),
        ("container", "a tar of nothing"),
    ],
)
def test_a_damaged_archive_is_refused_and_nothing_is_on_the_engine(
    kind: str,
    damage: str,
    api: docker.APIClient,
    no_policy: Command,
    whole_tars: dict[str, bytes],
) -> None:
    before = image_ids(api)
    damaged = DAMAGES[damage](whole_tars[kind])
    result = no_policy("restore", kind, "--from", "-", stdin=damaged)

    assert (6, before) == (result.code, image_ids(api))
    assert 1 == len(result.stderr.splitlines())


def test_a_tar_that_holds_no_image_is_refused(api: docker.APIClient, no_policy: Command) -> None:
    before = image_ids(api)
    result = no_policy("restore", "image", "--from", "-", stdin=layer_tar({"etc/motd": b"hi\n"}))

    assert before == image_ids(api)
    assert result.code in (3, 6)  # engines find out at different moments
    assert "Traceback" not in result.stderr


def test_a_download_that_breaks_off_is_the_web_servers_fault(
    api: docker.APIClient, no_policy: Command, whole_tars: dict[str, bytes]
) -> None:
    before = image_ids(api)
    with cut_download(whole_tars["image"]) as url:
        result = no_policy("restore", "image", "--from", url)

    assert (4, before) == (result.code, image_ids(api))
    assert f"backupd: cannot download {url}: " in result.stderr


@pytest.mark.parametrize(
    ("origin", "code", "said"),
    [
        ("missing.tar", 2, "cannot read missing.tar: No such file or directory"),
        (".", 2, "cannot read .: Is a directory"),
        ("ftp://example.com/a.tar", 2, "--from takes a file, an http(s) URL or -"),
        ("http://127.0.0.1:1/a.tar?secret=1", 4, "cannot download http://127.0.0.1:1/a.tar: "),
    ],
    ids=["no file", "a directory", "another scheme", "no server"],
)
def test_an_archive_that_cannot_be_read_is_named(
    origin: str, code: int, said: str, no_policy: Command
) -> None:
    result = no_policy("restore", "image", "--from", origin)

    assert (code, True) == (result.code, said in result.stderr)
    assert "secret" not in result.stderr


def test_a_missing_page_of_a_web_server_is_named(no_policy: Command, tmp_path: Path) -> None:
    with served(tmp_path) as url:
        result = no_policy("restore", "image", "--from", f"{url}/missing.tar")

    assert (4, f"backupd: cannot download {url}/missing.tar: HTTP 404\n") == (
        result.code,
        result.stderr,
    )
