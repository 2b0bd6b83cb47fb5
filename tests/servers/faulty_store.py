"""A real S3 server that misbehaves: what it is asked, and how it says what went wrong."""

from __future__ import annotations

from tests.servers.fault import AT_END, Fault, Then
from tests.servers.faulty import Faulty

__all__ = ["AT_END", "Fault", "FaultyStore", "Then", "refusal"]

_ARCHIVE = r"/[^?]+/archives/[^?]+\.tar[^?]*"

BEGIN = rf"POST {_ARCHIVE}\?uploads"
PART = rf"PUT {_ARCHIVE}\?(?=.*partNumber=\d+).*"
COMPLETE = rf"POST {_ARCHIVE}\?uploadId=.*"
ABORT = rf"DELETE {_ARCHIVE}\?uploadId=.*"
WHOLE = rf"PUT {_ARCHIVE}"
"""An archive below the size of a part."""
HEAD = rf"HEAD {_ARCHIVE}"
MANIFEST = r"PUT /[^?]+/backups/[^?]+\.json"
RECORD = r"PUT /[^?]+/archives/[^?]+\.record\.json"
OWNER = r"(GET|PUT) /[^?]+/host\.json"
LIST = r"GET /[^/?]+\?.*list-type=2.*"
READ = rf"GET {_ARCHIVE}"
ANY = r".*"


class FaultyStore(Faulty):
    """The proxy in front of the S3 server at `upstream` (http://…)."""


def part(number: int) -> str:
    """The request that sends this part."""
    return rf"PUT {_ARCHIVE}\?(?=.*partNumber={number}(&|$)).*"


def refusal(code: str, message: str = "so it is") -> bytes:
    """The body of an S3 server's error."""
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
