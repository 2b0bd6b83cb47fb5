"""What is backed up in the benchmarks, on an engine that has nothing else.

Half of each large thing is text of random words, which zstd makes four times smaller, the other
half random bytes, which nothing does.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import docker

from tests.servers.rootfs import MTIME, base_image, base_layer, build_image

MIB = 1 << 20
LAYERS = 5
_WORDS = [bytes(random.Random(n).choices(b"abcdefghijklmnop", k=3 + n % 8)) for n in range(256)]  # noqa: S311


def make_big_image(api: docker.APIClient, reference: str, size_mib: int) -> None:
    """An image of `LAYERS` layers with `size_mib` in all, above the base with its shell."""
    share = size_mib * MIB // LAYERS // 2
    with tempfile.TemporaryDirectory(prefix="backupd-bench-") as made:
        directory = Path(made)
        layers = [directory / f"{number}.tar" for number in range(LAYERS + 1)]
        layers[0].write_bytes(base_layer())
        for number, path in enumerate(layers[1:]):
            _write_layer(path, f"data/{number}", share)
        image = directory / "image.tar"
        _write_image(image, reference, layers)
        with image.open("rb") as tar:
            for line in api.load_image(tar):
                if "error" in line:
                    raise RuntimeError(f"cannot load {reference}: {line['error']}")


def make_small_images(api: docker.APIClient, name: str, count: int) -> None:
    """Images `name:0` and on, each with a layer of its own."""
    for number in range(count):
        build_image(api, f"{name}:{number}", layers=[{"number": f"{number}\n".encode()}])


def make_containers(api: docker.APIClient, image: str, *names: str) -> None:
    """Containers of the image, which never run."""
    for name in names:
        api.create_container(image, ["true"], name=name)


def make_volume(api: docker.APIClient, image: str, name: str) -> None:
    """A volume that holds what the image has in /data."""
    api.create_volume(name)
    bound = api.create_host_config(binds=[f"{name}:/v"], network_mode="none")
    command = ["cp", "-a", "/data/.", "/v/"]
    made = api.create_container(image, command, name=f"{name}-maker", host_config=bound)
    api.start(made)
    if api.wait(made)["StatusCode"] != 0:
        raise RuntimeError(f"cannot fill volume {name}: {api.logs(made)!r}")
    api.remove_container(made)


def make_huge_container(api: docker.APIClient, name: str, size_mib: int) -> None:
    """A container whose files are half random, half zeros; made inside, since it is large."""
    half = size_mib // 2
    script = (
        f"dd if=/dev/urandom of=/random bs=1048576 count={half} && "
        f"dd if=/dev/zero of=/zeros bs=1048576 seek={half} count=0"
    )
    made = api.create_container(base_image(api), ["sh", "-c", script], name=name)
    api.start(made)
    if api.wait(made, timeout=3600)["StatusCode"] != 0:
        raise RuntimeError(f"cannot fill container {name}: {api.logs(made)!r}")


def _write_layer(path: Path, folder: str, share_bytes: int) -> None:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, pieces in (("text", _text()), ("random", _random())):
            header = tarfile.TarInfo(f"{folder}/{name}")
            header.size, header.mtime = share_bytes, MTIME
            tar.addfile(header, _Pieces(pieces))  # type: ignore[arg-type]


def _write_image(path: Path, reference: str, layers: list[Path]) -> None:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        diff_ids = []
        for layer in layers:
            with layer.open("rb") as file:
                diff_ids.append(f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}")
            tar.add(layer, f"{layer.stem}/layer.tar")
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"]},
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
            }
        ).encode()
        name = f"{hashlib.sha256(config).hexdigest()}.json"
        index = {
            "Config": name,
            "RepoTags": [reference],
            "Layers": [f"{layer.stem}/layer.tar" for layer in layers],
        }
        for member, data in ((name, config), ("manifest.json", json.dumps([index]).encode())):
            header = tarfile.TarInfo(member)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))


class _Pieces:
    """Pieces as a file that tarfile reads: it asks for small blocks."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left: IO[bytes] = io.BytesIO()

    def read(self, size: int) -> bytes:
        data = self._left.read(size)
        while len(data) < size:
            self._left = io.BytesIO(next(self._pieces))
            data += self._left.read(size - len(data))
        return data


def _text() -> Iterator[bytes]:
    while True:
        yield b" ".join([_WORDS[number] for number in os.urandom(MIB // 4)])


def _random() -> Iterator[bytes]:
    while True:
        yield os.urandom(MIB)
