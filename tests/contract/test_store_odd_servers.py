"""What S3 servers do that no server here does: refuse checksums, cut streams, lose pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from backupd.errors import StoreError
from backupd.policy import StoreSpec
from backupd.stores.s3 import S3Store
from tests.contract.streams import MIB, noise, pieces_of, reader_of
from tests.servers.certificates import Certificates
from tests.servers.odd_s3 import BUCKET, Oddity, OddS3

KEY = "host/1.tar"
PROBE = "p/.backupd-probe/checksums"


@contextmanager
def odd(
    *oddities: Oddity, certificates: Certificates | None = None, checksums: str = "auto"
) -> Iterator[tuple[OddS3, S3Store]]:
    """A server with those oddities, over https where `certificates` are given, and its store."""
    with OddS3(*oddities, certificates=certificates) as server:
        spec = odd_spec(server, certificates=certificates, checksums=checksums)
        yield server, S3Store(spec, attempts=2)


def odd_spec(server: OddS3, *, certificates: Certificates | None = None, **store: Any) -> StoreSpec:
    """The policy's store for such a server."""
    return StoreSpec.model_validate(
        {
            "url": f"s3://{BUCKET}/p",
            "endpoint": server.endpoint,
            "ca_bundle": certificates.authority if certificates else None,
            "access_key": SecretStr("key"),
            "secret_key": SecretStr("secret"),
            **store,
        }
    )


def test_a_server_that_refuses_trailers_is_found_out(certificates: Certificates) -> None:
    with odd(Oddity.REFUSES_TRAILERS, certificates=certificates) as (server, store):
        store.put(KEY, reader_of(b"content"), estimate_bytes=1)

    assert {f"p/{KEY}": b"content"} == server.objects


def test_a_server_that_stores_trailers_is_found_out(certificates: Certificates) -> None:
    with odd(Oddity.STORES_TRAILERS, certificates=certificates) as (server, store):
        stored_bytes = store.put(KEY, reader_of(b"content"), estimate_bytes=1)

    assert (7, {f"p/{KEY}": b"content"}) == (stored_bytes, server.objects)


def test_a_server_that_takes_trailers_is_asked_once(certificates: Certificates) -> None:
    with odd(certificates=certificates) as (server, store):
        for number in range(3):
            store.put_bytes(f"{number}", b"")

    assert (1, 1, 1) == (
        server.count(f"PUT /{PROBE}"),
        server.count(f"GET /{PROBE}"),
        server.count(f"DELETE /{PROBE}"),
    )


def test_reading_asks_for_no_probe(certificates: Certificates) -> None:
    with odd(certificates=certificates) as (server, store):
        list(store.list(""))

    assert ["GET /?list-type"] == server.requests


def test_plain_http_needs_no_probe() -> None:
    with odd(Oddity.REFUSES_TRAILERS) as (server, store):
        store.put_bytes("1", b"content")

    assert ["PUT /p/1"] == server.requests


def test_checksums_of_the_policy_are_not_probed(certificates: Certificates) -> None:
    with (
        odd(Oddity.REFUSES_TRAILERS, certificates=certificates, checksums="when_supported") as (
            server,
            store,
        ),
        pytest.raises(StoreError, match="set 'checksums: when_required' in the store"),
    ):
        store.put_bytes("1", b"content")

    assert ["PUT /p/1"] == server.requests


def test_a_stream_that_is_cut_goes_on_where_it_broke() -> None:
    data = noise(2 * MIB)

    with odd(Oddity.CUTS_EACH_GET) as (server, store):
        server.objects[f"p/{KEY}"] = data
        with closing(store.open(KEY)) as reader:
            read = b"".join(pieces_of(reader, MIB))

    assert data == read
    assert server.count("GET /") > 5


