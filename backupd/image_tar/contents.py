"""What passed by in an image tar: each file's digest, the links, and the small JSON documents.

Filled by the walk while the tar streams; asked once it is over. Bounded: it keeps documents of at
most 16 MiB each and 32 MiB together, never a layer.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Mapping, Sequence

from backupd.errors import ArchiveBroken
from backupd.tar import Member, Sink

LARGEST_DOCUMENT_BYTES = 16 << 20
LARGEST_DOCUMENTS_BYTES = 32 << 20

_MAY_BE_DOCUMENT = re.compile(r"[^/]+\.json|blobs/[^/]+/[^/]+")
_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})")
_LONGEST_CHAIN = 8


class Contents:
    """The files of one image tar, by their paths; the visitor of its walk."""

    def __init__(self) -> None:
        self._digests: dict[str, str] = {}
        self._links: dict[str, str] = {}
        self._documents: dict[str, bytes] = {}
        self._documents_bytes = 0
        self._name = ""
        self._hash = hashlib.sha256()
        self._keeping: bytearray | None = None

    def member(self, member: Member) -> Sink | None:
        """Begin to hash a file; what may be JSON is kept too."""
        self._name = posixpath.normpath(member.name)
        self._keeping = None
        if member.is_link:
            folder = posixpath.dirname(self._name) if member.kind == "2" else ""
            # Engine 20.10 writes a layer that two images share once, and links it the other time.
            self._links[self._name] = posixpath.normpath(f"{folder}/{member.link_target}")
        if not member.is_file:
            self._name = ""
            return None
        self._hash = hashlib.sha256()
        kept_bytes = self._documents_bytes + member.size_bytes
        if (
            _MAY_BE_DOCUMENT.fullmatch(self._name)
            and member.size_bytes <= LARGEST_DOCUMENT_BYTES
            and kept_bytes <= LARGEST_DOCUMENTS_BYTES
        ):
            self._keeping = bytearray()
            return self._keep
        return self._hash.update

    def end(self) -> None:
        """A file is complete: its digest is known."""
        if not self._name:
            return
        self._digests[self._name] = self._hash.hexdigest()
        if self._keeping:
            self._documents[self._name] = bytes(self._keeping)
            self._documents_bytes += len(self._keeping)
        self._keeping = None

    def _keep(self, piece: memoryview) -> None:
        self._hash.update(piece)
        if self._keeping is None:
            return
        # No JSON holds a NUL and every tar header does: layers are let go with their first block.
        data = piece.tobytes()
        if b"\0" in data:
            self._keeping = None
        else:
            self._keeping += data

    def has(self, name: str) -> bool:
        """Whether there is such a file, perhaps behind links."""
        return self.sha256_of(name) is not None

    def sha256_of(self, name: str) -> str | None:
        """The SHA-256 of a file's content in hex, links followed; None where there is none."""
        return self._digests.get(self._resolved(name))

    def document(self, name: str) -> object:
        """The JSON in a file. Raises ArchiveBroken when it is missing, too large or no JSON."""
        if not self.has(name):
            raise broken(f"lacks {name}")
        data = self._documents.get(self._resolved(name))
        if data is None:
            raise broken(f"has a {name} that is no JSON, or is far too large")
        try:
            document: object = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise broken(f"has a {name} that is no JSON") from error
        return document

    def damaged_blob(self) -> str | None:
        """The first blob whose content is not what its name says; None when all are well."""
        for name, digest in self._digests.items():
            if blob_digest(name) not in (None, digest):
                return name
        return None

    def _resolved(self, name: str) -> str:
        path = posixpath.normpath(name)
        for _ in range(_LONGEST_CHAIN):
            link = self._links.get(path)
            if link is None or path in self._digests:
                break
            path = link.lstrip("/")
        return path


def broken(what: str) -> ArchiveBroken:
    """The error of an image archive that does not hold what it should."""
    return ArchiveBroken(f"the image archive {what}")


def blob_digest(name: str) -> str | None:
    """The SHA-256 in hex that a blob of an OCI layout is named by; None for other files."""
    blob = _BLOB.fullmatch(posixpath.normpath(name))
    return blob[1] if blob else None


def blob_name(digest: str) -> str:
    """Where an OCI layout keeps the blob `sha256:…`."""
    return "blobs/" + digest.replace(":", "/", 1)


def field(document: object, name: str) -> object:
    """A field of a JSON object; None for anything else."""
    return document.get(name) if isinstance(document, Mapping) else None


def text(value: object) -> str:
    """`value` if it is a string, or nothing."""
    return value if isinstance(value, str) else ""


def items(value: object) -> Sequence[object]:
    """`value` if it is a JSON list, or nothing."""
    return value if isinstance(value, list) else ()


def texts(value: object) -> tuple[str, ...]:
    """The strings of a JSON list."""
    return tuple(entry for entry in items(value) if isinstance(entry, str))
