"""What a server makes of small objects: their keys, listings, checksums and removal."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from botocore.exceptions import ClientError

from backupd.abilities import Ability, Can, Found
from backupd.layout import segment
from backupd.stores.s3_ability.bench import Bench
from backupd.stores.s3_client import without_content_md5
from backupd.stores.s3_errors import code_of, status_of

_KEYS = (
    segment("registry.example.com:5000/team/app:1.4"),
    segment("a name with spaces, * and ?"),
    segment(".hidden ünï€😀"),
    segment("long " * 60),
    "20260102T030405.678Z.0123456789abcdef-0123456789ab.12345.json",
    "20260102T030405.678Z.0123456789abcdef-0123456789ab.pinned",
    "folder/" + segment("object") + ".tar.zst",
)
_SIBLINGS = ("b", "a.tar", "a", "Z", "a0", "a%3A", "a-")
_PAGE_KEYS = 2
_BODY = b"backupd wrote this to learn what the server can do; it may be deleted\n"
_ONLY_INFORMATION = "backupd does not depend on it"


def keys(bench: Bench) -> Found:
    """Whether keys come back to the letter, in a listing and by name."""
    for name in _KEYS:
        bench.put(f"keys/{name}", name.encode())
    listed = set(bench.names("keys"))
    wrong = [name for name in _KEYS if name not in listed]
    wrong += [
        name for name in _KEYS if bench.read(bench.scratch.key(f"keys/{name}")) != name.encode()
    ]
    if wrong:
        return Found(Ability.KEYS, Can.NO, f"{wrong[0]!r} does not come back")
    return Found(Ability.KEYS, Can.YES)


def empty(bench: Bench) -> Found:
    """Whether objects without a byte exist: states of backups are such."""
    key = bench.put("empty/object")
    size = bench.client.head_object(Bucket=bench.spec.bucket, Key=key)["ContentLength"]
    if size or bench.names("empty") != ["object"]:
        return Found(Ability.EMPTY, Can.NO, "it is not listed, or has a size")
    return Found(Ability.EMPTY, Can.YES)


def order(bench: Bench) -> Found:
    """Whether siblings come in the order of their bytes; writes what `pages` lists."""
    for name in _SIBLINGS:
        bench.put(f"order/{name}")
    found = bench.names("order")
    if found == sorted(_SIBLINGS):
        return Found(Ability.ORDER, Can.YES)
    return Found(Ability.ORDER, Can.NO, f"keys came as {', '.join(found) or 'none at all'}")


def pages(bench: Bench) -> Found:
    """Whether a listing in pages shows each key once."""
    found = list(bench.listed("order", MaxKeys=_PAGE_KEYS))
    names = [name for page in found for name in page]
    asked = f"asked for {_PAGE_KEYS} keys a page in place of 1,000"
    if sorted(names) != sorted(_SIBLINGS):
        detail = f"{asked}: {len(set(names))} of {len(_SIBLINGS)} keys came"
        return Found(Ability.PAGES, Can.NO, detail)
    if any(len(page) > _PAGE_KEYS for page in found):
        detail = f"{asked}: all came at once, which does as well"
        return Found(Ability.PAGES, Can.YES, detail)
    return Found(Ability.PAGES, Can.YES, asked)


def ranges(bench: Bench) -> Found:
    """Whether a download can go on where it broke."""
    key = bench.put("ranges/object", _BODY)
    if bench.read(key, Range="bytes=10-") == _BODY[10:]:
        return Found(Ability.RANGES, Can.YES)
    return Found(Ability.RANGES, Can.NO, "a download that breaks cannot go on")


def checksums(bench: Bench) -> Found:
    """Whether uploads may carry a CRC, as boto3 sends it to an endpoint of this scheme."""
    key = bench.scratch.key("checksums/object")
    bench.checking.put_object(Bucket=bench.spec.bucket, Key=key, Body=_BODY)
    if bench.read(key) != _BODY:
        return Found(Ability.CHECKSUMS, Can.NO, "the server stores it inside the object")
    bench.takes_checksums = True
    is_secure = bench.place.endpoint.startswith("https://")
    where = "behind the body, as over https" if is_secure else "in a header, as over http"
    return Found(Ability.CHECKSUMS, Can.YES, where)


def checked(bench: Bench) -> Found:
    """Whether the server compares a CRC32 with what came."""
    return _wrong(bench, Ability.CHECKED, ChecksumCRC32="AAAAAA==")


def md5(bench: Bench) -> Found:
    """Whether the server compares a Content-MD5 with what came."""
    other = hashlib.md5(b"other", usedforsecurity=False).digest()
    return _wrong(bench, Ability.MD5, ContentMD5=base64.b64encode(other).decode())


def _wrong(bench: Bench, ability: Ability, **digest: str) -> Found:
    error = bench.refusal(lambda: bench.put("wrong/object", _BODY, **digest))
    if error is None:
        detail = "damage on the way shows only in backupd's own checks"
        return Found(ability, Can.NO, detail)
    if status_of(error) != 400:
        raise error
    return Found(ability, Can.YES)


def many(bench: Bench) -> Found:
    """Whether several objects can be deleted by one request."""
    refusal = bench.refusal(lambda: _delete_many(bench, "many", bench.client))
    if refusal is not None:
        if status_of(refusal) in {403, 503}:
            raise refusal
        return Found(Ability.MANY, Can.NO, "backupd deletes one by one, which takes longer")
    if bench.names("many"):
        detail = "the server says that it did, and did not"
        return Found(Ability.MANY, Can.NO, detail)
    with without_content_md5(bench.client):
        refusal = bench.refusal(lambda: _delete_many(bench, "many-plain", bench.client))
    if refusal is not None:
        return Found(Ability.MANY, Can.YES, "only with Content-MD5, which backupd sends")
    return Found(Ability.MANY, Can.YES, "with and without Content-MD5")


def _delete_many(bench: Bench, folder: str, client: Any) -> None:
    keys = [bench.put(f"{folder}/{number}") for number in range(3)]
    client.delete_objects(
        Bucket=bench.spec.bucket,
        Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True},
    )


def absent(bench: Bench) -> Found:
    """Whether `If-None-Match: *` keeps what is there."""
    bench.put("absent/object", b"first")
    again = bench.refusal(lambda: bench.put("absent/object", b"second", IfNoneMatch="*"))
    return only_if_absent(Ability.ABSENT, again)


def only_if_absent(ability: Ability, refusal: ClientError | None) -> Found:
    """What the answer to a conditional write over an object tells."""
    if refusal is None:
        return Found(ability, Can.NO, f"it overwrites silently; {_ONLY_INFORMATION}")
    if status_of(refusal) == 412:
        return Found(ability, Can.YES, _ONLY_INFORMATION)
    return Found(ability, Can.NO, f"{code_of(refusal)}; {_ONLY_INFORMATION}")


def storage_class(bench: Bench) -> Found:
    """Whether archives may have the class that the policy wants."""
    return _with(bench, Ability.CLASS, StorageClass=bench.spec.storage_class)


def encryption(bench: Bench) -> Found:
    """Whether the server encrypts as the policy wants it."""
    key = {"SSEKMSKeyId": bench.spec.sse_kms_key} if bench.spec.sse_kms_key else {}
    return _with(bench, Ability.ENCRYPTION, ServerSideEncryption=bench.spec.sse, **key)


def _with(bench: Bench, ability: Ability, **wanted: Any) -> Found:
    key = bench.put("wanted/object", _BODY, **wanted)
    if bench.read(key) != _BODY:
        return Found(ability, Can.NO, "other bytes come back than were sent")
    return Found(ability, Can.YES)
