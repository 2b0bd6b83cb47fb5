"""Where abilities are tried: two clients of one bucket, and keys that are removed at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from backupd.abilities import Ability, Can, Found
from backupd.policy import StoreSpec
from backupd.stores.s3_client import Connector, place_of
from backupd.stores.s3_errors import CONCERNS_ALL, Place, cause_of, code_of, status_of, translated
from backupd.stores.s3_scratch import Scratch

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_NOT_NOW = frozenset({429, 503})


@dataclass
class Bench:
    """One bucket under trial."""

    spec: StoreSpec
    client: S3Client
    """Sends a checksum only where it must."""
    checking: S3Client
    """Sends one with each upload, as boto3 likes it."""
    place: Place
    scratch: Scratch
    takes_checksums: bool = False

    @classmethod
    def of(cls, spec: StoreSpec, host: str) -> Bench:
        """A bench for the store. Raises StoreError when its settings cannot be used here."""
        connector = Connector(spec)
        client = connector.connect("when_required", attempts=2)
        checking = connector.connect("when_supported", attempts=2)
        place = place_of(client, spec.bucket)
        return cls(spec, client, checking, place, Scratch(client, spec, host))

    @property
    def uploading(self) -> S3Client:
        """The client that backups would be uploaded with."""
        return self.checking if self.takes_checksums else self.client

    def put(self, name: str, body: bytes = b"", **more: Any) -> str:
        """Write an object of the trial; its full key. Raises boto3's exceptions, as all here."""
        key = self.scratch.key(name)
        self.client.put_object(Bucket=self.spec.bucket, Key=key, Body=body, **more)
        return key

    def read(self, key: str, **more: Any) -> bytes:
        """The object's bytes, or those of a range."""
        answer = self.client.get_object(Bucket=self.spec.bucket, Key=key, **more)
        return answer["Body"].read()

    def listed(self, folder: str, **more: Any) -> Iterator[list[str]]:
        """The names below a folder of the trial, page by page, as long as the server has more."""
        where = f"{self.scratch.folder}{folder}/"
        while True:
            page: Any = self.client.list_objects_v2(Bucket=self.spec.bucket, Prefix=where, **more)
            yield [found["Key"].removeprefix(where) for found in page.get("Contents", [])]
            token = page.get("NextContinuationToken")
            if not page.get("IsTruncated") or not token or token == more.get("ContinuationToken"):
                return
            more["ContinuationToken"] = token

    def names(self, folder: str) -> list[str]:
        """All names below a folder of the trial."""
        return [name for page in self.listed(folder) for name in page]

    def refusal(self, request: Callable[[], object]) -> ClientError | None:
        """What the server said against it; None where it was done. Raises what concerns all."""
        try:
            request()
        except ClientError as error:
            if code_of(error) in CONCERNS_ALL:
                raise
            return error
        return None

    def cause(self, error: ClientError) -> str:
        """The server's refusal in words."""
        answer: dict[str, Any] = {**error.response.get("Error", {}), "Code": code_of(error)}
        return cause_of(answer, error.operation_name, self.place)

    def tried(self, ability: Ability, probe: Callable[[Bench], Found]) -> Found:
        """What the probe found, or what its failure means.

        Raises StoreError where every other one would fail too.
        """
        with translated(f"try '{ability}' in", self.place, self.scratch.folder):
            try:
                return probe(self)
            except ClientError as error:
                if code_of(error) in CONCERNS_ALL:
                    raise
                unsure = status_of(error) in {403, *_NOT_NOW}
                return Found(ability, Can.UNKNOWN if unsure else Can.NO, self.cause(error))
            except (ConnectionClosedError, ReadTimeoutError):
                return Found(ability, Can.NO, "the server hangs up, or never answers")
