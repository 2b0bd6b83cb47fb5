"""Where backups live, as the policy says it: a bucket or a directory, and how to talk to it.

Messages never repeat what was written here: an address may carry a password. Pure: it checks what
is written, never whether it exists.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from backupd.policy.bucket_rules import ExpiresAfter, ObjectLock
from backupd.policy.section import AbsolutePath, Section, SizeBytes, WholeNumber

MIB = 1024**2
SMALLEST_PART_BYTES = 5 * MIB
LARGEST_PART_BYTES = 5 * 1024 * MIB
"""S3's limits of all parts but the last (Amazon S3 user guide, "Multipart upload limits")."""

DEFAULT_STORE_URL = "file:///var/lib/backupd/store"
_NO_SERVER = "is not the address of a server; write https://host or http://host:port"
UNREADABLE_CLASSES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def check_bucket(name: str) -> None:
    """Raise ValueError unless `name` follows S3's rules for the names of buckets."""
    if not name:
        raise ValueError("names no bucket; write s3://bucket or s3://bucket/prefix")
    if not _BUCKET.fullmatch(name) or ".." in name:
        raise ValueError(
            "has a bucket name that S3 does not allow: 3 to 63 lower-case letters, digits, hyphens "
            "and single dots, with a letter or digit at both ends"
        )
    try:
        ip_address(name)
    except ValueError:
        return
    raise ValueError(
        "has an IP address for a bucket; write s3://bucket and put the server's address under "
        "'endpoint'"
    )


def check_prefix(prefix: str) -> None:
    """Raise ValueError unless `prefix` (no slash at its ends) suits every server."""
    for segment in prefix.split("/") if prefix else []:
        if not segment:
            raise ValueError("has an empty part ('//') in its prefix, which many servers refuse")
        if segment in {".", ".."} or "\\" in segment or not segment.isprintable():
            raise ValueError(
                "has '.', '..', a backslash or a control character in its prefix, which many "
                "servers refuse"
            )
        if len(segment.encode()) > 200:
            raise ValueError("has a part of more than 200 bytes in its prefix")


def check_url(url: str) -> str:
    """`url` itself, if it names a bucket or a directory. Raises ValueError."""
    scheme, separator, rest = url.partition("://")
    if separator and scheme == "s3":
        bucket, _, prefix = rest.partition("/")
        check_bucket(bucket)
        check_prefix(prefix.removesuffix("/"))
    elif separator and scheme == "file":
        _check_directory(rest)
    elif scheme in {"http", "https"}:
        raise ValueError(
            "is the address of a server; write s3://bucket here and the address under 'endpoint'"
        )
    else:
        raise ValueError("is not the address of a store; write s3://bucket/prefix or file:///path")
    return url


def _check_directory(rest: str) -> None:
    if not rest.startswith("/"):
        raise ValueError("needs an absolute path, so three slashes: file:///var/lib/backupd/store")
    path = unquote(rest)
    if "\0" in path or ".." in PurePosixPath(path).parts:
        raise ValueError("has '..' in its path; write the directory's full path")
    if PurePosixPath("/" + path.lstrip("/")) == PurePosixPath("/"):
        raise ValueError("is the root directory; name a directory for backups alone")


def check_endpoint(endpoint: str) -> str:
    """`endpoint` without a slash at its end, if it is a server's address. Raises ValueError."""
    try:
        parts = urlsplit(endpoint)
        valid = bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise ValueError(_NO_SERVER) from None
    if parts.scheme not in {"http", "https"}:
        raise ValueError("needs a scheme; write https://host or http://host:port")
    if "@" in parts.netloc:
        raise ValueError("holds a user or password; put those under 'access_key' and 'secret_key'")
    if not valid or re.search(r"\s", endpoint):
        raise ValueError(_NO_SERVER)
    if parts.query or parts.fragment:
        raise ValueError("has a '?' or '#'; write only https://host, with a port where needed")
    return endpoint.rstrip("/")


def is_amazon(endpoint: str | None) -> bool:
    """Whether the server is Amazon's own, as it is where no endpoint is given."""
    host = urlsplit(endpoint).hostname or "" if endpoint else ".amazonaws.com"
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws"))


def check_storage_class(name: str) -> str:
    """`name`, unless backups there could not be read back at once. Raises ValueError."""
    if name in UNREADABLE_CLASSES:
        raise ValueError(
            "cannot be read back at once, so nothing there could be listed or restored; "
            "use GLACIER_IR or STANDARD_IA"
        )
    return name


