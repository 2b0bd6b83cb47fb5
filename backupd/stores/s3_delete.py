"""Deleting many objects: a thousand with each request where the server can, else one by one.

A refused key is an answer, not an error: it comes back as a `Refusal`, and the others are deleted
all the same. Only what concerns every key (credentials, the bucket, the network) is raised.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from backupd.stores import Refusal
from backupd.stores.s3_errors import (
    CONCERNS_ALL,
    GONE,
    Place,
    cause_of,
    code_of,
    status_of,
    translated,
)

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

BATCH_KEYS = 1000
"""The most that one DeleteObjects takes (Amazon S3 API reference)."""

_CANNOT_MANY = frozenset({400, 405, 411, 501})
"""HTTP statuses of servers without DeleteObjects (Google Cloud Storage, some gateways)."""


class Deleter:
    """Deletes full keys, and remembers when its server cannot delete many at once."""

    def __init__(self, client: S3Client, place: Place) -> None:
        self._client = client
        self._place = place
        self._one_by_one = False

    def delete(self, keys: Iterable[str]) -> list[Refusal]:
        """Delete the keys; what was refused. Raises StoreError where no key can be deleted."""
        return [refusal for batch in _batches(keys) for refusal in self._delete_batch(batch)]

    def _delete_batch(self, keys: Sequence[str]) -> list[Refusal]:
        if self._one_by_one or len(keys) == 1:
            return self._delete_each(keys)
        with translated("delete from", self._place, keys[0]):
            try:
                answer = self._client.delete_objects(
                    Bucket=self._place.bucket,
                    Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True},
                )
            except ClientError as error:
                if code_of(error) in CONCERNS_ALL:
                    raise
                if status_of(error) == 403:
                    return [Refusal(key, self._cause(error)) for key in keys]
                self._one_by_one = status_of(error) in _CANNOT_MANY
                return self._delete_each(keys)
        return [
            Refusal(str(refused.get("Key")), cause_of(dict(refused), "DeleteObjects", self._place))
            for refused in answer.get("Errors", [])
            if refused.get("Code") not in GONE
        ]

    def _delete_each(self, keys: Iterable[str]) -> list[Refusal]:
        refused = []
        for key in keys:
            with translated("delete", self._place, key):
                try:
                    self._client.delete_object(Bucket=self._place.bucket, Key=key)
                except ClientError as error:
                    if code_of(error) in CONCERNS_ALL:
                        raise
                    if code_of(error) not in GONE:
                        refused.append(Refusal(key, self._cause(error)))
        return refused

    def _cause(self, error: ClientError) -> str:
        answer: dict[str, Any] = {**error.response.get("Error", {}), "Code": code_of(error)}
        return cause_of(answer, error.operation_name, self._place)


def _batches(keys: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(keys)
    while batch := list(islice(rest, BATCH_KEYS)):
        yield batch
