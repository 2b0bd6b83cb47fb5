"""What people read when an S3 store cannot be used: one clear sentence, and no secret in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socket import socket
from threading import Thread
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ProxyConnectionError,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError
from pydantic import SecretStr

from backupd.errors import ObjectMissing, StoreError
from backupd.policy import StoreSpec
from backupd.stores import Refusal
from backupd.stores.s3 import S3Store
from backupd.stores.s3_errors import Place, translated
from tests.contract.conftest import BUCKET, s3_spec
from tests.contract.streams import reader_of
from tests.servers.seaweedfs import FULL, NO_DELETE, READ_ONLY, Identity, SeaweedFS

ACTS: list[Callable[[S3Store], object]] = [
    lambda store: store.put("a/b", reader_of(b"content"), estimate_bytes=1),
    lambda store: store.put_bytes("a/b", b"content"),
    lambda store: store.get_bytes("a/b", limit_bytes=100),
    lambda store: store.open("a/b"),
    lambda store: list(store.list("a/")),
    lambda store: store.folders(""),
    lambda store: store.delete(["a/1", "a/2"]),
]
ACT_NAMES = ["put", "put_bytes", "get_bytes", "open", "list", "folders", "delete"]
every_act = pytest.mark.parametrize("act", ACTS, ids=ACT_NAMES)


def sentence(store: S3Store, act: Callable[[S3Store], object]) -> str:
    """What `act` says when it fails; checked for what no sentence may hold."""
    with pytest.raises(StoreError) as caught:
        act(store)
    text = str(caught.value)
    for identity in (FULL, READ_ONLY, NO_DELETE):
        assert identity.secret_key not in text
    assert not re.search(r"Signature=|X-Amz|AWS4|\n|\.$", text)
    assert re.match(r"cannot [a-z ]+ s3://", text)
    assert caught.value.__cause__ is not None
    return text


def changed(seaweed: SeaweedFS, **changes: object) -> S3Store:
    """A store for the server, with something wrong about it."""
    return S3Store(s3_spec(seaweed).model_copy(update=changes), attempts=1)


@every_act
def test_a_wrong_secret_key_is_named(seaweed: SeaweedFS, act: Callable[[S3Store], object]) -> None:
    store = changed(seaweed, secret_key=SecretStr("not-the-secret"))

    text = sentence(store, act)

    assert "the secret key does not belong to the access key" in text
    assert "not-the-secret" not in text


@every_act
def test_an_unknown_access_key_is_named(
    seaweed: SeaweedFS, act: Callable[[S3Store], object]
) -> None:
    store = changed(seaweed, access_key=SecretStr("nobody"))

    assert "does not know the access key" in sentence(store, act)


@every_act
def test_a_missing_bucket_is_named(seaweed: SeaweedFS, act: Callable[[S3Store], object]) -> None:
    store = S3Store(s3_spec(seaweed, bucket="nowhere"), attempts=1)

    assert "has no bucket 'nowhere'; create it" in sentence(store, act)


@every_act
def test_a_port_where_nothing_listens_is_named(
    seaweed: SeaweedFS, act: Callable[[S3Store], object]
) -> None:
    with closing(socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        store = changed(seaweed, endpoint=f"http://127.0.0.1:{unused.getsockname()[1]}")

        assert "refuses connections; check that the server runs" in sentence(store, act)


def test_a_name_that_does_not_resolve_is_named(seaweed: SeaweedFS) -> None:
    store = changed(seaweed, endpoint="http://s3.invalid")

    assert "the name in http://s3.invalid cannot be resolved" in sentence(store, ACTS[1])


def test_an_untrusted_certificate_points_to_the_ca_bundle(seaweed: SeaweedFS) -> None:
    store = changed(seaweed, endpoint=seaweed.secure_endpoint)

    text = sentence(store, ACTS[1])

    assert f"the certificate of {seaweed.secure_endpoint} is not trusted" in text
    assert "set the store's 'ca_bundle'" in text


def test_tls_to_a_port_without_it_points_to_http(seaweed: SeaweedFS) -> None:
    store = changed(seaweed, endpoint=seaweed.endpoint.replace("http:", "https:"))

    assert "does not speak TLS; write http://" in sentence(store, ACTS[1])


def test_a_ca_bundle_that_is_not_there_is_named(seaweed: SeaweedFS, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"its ca_bundle .*/none\.pem is no file"):
        changed(seaweed, ca_bundle=tmp_path / "none.pem")


def test_a_ca_bundle_without_a_certificate_is_an_error(seaweed: SeaweedFS, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    store = changed(seaweed, endpoint=seaweed.secure_endpoint, ca_bundle=empty)

    assert "'ca_bundle'" in sentence(store, ACTS[1])


def test_no_credentials_at_all_points_to_both_ways(
    seaweed: SeaweedFS, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    store = changed(seaweed, access_key=None, secret_key=None)

    text = sentence(store, ACTS[1])

    assert "no credentials were found; set the store's 'access_key' and 'secret_key'" in text


@pytest.mark.parametrize("act", ACTS[:2], ids=ACT_NAMES[:2])
def test_keys_that_may_only_read_are_told_what_to_grant(
    seaweed: SeaweedFS, act: Callable[[S3Store], object]
) -> None:
    spec = s3_spec(seaweed, identity=READ_ONLY)

    text = sentence(S3Store(spec, attempts=1), act)

    assert (
        f"cannot write s3://{BUCKET}/{spec.prefix}/a/b: {seaweed.endpoint} does not allow these "
        "keys s3:PutObject there; grant it, or use other keys"
    ) == text


def test_keys_that_may_only_read_can_read(seaweed: SeaweedFS) -> None:
    spec = s3_spec(seaweed)
    S3Store(spec).put_bytes("a/b", b"content")
    reader = S3Store(s3_spec(seaweed, scheme="https", identity=READ_ONLY, prefix=spec.prefix))

    assert (b"content", 7, ["a/b"]) == (
        reader.get_bytes("a/b", limit_bytes=7),
        reader.size("a/b"),
        [entry.key for entry in reader.list("")],
    )


@pytest.mark.parametrize("identity", [READ_ONLY, NO_DELETE], ids=lambda identity: identity.name)
@pytest.mark.parametrize("keys", [["a"], ["a", "b"]], ids=["one", "two"])
def test_a_refused_deletion_is_an_answer_for_each_key(
    seaweed: SeaweedFS, identity: Identity, keys: list[str]
) -> None:
    spec = s3_spec(seaweed)
    for key in keys:
        S3Store(spec).put_bytes(key, b"")
    store = S3Store(s3_spec(seaweed, identity=identity, prefix=spec.prefix), attempts=1)

    cause = (
        f"{seaweed.endpoint} does not allow these keys s3:DeleteObject there; grant it, "
        "or use other keys"
    )
    assert [Refusal(key, cause) for key in keys] == list(store.delete(keys))
    assert keys == [entry.key for entry in store.list("")]


class _NotS3(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<html><body>Welcome</body></html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def web_page() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _NotS3) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_web_page_is_no_empty_listing(seaweed: SeaweedFS, web_page: str) -> None:
    store = changed(seaweed, endpoint=web_page)

    with pytest.raises(StoreError, match=f"what answers at {web_page} is not an S3 server"):
        list(store.list("a/"))


PLACE = Place("bucket", "https://s3.example.com", "us-east-1")


def told(error: Exception) -> str:
    """What becomes of an exception of boto3."""
    with pytest.raises(StoreError) as caught, translated("write", PLACE, "p/a"):
        raise error
    text = str(caught.value)
    assert text.startswith("cannot write s3://bucket/p/a: ")
    return text.removeprefix("cannot write s3://bucket/p/a: ")


def answer(
    code: str, operation: str = "PutObject", *, headers: dict[str, str] | None = None, **more: str
) -> ClientError:
    """A refusal as boto3 raises it."""
    response: Any = {
        "Error": {"Code": code, "Message": "see https://x.example/?X-Amz-Signature=5e1f", **more},
        "ResponseMetadata": {"HTTPStatusCode": 400, "HTTPHeaders": headers or {}},
    }
    return ClientError(response, operation)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (
            answer("PermanentRedirect", headers={"x-amz-bucket-region": "eu-west-1"}),
            "to 'eu-west-1'",
        ),
        (answer("AuthorizationHeaderMalformed", Region="eu-central-1"), "to 'eu-central-1'"),
        (answer("301"), "the bucket is not in region 'us-east-1'; set the store's 'region'"),
        (answer("RequestTimeTooSkewed", ServerTime="2026-01-01T00:00:00Z"), "2026-01-01T00:00:00Z"),
        (answer("RequestTimeTooSkewed"), "this machine's clock is wrong"),
        (answer("EntityTooLarge", MaxSizeAllowed="5368709120"), "(5368709120 bytes); lower"),
        (answer("507"), "the server has no space left"),
        (answer("InsufficientStorage"), "the server has no space left"),
        (answer("SlowDown"), "is too busy, after several attempts"),
        (answer("503", "UploadPart"), "is too busy"),
        (answer("ExpiredToken"), "the session token is not valid or has expired"),
        (answer("403", "HeadObject"), "does not allow these keys s3:GetObject there"),
        (answer("AccessDenied", "ListObjectsV2"), "does not allow these keys s3:ListBucket there"),
        (answer("BadDigest"), "the bytes that arrived are not those that were sent"),
        (answer("NoSuchUpload"), "its unfinished upload is gone"),
        (answer("MissingContentLength"), "set 'checksums: when_required'"),
        (answer("Odd"), "https://s3.example.com answered Odd: see https://x.example/"),
        (ResponseParserError("not XML"), "what answers at https://s3.example.com is not an S3"),
        (ConnectTimeoutError(endpoint_url="https://u:p@x"), "nothing answers at https://s3.exam"),
        (ReadTimeoutError(endpoint_url="https://u:p@x"), "fell silent, after several attempts"),
        (ConnectionClosedError(endpoint_url="https://u:p@x"), "closed the connection"),
        (ProxyConnectionError(proxy_url="http://user:secret@proxy"), "check HTTPS_PROXY"),
        (
            EndpointConnectionError(endpoint_url="x", error="[Errno 101] Network is unreachable"),
            "there is no way to https://s3.example.com; check the network",
        ),
    ],
    ids=lambda value: None if isinstance(value, str) else str(value)[:60],
)
def test_each_refusal_says_its_cause_and_the_next_step(error: Exception, cause: str) -> None:
    text = told(error)

    assert cause in text
    assert not re.search(r"Signature|u:p@|secret@", text)


def test_a_missing_object_is_its_own_kind_of_error() -> None:
    with pytest.raises(ObjectMissing), translated("read", PLACE, "p/a"):
        raise answer("NoSuchKey", "GetObject")


def test_what_is_not_boto3s_passes_unchanged() -> None:
    error = OSError("the source broke")

    with pytest.raises(OSError, match="broke") as caught, translated("write", PLACE, "p/a"):
        raise error

    assert error is caught.value


def test_a_spec_without_credentials_in_it_makes_a_store_without_a_request() -> None:
    assert S3Store(StoreSpec(url="s3://bucket/a/b")).url == "s3://bucket/a/b"
