"""The images that a tar's own documents say it holds, each verified against its content.

`manifest.json` is read by every engine; those that know OCI layouts read `index.json` instead, so
where there is one it has to hold as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from backupd.image_tar.contents import (
    Contents,
    blob_digest,
    blob_name,
    broken,
    field,
    items,
    text,
    texts,
)

MANIFEST, INDEX, REPOSITORIES = "manifest.json", "index.json", "repositories"

_NAMED_DIGEST = re.compile(r"(?:.*/)?([0-9a-f]{64})(?:\.json)?")
_DEEPEST_INDEX = 4


@dataclass(frozen=True, slots=True)
class SavedImage:
    """One entry of manifest.json whose config and layers are there and undamaged."""

    config_digest: str
    """`sha256:…`"""
    diff_ids: tuple[str, ...]
    tags: tuple[str, ...]


def saved_images(contents: Contents) -> list[SavedImage]:
    """Every image of manifest.json. Raises ArchiveBroken when one is not all there."""
    entries = items(contents.document(MANIFEST))
    if not entries:
        raise broken("names no image in its manifest.json: the engine saved nothing")
    return [_saved_image(contents, entry) for entry in entries]


def _saved_image(contents: Contents, entry: object) -> SavedImage:
    name = text(field(entry, "Config"))
    named = _NAMED_DIGEST.fullmatch(name)
    if named is None:
        raise broken("has a manifest.json that names no config")
    config = contents.document(name)
    if contents.sha256_of(name) != named[1]:
        raise broken(f"has a damaged config: the content of {name} does not match its name")
    diff_ids = texts(field(field(config, "rootfs"), "diff_ids"))
    layers = texts(field(entry, "Layers"))
    if len(layers) != len(diff_ids):
        raise broken(
            f"names {len(layers)} layers for config {name}, which is made of {len(diff_ids)}"
        )
    for layer, diff_id in zip(layers, diff_ids, strict=True):
        _check_layer(contents, layer, diff_id)
    return SavedImage(f"sha256:{named[1]}", diff_ids, texts(field(entry, "RepoTags")))


def _check_layer(contents: Contents, layer: str, diff_id: str) -> None:
    """A compressed blob of an OCI layout can only be held to its name, any other to its diff id."""
    digest = contents.sha256_of(layer)
    if digest is None:
        raise broken(f"lacks the layer {layer}")
    if f"sha256:{digest}" != diff_id and blob_digest(layer) != digest:
        raise broken(f"has a damaged layer: {layer} has SHA-256 {digest}, not {diff_id}")


def configs_of(contents: Contents, digest: str, depth: int = 0) -> Iterator[str]:
    """The configs (`sha256:…`) that the manifest or index with this digest leads to.

    Images of the containerd image store go by such a digest. Platforms of an index that are not in
    the tar are passed over: an engine saves those that it has.
    """
    name = blob_name(digest)
    if depth > _DEEPEST_INDEX or not contents.has(name):
        return
    document = contents.document(name)
    config = text(field(field(document, "config"), "digest"))
    if config:
        yield config
    for child in items(field(document, "manifests")):
        yield from configs_of(contents, text(field(child, "digest")), depth + 1)


def check_layout(contents: Contents) -> None:
    """Raise ArchiveBroken unless index.json, where there is one, leads to whole images."""
    if not contents.has("oci-layout") and not contents.has(INDEX):
        return
    descriptors = items(field(contents.document(INDEX), "manifests"))
    if not descriptors:
        raise broken("names no image in its index.json")
    for descriptor in descriptors:
        lacking = _lacking(contents, text(field(descriptor, "digest")), 0)
        if lacking:
            raise broken(f"lacks {lacking}, which its index.json leads to")


def _lacking(contents: Contents, digest: str, depth: int) -> str | None:
    """A blob that is missing below this digest; None when a whole image hangs there."""
    name = blob_name(digest)
    if depth > _DEEPEST_INDEX or not contents.has(name):
        return name
    document = contents.document(name)
    children = [text(field(child, "digest")) for child in items(field(document, "manifests"))]
    if children:
        found = [_lacking(contents, child, depth + 1) for child in children]
        return None if None in found else found[0]
    blobs = [field(document, "config"), *items(field(document, "layers"))]
    names = [blob_name(text(field(blob, "digest"))) for blob in blobs]
    return next((name for name in names if not contents.has(name)), None)