def check_secret(secret: SecretStr) -> SecretStr:
    """`secret`, if it can travel in a header of a request. Raises ValueError, never showing it."""
    if not re.fullmatch(r"[!-~]+", secret.get_secret_value()):
        raise ValueError("is empty, or has a space, a line break or a sign outside of ASCII")
    return secret


Secret = Annotated[SecretStr, AfterValidator(check_secret)]


class StoreSpec(Section):
    """The store: a bucket on any S3-compatible server, or a directory of this machine."""

    url: Annotated[str, AfterValidator(check_url)] = DEFAULT_STORE_URL
    """s3://bucket or s3://bucket/prefix; or file:///absolute/path, a directory of this machine."""
    endpoint: Annotated[str, AfterValidator(check_endpoint)] | None = None
    """Address of the S3 server, such as https://s3.example.com; without it, Amazon's."""
    region: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = None
    """Region of the bucket; without it, AWS_DEFAULT_REGION, then us-east-1."""
    addressing: Literal["auto", "path", "virtual"] = "auto"
    """How requests name the bucket: in the path, in the host name, or as boto3 chooses."""
    ca_bundle: AbsolutePath | None = None
    """PEM file of the authorities that may vouch for the endpoint; without it, the usual ones."""
    storage_class: (
        Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$"), AfterValidator(check_storage_class)]
        | None
    ) = None
    """Storage class of archives, such as STANDARD_IA; without it, the bucket's own."""
    sse: Literal["AES256", "aws:kms"] | None = None
    """Encryption by the server: AES256 (the server's key) or aws:kms."""
    sse_kms_key: Annotated[str, Field(min_length=1)] | None = None
    """Id, alias or ARN of the KMS key, with 'sse: aws:kms'; without it, the bucket's own."""
    checksums: Literal["auto", "when_supported", "when_required"] = "auto"
    """Whether uploads carry a CRC for the server to check; auto finds out what it takes."""
    part_size: SizeBytes | None = Field(default=None, ge=SMALLEST_PART_BYTES, le=LARGEST_PART_BYTES)
    """Bytes of one part of an upload (5MiB to 5GiB); without it, chosen by the archive's size."""
    uploads: WholeNumber = Field(default=3, ge=1, le=16)
    """Parts that are uploaded at the same time; each costs one part of memory."""
    object_lock: ObjectLock | None = None
    """Lock archives, records and manifests in the bucket; without it, nothing is locked."""
    expires_after: ExpiresAfter | None = None
    """What the bucket's own lifecycle rules remove; without it, nothing."""
    access_key: Secret | None = None
    """Access key; without it, the AWS chain: environment, ~/.aws, the instance's role."""
    secret_key: Secret | None = None
    """Secret key that belongs to the access key."""
    session_token: Secret | None = None
    """Session token of temporary keys."""

    @property
    def scheme(self) -> Literal["s3", "file"]:
        """Which kind of store this is."""
        return "s3" if self.url.startswith("s3://") else "file"

    @property
    def bucket(self) -> str:
        """The bucket's name; empty for a directory."""
        return self.url.removeprefix("s3://").partition("/")[0] if self.scheme == "s3" else ""

    @property
    def prefix(self) -> str:
        """What every key in the bucket starts with, without a slash at its ends; often empty."""
        if self.scheme != "s3":
            return ""
        return self.url.removeprefix("s3://").partition("/")[2].removesuffix("/")

    @property
    def path(self) -> Path:
        """The directory. Raises ValueError for a bucket."""
        if self.scheme != "file":
            raise ValueError("a bucket has no path")
        return Path("/" + unquote(self.url.removeprefix("file://")).strip("/"))

    @model_validator(mode="after")
    def _directory_takes_no_s3_keys(self) -> Self:
        foreign = sorted(self.model_fields_set - {"url"})
        if self.scheme == "file" and foreign:
            names = ", ".join(f"'{name}'" for name in foreign)
            raise ValueError(
                f"{names}: only for a bucket, but the store is a directory; "
                "write url: s3://bucket, or remove what does not apply"
            )
        return self

    @model_validator(mode="after")
    def _keys_come_together(self) -> Self:
        if (self.access_key is None) != (self.secret_key is None):
            there, missing = "access_key", "secret_key"
            if self.access_key is None:
                there, missing = missing, there
            raise ValueError(f"'{there}' needs '{missing}' beside it; give both, or neither")
        if self.session_token is not None and self.access_key is None:
            raise ValueError("'session_token' needs 'access_key' and 'secret_key' beside it")
        return self

    @model_validator(mode="after")
    def _kms_key_needs_kms(self) -> Self:
        if self.sse_kms_key is not None and self.sse != "aws:kms":
            raise ValueError("'sse_kms_key' needs 'sse: aws:kms' beside it")
        return self
