"""Small image archives as each engine writes them; to be changed at will before they are built."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field

from backupd.image_tar import ExpectedImage


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def layer(name: str, content: bytes = b"content") -> bytes:
    """A layer: a tar with one file."""
    return tar_of({name: content})


def tar_of(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    """A tar with these files, then these symlinks."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return out.getvalue()


def files_of(data: bytes) -> dict[str, bytes]:
    """Every regular file of a tar, as `tarfile` reads it."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = [member for member in tar if member.isfile()]
        return {member.name: tar.extractfile(member).read() for member in members}  # type: ignore[union-attr]


@dataclass
class ImageTar:
    """An image archive in the making: its files and symlinks in order, and what it should hold."""

    files: dict[str, bytes]
    expected: list[ExpectedImage]
    links: dict[str, str] = field(default_factory=dict)

    def build(self) -> bytes:
        return tar_of(self.files, self.links)

    def document(self, name: str) -> object:
        return json.loads(self.files[name])

    def rewrite(self, name: str, document: object) -> None:
        self.files[name] = json.dumps(document).encode()


def config_of(layers: Sequence[bytes], **more: object) -> bytes:
    """An image config over these uncompressed layers."""
    diff_ids = [f"sha256:{sha256(data)}" for data in layers]
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    return json.dumps({"os": "linux", "config": {}, "rootfs": rootfs} | more).encode()


def expected_of(
    config: bytes, references: Sequence[str], *, image_id: str | None = None
) -> ExpectedImage:
    diff_ids = json.loads(config)["rootfs"]["diff_ids"]
    return ExpectedImage(image_id or f"sha256:{sha256(config)}", tuple(diff_ids), tuple(references))


LAYERS = (layer("etc/base", b"base"), layer("etc/app", b"app" * 1000))
TAGS = ("app:1",)


def engine_20(tags: Sequence[str] = TAGS, layers: Sequence[bytes] = LAYERS) -> ImageTar:
    """As engine 20.10 saves: a folder for each layer, manifest.json and repositories last."""
    config = config_of(layers)
    files: dict[str, bytes] = {}
    names = []
    for number, data in enumerate(layers):
        folder = f"{number:064x}"
        names.append(f"{folder}/layer.tar")
        files |= {f"{folder}/VERSION": b"1.0", f"{folder}/json": b"{}", names[-1]: data}
    files[f"{sha256(config)}.json"] = config
    tar = ImageTar(files, [expected_of(config, tags)])
    entry = {"Config": f"{sha256(config)}.json", "RepoTags": list(tags) or None, "Layers": names}
    tar.rewrite("manifest.json", [entry])
    if tags:
        top = names[-1].split("/")[0]
        tar.rewrite("repositories", {tag.split(":")[0]: {tag.split(":")[1]: top} for tag in tags})
    return tar


def engine_20_sharing_a_layer() -> ImageTar:
    """As engine 20.10 saves a layer that is there twice: a symlink the second time."""
    tar = engine_20(layers=(LAYERS[0], LAYERS[1], LAYERS[0]))
    name = f"{2:064x}/layer.tar"
    del tar.files[name]
    tar.links[name] = f"../{0:064x}/layer.tar"
    return tar


def podman(tags: Sequence[str] = ("localhost/app:1",)) -> ImageTar:
    """As Podman saves: `<diff id>.tar` first, legacy symlinks, manifest.json, repositories."""
    config = config_of(LAYERS)
    names = [f"{sha256(data)}.tar" for data in LAYERS]
    files = dict(zip(names, LAYERS, strict=True)) | {f"{sha256(config)}.json": config}
    tar = ImageTar(files, [expected_of(config, ["app:1"])])
    entry = {"Config": f"{sha256(config)}.json", "RepoTags": list(tags), "Layers": names}
    tar.rewrite("manifest.json", [entry])
    tar.links[f"{1:064x}/layer.tar"] = f"../{names[0]}"
    return tar


def oci_layout(
    *,
    blobs_of_layers: Sequence[bytes] = LAYERS,
    layers: Sequence[bytes] = LAYERS,
    tags: Sequence[str] = TAGS,
    is_index: bool = False,
) -> ImageTar:
    """As engine 26 saves; `is_index` puts the image behind an index with an absent platform."""
    config = config_of(layers)
    tar = ImageTar({}, [])
    blobs = [_blob(tar, data) for data in (config, *blobs_of_layers)]
    manifest = {"schemaVersion": 2, "config": blobs[0], "layers": blobs[1:]}
    top = _blob(tar, json.dumps(manifest).encode())
    if is_index:
        absent = {"digest": f"sha256:{'e' * 64}", "size": 1, "platform": {"os": "plan9"}}
        top = _blob(tar, json.dumps({"schemaVersion": 2, "manifests": [absent, top]}).encode())
    descriptors = [
        top
        | {
            "annotations": {
                "io.containerd.image.name": f"docker.io/library/{tag}",
                "org.opencontainers.image.ref.name": tag.split(":")[1],
            }
        }
        for tag in tags
    ]
    tar.rewrite("index.json", {"schemaVersion": 2, "manifests": descriptors or [top]})
    paths = [f"blobs/{blob['digest'].replace(':', '/')}" for blob in blobs]
    entry = {"Config": paths[0], "RepoTags": list(tags) or None, "Layers": paths[1:]}
    tar.rewrite("manifest.json", [entry])
    tar.files["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
    tar.expected = [expected_of(config, tags)]
    return tar


def containerd(*, is_index: bool = False) -> ImageTar:
    """As the containerd image store saves: the image id is a manifest's or an index's digest."""
    tar = oci_layout(is_index=is_index)
    index = json.loads(tar.files["index.json"])
    image_id = index["manifests"][0]["digest"]
    known = tar.expected[0]
    tar.expected = [ExpectedImage(image_id, known.diff_ids, known.references)]
    return tar


def _blob(tar: ImageTar, data: bytes) -> dict[str, str]:
    tar.files[f"blobs/sha256/{sha256(data)}"] = data
    return {"digest": f"sha256:{sha256(data)}", "size": str(len(data))}
