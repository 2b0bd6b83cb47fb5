"""Images for tests and demo, made without pulling: the host's own shell and a few of its tools.

`base_image` puts them on an engine once; `build_image` puts any number of layers and any
configuration on top by loading a tar as `docker save` writes it, so that even values that no
Dockerfile can express get in; `build_dockerfile` lets the engine's own builder work.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import re
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import docker

BASE = "backupd-test-base:1"
TOOLS = (
    *("sh", "cat", "chmod", "chown", "cp", "cut", "date", "dd", "echo", "env", "false", "head"),
    *("id", "ln", "ls", "mkdir", "mkfifo", "mknod", "mv", "pwd", "readlink", "rm", "rmdir"),
    *("sha256sum", "sleep", "sort", "stat", "tail", "test", "touch", "tr", "true", "wc"),
)
CREATED = "2024-02-03T04:05:06.789012345Z"
MTIME = 1_700_000_000
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}

Entry = bytes | str | tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]
"""A file's bytes; a symbolic link's target; or a header of any kind (its name is not read), with
bytes beside it where it is a file."""
Layer = Mapping[str, Entry]
"""Entries of one layer by their path, such as `etc/motd`; order is kept."""


def base_image(api: docker.APIClient, reference: str = BASE) -> str:
    """The reference of an image with a shell and a few tools, put on the engine if it is not."""
    if not api.images(name=reference):
        _load(api, _image_tar([reference], [base_layer()], {"Cmd": ["sh"], "Env": ["PATH=/bin"]}))
    return reference


def build_image(
    api: docker.APIClient,
    *tags: str,
    layers: Sequence[Layer] = (),
    config: Mapping[str, Any] | None = None,
    author: str = "",
) -> str:
    """The id of an image with all `tags`: the base with `layers` above it.

    `config` has the names of Docker's image configuration (`Cmd`, `Env`, `Labels`, `Healthcheck`
    with nanoseconds, …). Every other history entry made no layer. The same input gives the same
    image.
    """
    blobs = [base_layer(), *(layer_tar(layer) for layer in layers)]
    merged = {"Cmd": ["sh"], "Env": ["PATH=/bin"], **(config or {})}
    _load(api, _image_tar(list(tags), blobs, merged, author=author))
    return str(api.inspect_image(tags[0])["Id"])


def build_dockerfile(
    api: docker.APIClient, tag: str, dockerfile: str, files: Layer | None = None
) -> str:
    """The id of the image that the engine's builder makes; `FROM` what `base_image` returned."""
    context = io.BytesIO(layer_tar({**(files or {}), "Dockerfile": dockerfile.encode()}))
    said = list(
        api.build(fileobj=context, custom_context=True, tag=tag, rm=True, forcerm=True, decode=True)
    )
    failures = [line["error"] for line in said if "error" in line]
    if failures:
        raise RuntimeError(f"cannot build {tag}: {failures[0]}")
    return str(api.inspect_image(tag)["Id"])


def layer_tar(layer: Layer) -> bytes:
    """The uncompressed tar of a layer, the same for the same entries."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, entry in layer.items():
            header, data = _member(entry)
            header.name = path
            tar.addfile(header, io.BytesIO(data))
    return buffer.getvalue()


def folder(mode: int = 0o755, uid: int = 0, gid: int = 0) -> tarfile.TarInfo:
    """The header of a directory."""
    header = tarfile.TarInfo()
    header.type, header.mode, header.mtime = tarfile.DIRTYPE, mode, MTIME
    header.uid, header.gid = uid, gid
    return header


def file(data: bytes, *, mode: int = 0o644, uid: int = 0, gid: int = 0) -> Entry:
    """A regular file with its owner and mode."""
    header = tarfile.TarInfo()
    header.mode, header.mtime, header.size = mode, MTIME, len(data)
    header.uid, header.gid = uid, gid
    return header, data


@cache
def program(name: str) -> dict[str, Entry]:
    """The host's program of this name with its libraries, to lie in `bin`."""
    found = shutil.which(name, path="/bin:/usr/bin:/sbin:/usr/sbin")
    if found is None:
        raise FileNotFoundError(f"no {name!r} on this machine to make a test image of")
    real = Path(found).resolve()
    entries: dict[str, Entry] = {f"bin/{name}": file(real.read_bytes(), mode=0o755)}
    for library in sorted(_libraries(real)):
        _add_with_parents(entries, library)
    return entries


@cache
def base_layer() -> bytes:
    """The tar with the host's shell and tools; the same during one run."""
    entries: dict[str, Entry] = {
        name: folder() for name in ("bin", "etc", "lib", "tmp", "usr", "var")
    }
    entries["tmp"] = folder(0o1777)
    entries["usr/bin"] = "../bin"
    entries["etc/passwd"] = b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"
    entries["etc/group"] = b"root:x:0:\nnogroup:x:65534:\n"
    programs: dict[Path, str] = {}
    libraries: set[Path] = set()
    for tool in TOOLS:
        found = shutil.which(tool, path="/bin:/usr/bin:/sbin:/usr/sbin")
        if found is None:
            raise FileNotFoundError(f"no {tool!r} on this machine to make test images of")
        real = Path(found).resolve()
        if real in programs:
            entries[f"bin/{tool}"] = programs[real]
            continue
        programs[real] = tool
        entries[f"bin/{tool}"] = file(real.read_bytes(), mode=0o755)
        libraries |= _libraries(real)
    for library in sorted(libraries):
        _add_with_parents(entries, library)
    return layer_tar(entries)


def _add_with_parents(entries: dict[str, Entry], path: Path) -> None:
    for parent in reversed(path.relative_to("/").parents[:-1]):
        entries.setdefault(str(parent), folder())
    entries[str(path.relative_to("/"))] = file(path.resolve().read_bytes(), mode=0o755)


def _libraries(program: Path) -> set[Path]:
    said = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False)
    if said.returncode != 0:  # a static program
        return set()
    return {Path(found) for found in re.findall(r"(/\S+) \(0x", said.stdout)}


def _member(entry: Entry) -> tuple[tarfile.TarInfo, bytes]:
    match entry:
        case bytes():
            return _member(file(entry))
        case str():
            header = tarfile.TarInfo()
            header.type, header.linkname, header.mode = tarfile.SYMTYPE, entry, 0o777
            header.mtime = MTIME
            return header, b""
        case tarfile.TarInfo():
            return entry, b""
        case (header, data):
            header.size = len(data)
            return header, data


def _image_tar(
    tags: list[str], layers: list[bytes], config: Mapping[str, Any], *, author: str = ""
) -> bytes:
    history: list[dict[str, Any]] = []
    for number in range(len(layers)):
        history += [
            {"created": CREATED, "created_by": f"/bin/sh -c #(nop) COPY layer {number} in / "},
            {"created": CREATED, "created_by": f"ENV STEP={number}", "empty_layer": True},
        ]
    record = {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "author": author,
        "created": CREATED,
        "config": dict(config),
        "history": history,
        "rootfs": {
            "type": "layers",
            "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers],
        },
    }
    encoded = json.dumps(record).encode()
    name = f"{hashlib.sha256(encoded).hexdigest()}.json"
    files = {f"{number}/layer.tar": layer for number, layer in enumerate(layers)}
    index = [{"Config": name, "RepoTags": tags, "Layers": list(files)}]
    return layer_tar({**files, name: encoded, "manifest.json": json.dumps(index).encode()})


def _load(api: docker.APIClient, tar: bytes) -> None:
    for line in api.load_image(tar):
        if "error" in line:
            raise RuntimeError(f"cannot load a test image: {line['error']}")
