"""The key layout of a store: where each object lives, and what a key alone tells.

    <host>/backups/<job>/<kind>/<name>/<taken at>.<archive id>.<size>.json   manifest: commits
    <host>/backups/<job>/<kind>/<name>/<taken at>.<archive id>.<state>       zero-byte sibling
    <host>/archives/<kind>/<name>/<archive id>.tar[.zst|.gz][.age]           archive
    <host>/archives/<kind>/<name>/<archive id>.record.json[.age]             record of inspect
    <host>/host.json                                                         who writes here
    <host>/status.json                                                       its daemon's heartbeat

Listing, counting, choosing and pruning need keys and nothing else, so a bucket of a hundred
thousand backups costs a hundred requests to read. Every variable part is one segment: percent-
encoded, and hashed when it would grow past 200 bytes, so that names can neither collide nor climb.
Pure: no clock, network or files.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from urllib.parse import quote, unquote

SEGMENT_LIMIT_BYTES = 200
"""SeaweedFS refuses segments of 400 bytes and file systems those above 255; we stay below both."""

_ARCHIVE_ID = r"[0-9a-f]{16}-[0-9a-f]{12}"
_TAKEN_AT = r"(?:19[7-9][0-9]|[2-8][0-9]{3})[0-9]{4}T(?:[01][0-9]|2[0-3])[0-9]{4}\.[0-9]{3}Z"
"""From 1970 to 8999: earlier and later ones leave the calendar in some time zone, or in a rule of
retention."""
_MOMENT = re.compile(_TAKEN_AT)
_STEM = re.compile(rf"({_TAKEN_AT})\.({_ARCHIVE_ID})\.(?:(0|[1-9][0-9]{{0,19}})\.json|([a-z]+))")
_ARCHIVE_NAME = re.compile(
    rf"({_ARCHIVE_ID})\.(tar(?:\.(?:zst|gz))?(?:\.age)?|record\.json(?:\.age)?)"
)


class Kind(StrEnum):
    """What a backup holds."""

    IMAGE = "image"
    BUNDLE = "bundle"
    CONTAINER = "container"
    VOLUME = "volume"


PINNED, DAMAGED, SUSPECT = "pinned", "damaged", "suspect"
"""States of a backup: a person keeps it; it failed a check; it is oddly small for its source."""

CHECKED, SEALED, VERIFIED, DRILLED = "checked", "sealed", "verified", "drilled"
"""How a backup was proven: its objects are there; every stored byte was read, but without a key not
what is inside; every byte of it was read; it was restored."""

PROOFS = (CHECKED, SEALED, VERIFIED, DRILLED)

_HASHED = re.compile(r"[A-Za-z0-9_%.-]{1,120}~[0-9a-f]{40}")
_KINDS = frozenset(str(kind) for kind in Kind)


def segment(name: str) -> str:
    """`name` as one key segment: reversible, unless so long that it is cut and hashed.

    `~` never stands in an encoded name, so it marks the hashed ones without ambiguity.
    """
    quoted = quote(name, safe="", errors="surrogateescape").replace("~", "%7E")
    if quoted.startswith("."):
        quoted = "%2E" + quoted[1:]
    if len(quoted) <= SEGMENT_LIMIT_BYTES:
        return quoted
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:40]
    return f"{quoted[:120]}~{digest}"


def is_hashed(segment_text: str) -> bool:
    """Whether the name behind this segment is only to be had from the manifest."""
    return "~" in segment_text


def name_of(segment_text: str) -> str:
    """The name behind a segment; a hashed segment stands for itself."""
    return (
        segment_text if is_hashed(segment_text) else unquote(segment_text, errors="surrogateescape")
    )


def stamp(moment: datetime) -> str:
    """A moment as it stands in keys: UTC, milliseconds, sorting as text."""
    # Three times as fast as strftime: each backup of a listing has its id from it.
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("-", "").replace(":", "")[:19] + "Z"


def moment_of(text: str) -> datetime:
    """The moment behind a `stamp`. Raises ValueError for what is none."""
    if not _MOMENT.fullmatch(text):
        raise ValueError(f"{text!r} is no moment as keys have it")
    # Ten times as fast as strptime, of which a large bucket's listing would be felt.
    return datetime.fromisoformat(text)


_NEVER: Mapping[str, datetime] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class BackupKey:
    """One backup as its manifest's key tells it.

    `folder` is its source's folder as it stands in the key; `host`, `job` and `name` are what that
    folder says to a person, and where a segment was hashed, the hashed text.
    """

    folder: str
    host: str
    job: str
    kind: Kind
    name: str
    taken_at: datetime
    archive_id: str
    size_bytes: int
    states: frozenset[str] = field(default=frozenset(), compare=False)
    marked_at: Mapping[str, datetime] = field(
        default_factory=lambda: _NEVER, compare=False, repr=False
    )
    """State → when its sibling was last written, by the store's clock."""

    @property
    def proofs(self) -> dict[str, datetime]:
        """How it was proven → when last."""
        return {state: self.marked_at[state] for state in PROOFS if state in self.marked_at}

    @property
    def id(self) -> str:
        """Twelve hex digits, the same on every machine, and after a job or host is renamed."""
        source = self.folder.split("/", 3)[3]
        text = f"{source}{stamp(self.taken_at)}.{self.archive_id}"
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def stem(self) -> str:
        """The key without size and extension: its states stand beside it."""
        return f"{self.folder}{stamp(self.taken_at)}.{self.archive_id}"

    @property
    def key(self) -> str:
        """The manifest's key."""
        return f"{self.stem}.{self.size_bytes}.json"

    def state_key(self, state: str) -> str:
        """The key of the sibling that says this backup is in `state`."""
        return f"{self.stem}.{state}"


