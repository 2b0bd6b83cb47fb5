"""What a server makes of uploads in parts."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from backupd.abilities import Ability, Can, Found
from backupd.policy import ORPHAN_GRACE
from backupd.policy.store import SMALLEST_PART_BYTES
from backupd.stores.s3_ability.bench import Bench
from backupd.stores.s3_ability.objects import only_if_absent

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef


def parts(bench: Bench) -> Found:
    """Whether parts become one object, also with a last part of one byte."""
    pieces = [os.urandom(SMALLEST_PART_BYTES), b"."]
    key = bench.scratch.key("parts/object")
    upload_id = bench.scratch.begin_upload(key)
    sent = [_send(bench, key, upload_id, number, piece) for number, piece in enumerate(pieces, 1)]
    _complete(bench, key, upload_id, sent)
    if bench.read(key) != b"".join(pieces):
        return Found(Ability.PARTS, Can.NO, "other bytes come back than were sent")
    return Found(Ability.PARTS, Can.YES, "the last one of one byte")


def abort(bench: Bench) -> Found:
    """Whether an unfinished upload is listed, and gone after it was aborted."""
    key = bench.scratch.key("abort/object")
    upload_id = bench.scratch.begin_upload(key)
    _send(bench, key, upload_id, 1, b"part")
    begun = _begun(bench, key)
    bench.client.abort_multipart_upload(Bucket=bench.spec.bucket, Key=key, UploadId=upload_id)
    bench.scratch.upload_ended(key, upload_id)
    if begun is None:
        detail = "unfinished ones are not listed, so prune cannot sweep them; use a lifecycle rule"
        return Found(Ability.ABORT, Can.NO, detail)
    if _begun(bench, key) is not None:
        return Found(Ability.ABORT, Can.NO, "the server says that it did, and did not")
    if abs(begun - datetime.now(UTC)) > ORPHAN_GRACE:
        detail = f"one of now is told to be of {begun:%F}: prune may abort what others upload"
        return Found(Ability.ABORT, Can.NO, detail)
    return Found(Ability.ABORT, Can.YES, "unfinished ones are listed")


def absent(bench: Bench) -> Found:
    """Whether `If-None-Match: *` at the end of an upload keeps what is there."""
    key = bench.put("absent-parts/object", b"first")
    upload_id = bench.scratch.begin_upload(key)
    sent = [_send(bench, key, upload_id, 1, b"second")]
    refusal = bench.refusal(lambda: _complete(bench, key, upload_id, sent, IfNoneMatch="*"))
    return only_if_absent(Ability.ABSENT_PARTS, refusal)


def _send(bench: Bench, key: str, upload_id: str, number: int, body: bytes) -> CompletedPartTypeDef:
    answer = bench.uploading.upload_part(
        Bucket=bench.spec.bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=body
    )
    return {"ETag": answer["ETag"], "PartNumber": number}


def _complete(
    bench: Bench, key: str, upload_id: str, sent: list[CompletedPartTypeDef], **more: Any
) -> None:
    bench.uploading.complete_multipart_upload(
        Bucket=bench.spec.bucket,
        Key=key,
        UploadId=upload_id,
        MultipartUpload={"Parts": sent},
        **more,
    )
    bench.scratch.upload_ended(key, upload_id)


def _begun(bench: Bench, key: str) -> datetime | None:
    """When the unfinished upload of `key` was begun, as a listing tells it; None without one."""
    page = bench.client.list_multipart_uploads(Bucket=bench.spec.bucket, Prefix=key)
    begun = (found["Initiated"] for found in page.get("Uploads", []) if found.get("Key") == key)
    return next(begun, None)
