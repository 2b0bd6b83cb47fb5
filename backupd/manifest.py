"""The manifest: the JSON record of one backup, whose existence is the backup's existence.

It says what was backed up, which archive holds it, how to check that archive and which engine it
came from; nothing in it is secret (a container's environment stands in the record of inspect, an
object of its own). Manifests are read from buckets that others can write to, so every field is
validated on the way in. A field may be added at any time; a changed meaning needs a new `schema`
number, and every number ever written stays readable. Pure: no clock, network or files.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from backupd.errors import DamagedBackup
from backupd.layout import BackupKey, Kind, backup_key, is_encrypted, parse_archive_key

LIMIT_BYTES = 4 * 1024 * 1024
"""No manifest is larger: 100 images of a bundle with 127 layers each stay below 1 MiB."""

_Hex64 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
_ArchiveId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}-[0-9a-f]{12}$")]
_Size = Annotated[int, Field(ge=0, lt=2**63)]
_Recipient = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[!-~]+( [!-~]+)?$")]
_Key = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[^/].*[^/]$")]


def _check_year(moment: datetime) -> datetime:
    """`moment`, if it can be shown in every time zone. Raises ValueError."""
    if not 1970 <= moment.year < 9000:
        raise ValueError("no clock shows this year")
    return moment


_Moment = Annotated[AwareDatetime, AfterValidator(_check_year)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Encryption(_Part):
    """For whom an object is encrypted."""

    format: Literal["age"]
    recipients: Annotated[tuple[_Recipient, ...], Field(min_length=1, max_length=1000)]
    """Public keys as age writes them, sorted; each of them opens it alone."""
    header_sha256: _Hex64
    """Of age's header, so that a damaged one is not taken for another key's."""


class Archive(_Part):
    """The bytes: where they are, how they are coded, and how to know that they are whole."""

    id: _ArchiveId
    key: _Key
    """Relative to the store's root: the bucket's prefix stands before it."""
    compression: Literal["zstd", "gzip", "none"]
    level: int
    size_bytes: _Size
    sha256: _Hex64
    """Of the plain tar; for an exported container also its only layer's diff id."""
    stored_bytes: _Size
    stored_sha256: _Hex64
    made_at: _Moment
    encryption: Encryption | None = None
    """None for an archive in the clear, and in manifests older than this field."""

    @property
    def recipients(self) -> frozenset[str]:
        """For whom it is encrypted; empty for nobody."""
        return frozenset(self.encryption.recipients if self.encryption else ())


class Record(_Part):
    """The record of inspect beside a container's archive."""

    key: _Key
    size_bytes: _Size
    sha256: _Hex64
    """Of the object as it is stored; a digest of what is inside would let people guess at it."""
    encryption: Encryption | None = None


class Image(_Part):
    """One image that an archive holds."""

    id: _Digest
    """As the engine that it came from names it: a config or (containerd store) manifest digest."""
    reference: str
    """The reference that was asked for."""
    saved_as: tuple[str, ...]
    """The references that stand in the tar; another when the archive was made for another tag."""
    diff_ids: tuple[_Digest, ...]
    repo_digests: tuple[str, ...] = ()
    platform: str = ""
    """`os/architecture[/variant]`."""
    only_platform: str = ""
    """The platform that was asked for; empty for all that the engine has of the image."""


class Mount(_Part):
    """A mount of a container, whose content its export does not hold."""

    type: str
    source: str
    destination: str


class Container(_Part):
    """The container that an archive was exported from."""

    id: str
    name: str
    image: str
    image_id: str
    state: str
    paused: bool
    """Whether it was paused during the export, so that its files agree with each other."""
    stopped: bool = False
    """Whether it was stopped for the export; manifests older than this field know no stop."""
    mounts: tuple[Mount, ...] = ()
    project: str = ""
    """The Compose project that it belongs to, by Compose's label; empty for none."""
    service: str = ""
    """Its service in that project."""


class Volume(_Part):
    """The volume, or the directory of the host, that an archive was read from."""

    name: str
    """As the engine calls it; for a directory of the host its path."""
    driver: str = ""
    """Empty for a directory of the host. The driver's options, which may be secret, stand in the
    record of inspect."""
    scope: str = ""
    path: str = ""
    """Of a directory of the host (a bind mount); empty for a volume."""
    mounted_by: tuple[str, ...] = ()
    """Names of the containers that mounted it when it was read, running or not."""


class EngineFacts(_Part):
    """The engine that the archive came from."""

    id: str
    version: str
    api_version: str
    storage_driver: str


class Manifest(_Part):
    """One backup, whole."""

    schema_number: Annotated[Literal[1], Field(alias="schema")] = 1
    id: str
    host: str
    job: str
    kind: Kind
    name: str
    taken_at: _Moment
    archive: Archive
    reused: bool = False
    """Whether the archive was made for an earlier backup of the same image."""
    record: Record | None = None
    images: tuple[Image, ...] = ()
    container: Container | None = None
    volume: Volume | None = None
    moment: str = ""
    """Twelve hex digits that backups read while the same containers stood still have in common;
    empty for a source that was read by itself."""
    engine: EngineFacts
    selected_by: Literal["", "name", "pattern", "label", "in_use", "mount"] = ""
    """What in the policy selected the source; empty in manifests older than this field."""
    warnings: tuple[str, ...] = ()
    made_by: str

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    @property
    def key(self) -> BackupKey:
        """Where this manifest lives."""
        return backup_key(
            self.host,
            self.job,
            self.kind,
            self.name,
            taken_at=self.taken_at,
            archive_id=self.archive.id,
            size_bytes=self.archive.size_bytes,
        )

    def to_json(self) -> bytes:
        """The bytes that are stored: indented, for the person who reads a bucket by hand."""
        return self.model_dump_json(indent=2, by_alias=True).encode() + b"\n"


def parse(data: bytes, key: BackupKey) -> Manifest:
    """The manifest behind `key`. Raises DamagedBackup when it is none or says it is another's."""
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(step) for step in first["loc"]) or "the text"
        raise DamagedBackup(
            f"cannot read the manifest of backup {key.id}: {place}: {first['msg']}"
        ) from error
    if manifest.key.key != key.key:
        raise DamagedBackup(
            f"cannot use the manifest of backup {key.id}: it describes {manifest.key.key}, "
            f"not {key.key}; was it copied or renamed?"
        )
    if manifest.kind in {Kind.IMAGE, Kind.BUNDLE} and not manifest.images:
        raise DamagedBackup(f"cannot use the manifest of backup {key.id}: it names no image")
    _check_object(manifest, manifest.archive.key, "tar", "an archive")
    if manifest.record is not None:
        _check_object(manifest, manifest.record.key, "record", "a record of inspect")
    for part in (manifest.archive, manifest.record):
        if part is not None and is_encrypted(part.key) != (part.encryption is not None):
            raise DamagedBackup(
                f"cannot use the manifest of backup {key.id}: it and the key {part.key!r} disagree "
                "whether that is encrypted"
            )
    return manifest


def _check_object(manifest: Manifest, key: str, beginning: str, what: str) -> None:
    """Raise DamagedBackup unless `key` is where such an object of this very archive belongs.

    A prune goes by the ids in keys: one that differs would have it remove what is still needed.
    """
    archive_id, rest = parse_archive_key(key) or ("", "")
    if archive_id != manifest.archive.id or not rest.startswith(beginning):
        raise DamagedBackup(
            f"cannot use the manifest of backup {manifest.id}: {key!r} is not the key of {what} "
            f"with the id {manifest.archive.id}"
        )