@dataclass(frozen=True, slots=True)
class StateKey:
    """One zero-byte sibling: the backup's stem, and the state that it is in."""

    stem: str
    state: str


def backups_folder(host: str, job: str | None = None) -> str:
    """The prefix of all manifests of a host, or of one of its jobs; always ends in `/`."""
    folder = f"{segment(host)}/backups/"
    return folder if job is None else f"{folder}{segment(job)}/"


def source_folder(host: str, job: str, kind: Kind, name: str) -> str:
    """The prefix of one source's manifests in one job; ends in `/`, so `db` never meets `db2`."""
    return f"{backups_folder(host, job)}{kind}/{segment(name)}/"


def archives_folder(host: str) -> str:
    """The prefix of a host's archives and records."""
    return f"{segment(host)}/archives/"


def archive_key(host: str, kind: Kind, name: str, archive_id: str, suffix: str) -> str:
    """Where an archive lives; `suffix` says how it is coded, such as `.zst` or `.zst.age`."""
    return f"{archives_folder(host)}{kind}/{segment(name)}/{archive_id}.tar{suffix}"


def record_key(host: str, kind: Kind, name: str, archive_id: str, suffix: str = "") -> str:
    """Where the record of inspect beside an archive lives; `suffix` is `.age` or none."""
    return f"{archives_folder(host)}{kind}/{segment(name)}/{archive_id}.record.json{suffix}"


def status_key(host: str) -> str:
    """The key of the host's heartbeat: what its daemon promised and what became of it."""
    return f"{segment(host)}/status.json"


def host_key(host: str) -> str:
    """Where it is written who writes below this host's prefix."""
    return f"{segment(host)}/host.json"


def backup_key(
    host: str,
    job: str,
    kind: Kind,
    name: str,
    *,
    taken_at: datetime,
    archive_id: str,
    size_bytes: int,
) -> BackupKey:
    """The key of a backup that is about to be committed; `taken_at` is cut to milliseconds."""
    folder = source_folder(host, job, kind, name)
    moment = moment_of(stamp(taken_at))
    return BackupKey(folder, host, job, kind, name, moment, archive_id, size_bytes)


def parse_backup_key(key: str) -> BackupKey | StateKey | None:
    """What a key below `backups/` says; None for any key that is not ours to the letter."""
    folder, _, last = key.rpartition("/")
    match = _STEM.fullmatch(last)
    source = _source_of(folder) if match else None
    if match is None or source is None:
        return None
    taken_text, archive_id, size_text, state = match.groups()
    if state is not None:
        return StateKey(key.rsplit(".", 1)[0], state)
    try:
        taken_at = moment_of(taken_text)
    except ValueError:
        return None
    return BackupKey(
        folder=source.folder,
        host=source.host,
        job=source.job,
        kind=source.kind,
        name=source.name,
        taken_at=taken_at,
        archive_id=archive_id,
        size_bytes=int(size_text),
    )


@dataclass(frozen=True, slots=True)
class _SourceFolder:
    """What all keys of one source's folder have in common."""

    folder: str
    host: str
    job: str
    kind: Kind
    name: str


@lru_cache(maxsize=1024)
def _source_of(folder: str) -> _SourceFolder | None:
    """Read once for all the backups of a source: decoding names is the dearest part of a key."""
    parts = folder.split("/")
    if len(parts) != 5 or parts[1] != "backups" or parts[3] not in _KINDS:
        return None
    if not all(_is_canonical(part) for part in parts):
        return None
    host, job, name = (name_of(parts[place]) for place in (0, 2, 4))
    return _SourceFolder(f"{folder}/", host, job, Kind(parts[3]), name)


def is_encrypted(key: str) -> bool:
    """Whether the archive or record of this key is encrypted, as its key says."""
    return key.endswith(".age")


def parse_archive_key(key: str) -> tuple[str, str] | None:
    """(archive id, what follows it: `tar.zst`, `record.json`) of a key below `archives/`.

    None for any key that is not ours to the letter, such as a copy that someone put beside one.
    """
    folder, _, last = key.rpartition("/")
    match = _ARCHIVE_NAME.fullmatch(last)
    return (match[1], match[2]) if match and _holds_archives(folder) else None


@lru_cache(maxsize=1024)
def _holds_archives(folder: str) -> bool:
    parts = folder.split("/")
    return (
        len(parts) == 4
        and parts[1] == "archives"
        and parts[2] in _KINDS
        and _is_canonical(parts[0])
        and _is_canonical(parts[3])
    )


def _is_canonical(text: str) -> bool:
    return bool(_HASHED.fullmatch(text)) if is_hashed(text) else segment(name_of(text)) == text
