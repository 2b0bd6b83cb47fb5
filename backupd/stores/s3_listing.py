"""Listings read by three fields: what boto3 makes of a page costs eight times the CPU.

A bucket of a hundred thousand backups has hundreds of pages. boto3 builds each entry by the
service's whole description, owners and checksums included, and decodes each key letter by letter;
here key, time and size are taken out of a page before boto3 sees it, and all the rest of the page,
errors above all, is left to boto3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from botocore.utils import parse_timestamp

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_TIME_SIGNS = len("2026-03-01T12:30:15.000Z")


def read_pages_quickly(client: S3Client) -> None:
    """Let `client` answer `list_objects_v2` with the same entries, of three fields each."""
    client.meta.events.register("before-parse.s3.ListObjectsV2", _take_entries)


def _take_entries(
    response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object
) -> None:
    if response_dict["status_code"] != 200:
        return
    try:
        # Expat limits what entities may grow to, and boto3 would parse the same text the same way.
        page = ElementTree.XML(response_dict["body"])
        space = page.tag[: page.tag.rindex("}") + 1] if page.tag.startswith("{") else ""
        found = page.findall(f"{space}Contents")
        encoding = _encoding_of_keys(page, space)
        entries = _entries(found, space, str if encoding is None else _decoded)
    except (ElementTree.ParseError, ValueError, TypeError):
        return  # no page as S3 has them: boto3 finds the words for it
    # Without the encoding too, or boto3 would decode every key once more.
    page[:] = [one for one in page if one.tag != f"{space}Contents" and one is not encoding]
    if entries:
        customized_response_dict["Contents"] = entries
    response_dict["body"] = ElementTree.tostring(page)


def _encoding_of_keys(page: ElementTree.Element, space: str) -> ElementTree.Element | None:
    """What says that keys are encoded as in addresses, where nothing but keys is told.

    A page of folders is left to boto3: what they decode to need not be allowed in XML.
    """
    found = page.find(f"{space}EncodingType")
    is_of_folders = any(
        page.find(space + tag) is not None for tag in ("CommonPrefixes", "Delimiter")
    )
    return None if found is None or found.text != "url" or is_of_folders else found


def _entries(
    found: Iterable[ElementTree.Element], space: str, read_key: Callable[[str], str]
) -> list[dict[str, Any]]:
    """Raises ValueError or TypeError where a field is missing or makes no sense."""
    key_tag, size_tag, moment_tag = f"{space}Key", f"{space}Size", f"{space}LastModified"
    entries = []
    for one in found:
        key, size_text = one.findtext(key_tag), one.findtext(size_tag)
        moment_text = one.findtext(moment_tag)
        if key is None or size_text is None or moment_text is None:
            raise ValueError("an entry without key, size or time")
        moment = _moment(moment_text)
        entries.append({"Key": read_key(key), "Size": int(size_text), "LastModified": moment})
    return entries


def _decoded(key: str) -> str:
    """`key` as boto3 decodes it, its folder once for all that lies there."""
    folder, slash, last = key.rpartition("/")
    if "%" in last or "+" in last:
        last = unquote_plus(last)
    return f"{_decoded_folder(folder)}{slash}{last}"


@lru_cache(maxsize=1024)
def _decoded_folder(folder: str) -> str:
    return unquote_plus(folder)


def _moment(text: str) -> datetime:
    """A time as S3 documents it, or in any form that boto3 reads by means of dateutil, slowly."""
    if len(text) == _TIME_SIGNS and text[-1] == "Z":
        return datetime.fromisoformat(text)
    moment: datetime = parse_timestamp(text)
    return moment
