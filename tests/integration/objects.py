"""A look into the store of a test that does not go through backupd."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from tests.servers.seaweedfs import SeaweedFS


class Objects:
    """The objects of one bucket, by their whole keys."""

    def __init__(self, server: SeaweedFS, store: dict[str, Any]) -> None:
        self._client = server.client()
        self._bucket = urlsplit(store["url"]).netloc

    def sizes(self) -> dict[str, int]:
        """Key → size in bytes of every object; a test has far less than a thousand."""
        found = self._client.list_objects_v2(Bucket=self._bucket).get("Contents", [])
        return {entry["Key"]: entry["Size"] for entry in found}

    def archives(self) -> set[str]:
        """The keys of the archives, records not among them."""
        return {key for key in self.sizes() if "/archives/" in key and ".tar" in key}

    def read(self, key: str) -> bytes:
        """The bytes of one object."""
        return self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()

    def write(self, key: str, data: bytes) -> None:
        """Put an object, also over another one."""
        self._client.put_object(Bucket=self._bucket, Key=key, Body=data)

    def remove(self, key: str) -> None:
        """Take an object away."""
        self._client.delete_object(Bucket=self._bucket, Key=key)

    def remove_archives(self) -> None:
        """Take every archive away, so that only what needs none can succeed."""
        for key in self.archives():
            self.remove(key)