def test_a_stream_that_never_goes_on_is_no_end() -> None:
    with odd(Oddity.CUTS_TO_NOTHING) as (server, store):
        server.objects[f"p/{KEY}"] = noise(MIB)
        with (
            closing(store.open(KEY)) as reader,
            pytest.raises(
                StoreError, match="broken off after 0 of 1048576 bytes, 2 times in a row"
            ),
        ):
            reader.read(MIB)


def test_a_small_object_that_is_cut_is_no_shorter_object() -> None:
    with odd(Oddity.CUTS_TO_NOTHING) as (server, store):
        server.objects[f"p/{KEY}"] = b"{}"
        with pytest.raises(StoreError, match="broken off after 0 of 2 bytes"):
            store.get_bytes(KEY, limit_bytes=10)


def test_a_server_without_ranges_gives_no_wrong_bytes() -> None:
    with odd(Oddity.CUTS_EACH_GET, Oddity.IGNORES_RANGES) as (server, store):
        server.objects[f"p/{KEY}"] = noise(MIB)
        with closing(store.open(KEY)) as reader, pytest.raises(StoreError, match="ignores ranges"):
            reader.read(MIB)


def test_an_object_that_is_replaced_while_it_is_read_is_refused() -> None:
    with odd(Oddity.CUTS_EACH_GET, Oddity.REPLACES_WHEN_CUT) as (server, store):
        server.objects[f"p/{KEY}"] = noise(MIB)
        with closing(store.open(KEY)) as reader, pytest.raises(StoreError, match="was replaced"):
            reader.read(MIB)


def test_without_multi_delete_keys_are_deleted_one_by_one() -> None:
    with odd(Oddity.NO_MULTI_DELETE) as (server, store):
        for number in range(1005):
            server.objects[f"p/{number}"] = b""
        refused = store.delete(str(number) for number in range(1005))

    assert ([], {}) == (list(refused), server.objects)
    assert 1 == server.count("POST /?delete")


def test_deletions_carry_the_md5_that_some_servers_insist_on() -> None:
    with odd(Oddity.NEEDS_CONTENT_MD5) as (server, store):
        server.objects |= {"p/1": b"", "p/2": b"", "p/3": b""}
        refused = store.delete(["1", "2"])

    assert ([], ["p/3"]) == (list(refused), list(server.objects))
    assert ["POST /?delete"] == server.requests


def test_a_thousand_deletions_take_one_request() -> None:
    with odd() as (server, store):
        store.delete(str(number) for number in range(2000))

    assert ["POST /?delete"] * 2 == server.requests


def test_a_page_that_holds_more_than_it_may_is_read_whole() -> None:
    keys = [f"{number:04d}" for number in range(1500)]

    with odd(Oddity.ONE_PAGE) as (server, store):
        server.objects = {f"p/{key}": b"" for key in keys}
        found = [entry.key for entry in store.list("")]

    assert keys == found


def test_a_listing_that_loses_its_way_does_not_look_whole() -> None:
    with odd(Oddity.LOSES_TOKEN) as (server, store):
        server.objects = {f"p/{number:04d}": b"" for number in range(1500)}
        with pytest.raises(StoreError, match="cannot list s3://odd-bucket/p/ to its end"):
            list(store.list(""))


def test_a_listing_is_lazy() -> None:
    with odd() as (server, store):
        server.objects = {f"p/{number:04d}": b"" for number in range(1500)}
        first = next(iter(store.list("")))

    assert ("0000", ["GET /?list-type"]) == (first.key, server.requests)


def test_a_server_that_ignores_where_to_start_is_no_trouble() -> None:
    with odd(Oddity.IGNORES_START) as (server, store):
        server.objects = {f"p/{number}": b"" for number in range(5)}
        found = [entry.key for entry in store.list("", start_after="2")]

    assert ["3", "4"] == found


def test_what_consoles_and_probes_leave_is_no_object() -> None:
    with odd() as (server, store):
        server.objects = {PROBE: b"", "p/a/": b"", "p/a/b": b""}
        found = [entry.key for entry in store.list("")]

    assert ["a/b"] == found
