"""Pages of a listing, read without boto3; what is not as S3 has it is left to boto3."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.compat import unquote_str

from backupd.stores.s3_listing import _take_entries

MOMENT = datetime(2026, 3, 1, 12, 30, 15, tzinfo=UTC)


ENCODED = "<EncodingType>url</EncodingType>"


def page(
    *entries: str, namespace: str = "http://s3.amazonaws.com/doc/2006-03-01/", more: str = ""
) -> bytes:
    declared = f' xmlns="{namespace}"' if namespace else ""
    inner = more + "".join(f"<Contents>{entry}</Contents>" for entry in entries)
    return f"<ListBucketResult{declared}><KeyCount>1</KeyCount>{inner}</ListBucketResult>".encode()


def entry(key: str = "a%2Fb", size: str = "42", moment: str = "2026-03-01T12:30:15.000Z") -> str:
    time_and_size = f"<LastModified>{moment}</LastModified><Size>{size}</Size>"
    return f"<Key>{key}</Key>{time_and_size}<ETag>x</ETag>"


def taken(body: bytes, status: int = 200) -> tuple[Any, bytes]:
    """The entries that were taken (None for none), and the page that is left to boto3."""
    response, custom = {"status_code": status, "body": body}, dict[str, Any]()
    _take_entries(response_dict=response, customized_response_dict=custom)
    return custom.get("Contents"), bytes(response["body"])  # type: ignore[call-overload]


@pytest.mark.parametrize("namespace", ["http://s3.amazonaws.com/doc/2006-03-01/", "odd:name", ""])
def test_entries_are_taken_out_of_a_page_and_the_rest_is_left(namespace: str) -> None:
    entries, rest = taken(page(entry(), namespace=namespace))

    assert [{"Key": "a%2Fb", "Size": 42, "LastModified": MOMENT}] == entries
    assert (True, False) == (b"KeyCount" in rest, b"Contents" in rest)


@pytest.mark.parametrize(
    "moment",
    ["2026-03-01T12:30:15Z", "2026-03-01T12:30:15.000000Z", "Sun, 01 Mar 2026 12:30:15 GMT"],
)
def test_times_are_read_in_every_form_that_boto3_reads(moment: str) -> None:
    entries, _ = taken(page(entry(moment=moment)))

    assert [MOMENT] == [one["LastModified"] for one in entries]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (page(entry()), 403),
        (page(entry(size="much")), 200),
        (page(entry(moment="never")), 200),
        (page("<Key>a</Key>"), 200),
        (page(entry())[:-5], 200),
        (b"<html>", 200),
        (b"", 200),
    ],
)
def test_what_is_no_page_as_s3_has_it_is_left_to_boto3(body: bytes, status: int) -> None:
    assert (None, body) == taken(body, status)


def test_a_page_without_entries_stays_one() -> None:
    entries, rest = taken(page())

    assert (None, True) == (entries, b"KeyCount" in rest)


@pytest.mark.parametrize(
    ("encoded", "key"),
    [
        ("a/b%25252F/c", "a/b%252F/c"),
        ("a/b%2Fc+d/%C3%A9+%FF.json", "a/b/c d/\u00e9 \ufffd.json"),
        ("a%2Fb%2Fc", "a/b/c"),
        ("%01/%02", "\x01/\x02"),
        ("a/", "a/"),
    ],
)
def test_encoded_keys_are_decoded_once_and_just_as_boto3_does(encoded: str, key: str) -> None:
    entries, rest = taken(page(entry(encoded), entry(encoded), more=ENCODED))

    assert [unquote_str(encoded), key] == [key, entries[1]["Key"]]
    assert b"EncodingType" not in rest


def test_a_page_of_folders_is_left_for_boto3_to_decode() -> None:
    folder = "<CommonPrefixes><Prefix>%01/</Prefix></CommonPrefixes>"

    entries, rest = taken(page(entry(), more=ENCODED + folder))

    assert "a%2Fb" == entries[0]["Key"]
    assert (True, True) == (b"EncodingType" in rest, b"%01/" in rest)
