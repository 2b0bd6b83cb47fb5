"""The stores under one contract: a directory, a real SeaweedFS over http and https, and moto."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from backupd.policy import Limits, StoreSpec
from backupd.stores import Store, open_store
from tests.servers.certificates import Certificates, make_certificates
from tests.servers.moto import MotoServer
from tests.servers.seaweedfs import FULL, Identity, SeaweedFS

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

BUCKET = "contract"
LOCKING_BUCKET = "contract-locking"
PART_BYTES = 5 << 20
FAST = Limits(upload=1 << 40, download=1 << 40)
"""A pace at which nothing waits: the contract holds with it as without."""
_numbers = count(1)


@dataclass(frozen=True)
class Bench:
    """A store, and what is really there as another program sees it."""

    store: Store
    objects: Callable[[], list[str]]
    unfinished: Callable[[], list[str]]
    begin_upload: Callable[[str], None]


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """A server with one bucket; each test works below a prefix of its own."""
    with SeaweedFS(tmp_path_factory.mktemp("seaweed")) as server:
        server.make_bucket(BUCKET)
        yield server


@pytest.fixture(scope="session")
def locking(seaweed: SeaweedFS) -> SeaweedFS:
    """The same server, with a bucket that can lock beside the other."""
    seaweed.make_bucket(LOCKING_BUCKET, locks=True)
    return seaweed


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """For servers that a test makes itself."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def s3_spec(
    seaweed: SeaweedFS,
    *,
    scheme: str = "http",
    identity: Identity = FULL,
    prefix: str | None = None,
    bucket: str = BUCKET,
) -> StoreSpec:
    """The policy's store for the server; below a new prefix unless one is given."""
    secure = scheme == "https"
    return StoreSpec(
        url=f"s3://{bucket}/{prefix or f'test-{next(_numbers)}'}",
        endpoint=seaweed.secure_endpoint if secure else seaweed.endpoint,
        ca_bundle=seaweed.ca_bundle if secure else None,
        part_size=PART_BYTES,
        access_key=SecretStr(identity.access_key),
        secret_key=SecretStr(identity.secret_key),
    )


@pytest.fixture(scope="session")
def moto() -> Iterator[MotoServer]:
    """An imitation of Amazon's server with the same bucket."""
    with MotoServer() as server:
        server.make_bucket(BUCKET)
        yield server


@pytest.fixture(params=["directory", "http", "https", "moto", "paced-directory", "paced-https"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    """Every store, empty."""
    return _bench(request, tmp_path)


@pytest.fixture(params=["directory", "http", "https"])
def timely(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    """Every store, empty, that tells when an upload was begun."""
    return _bench(request, tmp_path)


def _bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    paced, _, kind = str(request.param).rpartition("-")
    limits = FAST if paced else None
    if kind == "directory":
        return directory_bench(tmp_path / "store", limits)
    if kind == "moto":
        return moto_bench(request.getfixturevalue("moto"))
    return s3_bench(request.getfixturevalue("seaweed"), kind, limits)


@pytest.fixture(params=["http", "https"])
def s3(request: pytest.FixtureRequest, seaweed: SeaweedFS) -> Bench:
    """The bucket over both schemes, for what only a server can do."""
    return s3_bench(seaweed, request.param)


@pytest.fixture(params=["directory", "http", "https", "moto"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Every store, empty, for what stands on the contract: a pace changes nothing there."""
    return _bench(request, tmp_path).store


def directory_bench(root: Path, limits: Limits | None = None) -> Bench:
    """A directory store, seen through the file system."""

    def files(top: Path) -> list[str]:
        found = [Path(folder) / name for folder, _, names in os.walk(top) for name in names]
        return sorted(str(path.relative_to(root)) for path in found)

    def begin_upload(key: str) -> None:
        path = root / ".partial" / f"{key}.0123abcd"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"unfinished")

    return Bench(
        store=open_store(StoreSpec(url=f"file://{root}"), limits=limits),
        objects=lambda: [name for name in files(root) if not name.startswith(".partial/")],
        unfinished=lambda: files(root / ".partial"),
        begin_upload=begin_upload,
    )


def s3_bench(seaweed: SeaweedFS, scheme: str, limits: Limits | None = None) -> Bench:
    """A store in the bucket, seen through boto3 alone."""
    return bench_of(s3_spec(seaweed, scheme=scheme), seaweed.client(), limits)


def moto_spec(moto: MotoServer) -> StoreSpec:
    """The policy's store for moto; below a new prefix."""
    return StoreSpec(
        url=f"s3://{BUCKET}/test-{next(_numbers)}",
        endpoint=moto.endpoint,
        part_size=PART_BYTES,
        access_key=SecretStr("any"),
        secret_key=SecretStr("any-at-all"),
    )


def moto_bench(moto: MotoServer) -> Bench:
    """A store in moto's bucket, seen through boto3 alone."""
    return bench_of(moto_spec(moto), moto.client)


def bench_of(spec: StoreSpec, client: S3Client, limits: Limits | None = None) -> Bench:
    """The store of a bucket, and the bucket as another client sees it."""
    where = f"{spec.prefix}/"

    def objects() -> list[str]:
        answer = client.list_objects_v2(Bucket=BUCKET, Prefix=where)
        return sorted(found["Key"].removeprefix(where) for found in answer.get("Contents", []))

    def unfinished() -> list[str]:
        answer = client.list_multipart_uploads(Bucket=BUCKET, Prefix=where)
        return sorted(found["Key"].removeprefix(where) for found in answer.get("Uploads", []))

    def begin_upload(key: str) -> None:
        begun = client.create_multipart_upload(Bucket=BUCKET, Key=where + key)
        client.upload_part(
            Bucket=BUCKET, Key=where + key, UploadId=begun["UploadId"], PartNumber=1, Body=b"part"
        )

    return Bench(open_store(spec, limits=limits), objects, unfinished, begin_upload)
