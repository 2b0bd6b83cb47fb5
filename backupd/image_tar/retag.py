"""An image archive with other tags, on its way to the engine.

The tags stand in three small documents; those are cut out as they pass and written anew at the
end, so every other byte goes through as it is and memory stays constant. Engines read the
documents wherever they stand: 20.10, graph drivers and Podman `manifest.json`, the containerd
image store `index.json`.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from backupd.errors import ArchiveBroken, DamagedBackup, UsageError
from backupd.image_tar.contents import LARGEST_DOCUMENT_BYTES, field, items, text, texts
from backupd.image_tar.reference import familiar, qualified, split
from backupd.image_tar.saved import INDEX, MANIFEST, REPOSITORIES
from backupd.policy.reference import without_default_domain
from backupd.tar import Member, Sink, TarWalk
from backupd.tar_header import END_OF_TAR, member

_NAME = "io.containerd.image.name"
_TAG = "org.opencontainers.image.ref.name"


def retagged(chunks: Iterable[bytes], references: Sequence[str]) -> Iterator[bytes]:
    """The tar of one image, naming it by exactly `references` (by nothing, if there are none).

    Raises DamagedBackup when the tar is not whole, UsageError when it holds several images; then
    the end of the tar has not been yielded.
    """
    return _rewritten(chunks, lambda documents: _named(documents, references))


def renamed(chunks: Iterable[bytes], rename: Callable[[str], str | None]) -> Iterator[bytes]:
    """The tar of any number of images, each tag as `rename` has it; gone where that is None.

    `rename` is given tags as Docker shows them. Raises DamagedBackup as `retagged` does.
    """
    return _rewritten(chunks, lambda documents: _each_renamed(documents, rename))


_Documents = dict[str, bytearray]
_Rewrite = Callable[[_Documents], Iterator[bytes]]


def _rewritten(chunks: Iterable[bytes], rewrite: _Rewrite) -> Iterator[bytes]:
    retag = _Retag(rewrite)
    try:
        for chunk in chunks:
            # Never an empty piece: in a chunked request it would read as the end.
            yield from filter(None, retag.feed(chunk))
        yield from retag.finish()
    except ArchiveBroken as error:
        raise DamagedBackup(f"cannot give the archive another tag: {error}") from error


class _Retag:
    """Cuts the documents out of the stream; holds back only headers that are not complete."""

    def __init__(self, rewrite: _Rewrite) -> None:
        self._rewrite = rewrite
        self._walk = TarWalk(self)
        self._documents: _Documents = {}
        self._cut: list[tuple[int, int]] = []
        self._held = b""
        self._held_from = 0

    def member(self, member: Member) -> Sink | None:
        """Cut a document out and keep it; anything else goes on."""
        name = posixpath.normpath(member.name)
        if name not in (MANIFEST, INDEX, REPOSITORIES) or not member.is_file:
            return None
        if member.size_bytes > LARGEST_DOCUMENT_BYTES:
            raise ArchiveBroken(f"a far too large {name}")
        self._cut.append(self._walk.span)
        self._documents[name] = bytearray()
        return self._documents[name].extend

    def end(self) -> None:
        """Nothing to do: a document is used at the end only."""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What may go on, now that these bytes are known too."""
        self._walk.feed(chunk)
        data = self._held + chunk if self._held else chunk
        settled = self._walk.settled_bytes - self._held_from
        position = 0
        for start, end in self._cut:
            yield data[position : max(start - self._held_from, position)]
            position = max(position, min(end - self._held_from, settled))
        yield data[position:settled]
        self._held = b"" if self._walk.has_ended else data[settled:]
        self._held_from += settled
        self._cut = [(start, end) for start, end in self._cut if end > self._held_from]

    def finish(self) -> Iterator[bytes]:
        """The documents with the new tags, and the end of the tar."""
        self._walk.finish()
        yield from self._rewrite(self._documents)
        yield END_OF_TAR


def _named(documents: _Documents, references: Sequence[str]) -> Iterator[bytes]:
    """The documents of one image, with exactly these names."""
    manifest = _loaded(documents, MANIFEST)
    if len(manifest) != 1:
        raise UsageError(
            f"cannot give the archive another tag: it holds {len(manifest)} images, not one; "
            "restore it with its own tags, then use `docker tag`"
        )
    tags = [":".join(split(without_default_domain(name))) for name in references]
    manifest[0]["RepoTags"] = tags or None
    yield _document(MANIFEST, manifest)
    if REPOSITORIES in documents:
        top = _top_layer(_loaded(documents, REPOSITORIES), manifest[0])
        yield _document(REPOSITORIES, _repositories((tag, top) for tag in tags))
    if INDEX in documents:
        yield _document(INDEX, _index(_loaded(documents, INDEX), references))


