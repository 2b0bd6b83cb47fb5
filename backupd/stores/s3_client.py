"""The connection to an S3 server: a boto3 client made from the policy's store.

Making one opens no connection. Each store has a session of its own: sessions must not be shared
between threads, while clients may.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary, WeakValueDictionary

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError
from botocore.loaders import Loader, create_loader
from pydantic import SecretStr

from backupd.errors import StoreError
from backupd.policy import StoreSpec
from backupd.stores.s3_errors import Place, plain
from backupd.stores.s3_listing import read_pages_quickly
from backupd.stores.s3_patience import Patience

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

ATTEMPTS = 8
CONNECT_TIMEOUT_SECONDS = 10
READ_TIMEOUT_SECONDS = 60
DEFAULT_REGION = "us-east-1"
_BLOCK_BYTES = 1 << 20

Checksums = Literal["when_supported", "when_required"]


_SECRETS: WeakKeyDictionary[S3Client, tuple[str, ...]] = WeakKeyDictionary()
"""Client → the keys that it signs with, which a server or what stands before it may repeat."""


class Connector:
    """Makes the clients for one store, all from one session: the second costs next to nothing."""

    def __init__(self, spec: StoreSpec) -> None:
        """Raises StoreError when this machine's settings do not allow to use `spec`."""
        if spec.ca_bundle is not None and not spec.ca_bundle.is_file():
            raise StoreError(
                f"cannot use {spec.url}: its ca_bundle {spec.ca_bundle} is no file that can be read"
            )
        self.spec = spec
        with self._translated():
            core = botocore.session.get_session()
            core.register_component("data_loader", _descriptions())
            self._session = boto3.session.Session(
                botocore_session=core,
                aws_access_key_id=_plain_text(spec.access_key),
                aws_secret_access_key=_plain_text(spec.secret_key),
                aws_session_token=_plain_text(spec.session_token),
            )

    def connect(
        self, checksums: Checksums, *, attempts: int, patience: Patience | None = None
    ) -> S3Client:
        """A client that tries each request `attempts` times. Raises StoreError.

        `patience` is that of `attempts`; by default it is made here.
        """
        spec, session = self.spec, self._session
        config = Config(
            signature_version="s3v4",
            retries={"mode": "standard", "total_max_attempts": attempts},
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            read_timeout=READ_TIMEOUT_SECONDS,
            tcp_keepalive=True,
            max_pool_connections=32,
            s3={"addressing_style": spec.addressing},
            request_checksum_calculation=checksums,
            # Ours is the SHA-256 of the whole archive; CRCs of ranges only get in the way.
            response_checksum_validation="when_required",
        )
        with self._translated():
            client = session.client(
                "s3",
                endpoint_url=spec.endpoint,
                region_name=spec.region or session.region_name or DEFAULT_REGION,
                verify=None if spec.ca_bundle is None else str(spec.ca_bundle),
                config=config,
            )
        for operation in ("DeleteObjects", "PutObjectRetention"):
            client.meta.events.register(f"before-call.s3.{operation}", _add_content_md5)
        if spec.object_lock is not None and checksums == "when_required":
            # Amazon takes no body that is to be locked without a checksum or this (Amazon S3 API
            # reference, "PutObject"); and a checksum would go behind the body over https.
            for operation in ("PutObject", "UploadPart"):
                client.meta.events.register(f"before-call.s3.{operation}", _add_content_md5)
        read_pages_quickly(client)
        (patience or Patience(attempts)).guide(client)
        _SECRETS[client] = self._secrets()
        return client

    def _secrets(self) -> tuple[str, ...]:
        """The keys in use, as far as nothing has to be asked for to know them."""
        found = self._session.get_credentials()
        # Those of a role are fetched anew as they expire.
        if found is None or type(found) is not Credentials:
            return ()
        return tuple(key for key in (found.access_key, found.secret_key, found.token) if key)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, ValueError) as error:
            raise StoreError(f"cannot use {self.spec.url}: {plain(str(error))}") from error


@contextmanager
def without_content_md5(client: S3Client) -> Iterator[None]:
    """Let `client` delete many as boto3 does by itself, to see whether the server takes it."""
    client.meta.events.unregister("before-call.s3.DeleteObjects", _add_content_md5)
    try:
        yield
    finally:
        client.meta.events.register("before-call.s3.DeleteObjects", _add_content_md5)


def place_of(client: S3Client, bucket: str) -> Place:
    """What error sentences say about where `client` looks for `bucket`, and what they never say."""
    meta, secrets = client.meta, _SECRETS.get(client, ())
    return Place(bucket, meta.endpoint_url, meta.region_name, secrets)


def encryption_of(spec: StoreSpec) -> dict[str, Any]:
    """The arguments of an upload that the server is to encrypt as the policy says."""
    wanted = {"ServerSideEncryption": spec.sse, "SSEKMSKeyId": spec.sse_kms_key}
    return {name: value for name, value in wanted.items() if value}


_KNOWN: WeakValueDictionary[str, Loader] = WeakValueDictionary()


def _descriptions() -> Loader:
    """boto3's descriptions of S3, parsed once for all stores: 60 ms and 20 MiB each time else.

    They go with the last store: a daemon that idles has none open.
    """
    return _KNOWN.setdefault("", create_loader())


def _plain_text(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _add_content_md5(params: dict[str, Any], **_: object) -> None:
    """OpenStack Swift and JuiceFS refuse to delete many without it; boto3 no longer sends it."""
    digest = hashlib.md5(usedforsecurity=False)
    body = params["body"]
    if isinstance(body, bytes):
        digest.update(body)
    else:
        begin = body.tell()
        while block := body.read(_BLOCK_BYTES):
            digest.update(block)
        body.seek(begin)
    params["headers"]["Content-MD5"] = base64.b64encode(digest.digest()).decode()
