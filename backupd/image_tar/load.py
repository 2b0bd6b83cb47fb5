"""A tar for `docker load`, made on the fly around one layer: the way back of an exported container.

`docker import` cannot carry a whole config (SHELL, values with newlines …); an image archive can,
and the engine itself then verifies the layer against its diff id. Tried on engines 20.10 and 26,
with graph drivers and the containerd image store, and on Podman.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterable, Iterator

from backupd.errors import DamagedBackup
from backupd.image_tar.saved import MANIFEST
from backupd.tar_header import END_OF_TAR, member, member_header, padding_bytes


def loadable(
    config: bytes,
    reference: str | None,
    layer_chunks: Iterable[bytes],
    layer_size_bytes: int,
    layer_diff_id: str,
) -> Iterator[bytes]:
    """The tar of an image with this config (JSON, naming the diff id) and this one layer.

    `reference` None gives it no tag. The layer comes last and is read to its end before the tar is
    closed, so that an error of `layer_chunks` leaves an unfinished tar. Raises DamagedBackup when
    the layer is shorter or longer than `layer_size_bytes`, which must be known beforehand.
    """
    folder = layer_diff_id.removeprefix("sha256:")
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    layer_name = f"{folder}/layer.tar"
    manifest = {
        "Config": config_name,
        "RepoTags": None if reference is None else [reference],
        "Layers": [layer_name],
    }
    yield (
        member(config_name, config)
        + member(MANIFEST, json.dumps([manifest]).encode())
        + member_header(f"{folder}/", 0, kind=tarfile.DIRTYPE)
        + member_header(layer_name, layer_size_bytes)
    )
    passed_bytes = 0
    for chunk in layer_chunks:
        passed_bytes += len(chunk)
        if passed_bytes > layer_size_bytes:
            raise _wrong_size("more", layer_size_bytes)
        if chunk:
            # An empty piece would read as the end of a chunked request.
            yield chunk
    if passed_bytes < layer_size_bytes:
        raise _wrong_size(f"only {passed_bytes}", layer_size_bytes)
    yield bytes(padding_bytes(layer_size_bytes)) + END_OF_TAR


def _wrong_size(found: str, layer_size_bytes: int) -> DamagedBackup:
    return DamagedBackup(
        f"cannot make an image of the archive: it holds {found} bytes, not {layer_size_bytes}"
    )