def _each_renamed(documents: _Documents, rename: Callable[[str], str | None]) -> Iterator[bytes]:
    """The documents of many images, name by name."""
    manifest = _loaded(documents, MANIFEST)
    for entry in manifest:
        tags = [rename(familiar(tag)) for tag in texts(entry.get("RepoTags"))]
        entry["RepoTags"] = [tag for tag in tags if tag] or None
    yield _document(MANIFEST, manifest)
    if REPOSITORIES in documents:
        layers = [
            (rename(familiar(f"{repository}:{tag}")), str(layer))
            for repository, tags in _loaded(documents, REPOSITORIES).items()
            if isinstance(tags, dict)
            for tag, layer in tags.items()
        ]
        yield _document(REPOSITORIES, _repositories((tag, layer) for tag, layer in layers if tag))
    if INDEX in documents:
        index = _loaded(documents, INDEX)
        entries = [_descriptor(one, rename) for one in _entries(index)]
        yield _document(INDEX, index | {"manifests": entries})


def _entries(index: dict[str, Any]) -> list[dict[str, Any]]:
    """The descriptors of an index.json. Raises ArchiveBroken where they are none."""
    entries = index.get("manifests") or []
    annotations = [
        entry.get("annotations") or {} if isinstance(entry, dict) else None
        for entry in items(entries)
    ]
    if not isinstance(entries, list) or not all(isinstance(one, dict) for one in annotations):
        raise ArchiveBroken(f"its {INDEX} is none that an engine writes")
    return entries


def _descriptor(descriptor: dict[str, Any], rename: Callable[[str], str | None]) -> dict[str, Any]:
    annotations: dict[str, Any] = {**(descriptor.get("annotations") or {})}
    old = annotations.pop(_NAME, None)
    annotations.pop(_TAG, None)
    new = rename(familiar(text(old))) if old else None
    if new:
        annotations |= {_NAME: qualified(new), _TAG: split(new)[1]}
    return {**descriptor, "annotations": annotations}


def _loaded(documents: _Documents, name: str) -> Any:
    """The JSON document: a list for manifest.json, an object for the others."""
    if name not in documents:
        raise ArchiveBroken(f"it has no {name}")
    try:
        document = json.loads(documents[name])
    except (ValueError, RecursionError) as error:
        raise ArchiveBroken(f"its {name} is no JSON") from error
    wanted, inner = (list, document) if name == MANIFEST else (dict, [])
    if not isinstance(document, wanted) or not all(isinstance(entry, dict) for entry in inner):
        raise ArchiveBroken(f"its {name} is none that an engine writes")
    return document


def _document(name: str, document: object) -> bytes:
    return member(name, json.dumps(document, separators=(",", ":")).encode())


def _top_layer(repositories: dict[str, Any], manifest: dict[str, Any]) -> str:
    """What the tags of `repositories` stand for: the id under which the top layer was saved."""
    for tags in repositories.values():
        if isinstance(tags, dict) and tags:
            return str(next(iter(tags.values())))
    layers = texts(manifest.get("Layers")) or ("",)
    return posixpath.basename(layers[-1].removesuffix("/layer.tar")).removesuffix(".tar")


def _repositories(tags: Iterable[tuple[str, str]]) -> dict[str, dict[str, str]]:
    named: dict[str, dict[str, str]] = {}
    for tag, layer in tags:
        repository, version = split(tag)
        named.setdefault(repository, {})[version] = layer
    return named


def _index(index: dict[str, Any], references: Sequence[str]) -> dict[str, Any]:
    """index.json with a descriptor of the one image for each tag, or a nameless one."""
    entries = _entries(index)
    by_digest = {text(field(entry, "digest")): entry for entry in entries}
    if len(by_digest) != 1 or "" in by_digest:
        raise UsageError(
            f"cannot give the archive another tag: its index.json names {len(by_digest)} images"
        )
    (descriptor,) = by_digest.values()
    annotations = descriptor.get("annotations") or {}
    bare = {name: descriptor[name] for name in descriptor if name != "annotations"}
    others = {name: annotations[name] for name in annotations if name not in (_NAME, _TAG)}
    if not references:
        return index | {"manifests": [bare | {"annotations": others}]}
    named = [{_NAME: qualified(name), _TAG: split(name)[1]} for name in references]
    return index | {"manifests": [bare | {"annotations": others | names} for names in named]}
