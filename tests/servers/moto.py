"""moto's S3 server on loopback: an imitation of Amazon's that checks little, for tests.

It accepts any keys, compares no checksum, says of each unfinished upload that it was begun in 2010,
and forgets everything when it ends.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import deque
from functools import cached_property
from threading import Thread
from types import TracebackType
from typing import TYPE_CHECKING, Self

import boto3

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_RUNNING = re.compile(rb"Running on (http://127\.0\.0\.1:\d+)")


class MotoServer:
    """A server from `with` to its end."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._listener: Thread | None = None
        self.endpoint = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            # Port 0: the server takes a free one and says which.
            [sys.executable, "-c", "from moto.server import main; main(['-p', '0'])"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        said = b""
        for line in self._process.stderr or ():
            said += line
            found = _RUNNING.search(line)
            if found is not None:
                self.endpoint = found[1].decode()
                # It says a line for each request, and stands still once nobody reads them.
                self._listener = Thread(target=deque, args=(self._process.stderr, 0), daemon=True)
                self._listener.start()
                return self
        raise RuntimeError(f"moto did not start; it said:\n{said.decode(errors='replace')}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.kill()
            if self._listener is not None:
                self._listener.join()
            self._process.communicate()

    @cached_property
    def client(self) -> S3Client:
        """A plain boto3 client, for a look that does not go through backupd."""
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id="any",
            aws_secret_access_key="any-at-all",
            region_name="us-east-1",
        )

    def make_bucket(self, name: str) -> None:
        """A new bucket."""
        self.client.create_bucket(Bucket=name)
