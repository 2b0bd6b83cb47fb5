"""A small in-process S3 server with the oddities that real ones have and ours here has not.

It checks no signature and keeps everything in memory. What each `Oddity` stands for was seen at the
servers named there.
"""

from __future__ import annotations

import base64
import hashlib
import re
import ssl
import time
from collections.abc import Callable, Iterator
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

from tests.servers.certificates import Certificates

BUCKET = "odd-bucket"


class Oddity(Enum):
    """One way to differ from Amazon's S3."""

    REFUSES_TRAILERS = auto()
    """411 for a checksum behind the body: Ceph RGW, rclone, JuiceFS."""
    STORES_TRAILERS = auto()
    """The trailer becomes a part of the object: s3rver."""
    NO_MULTI_DELETE = auto()
    """DeleteObjects is not there: Google Cloud Storage."""
    NEEDS_CONTENT_MD5 = auto()
    """DeleteObjects wants Content-MD5: OpenStack Swift, JuiceFS."""
    CUTS_EACH_GET = auto()
    """Each answer to a GET ends after `CUT_BYTES` of its body: idle limits of proxies."""
    CUTS_TO_NOTHING = auto()
    """Each answer to a GET ends before its first byte."""
    IGNORES_RANGES = auto()
    """A GET always gives the whole object."""
    REPLACES_WHEN_CUT = auto()
    """Someone writes a new object under the key as soon as a GET was cut."""
    LOCKS_NEED_CHECKSUM = auto()
    """What is written with a lock wants a checksum or Content-MD5, each part too: Amazon."""
    ONE_PAGE = auto()
    """The first page of a listing holds everything: JuiceFS."""
    IGNORES_START = auto()
    """A listing begins at its first key wherever it was told to."""
    LOSES_TOKEN = auto()
    """A listing says that there is more, and not where."""
    REFUSES_PARTS = auto()
    """Each part of an upload is answered with 403."""
    REFUSES_ABORT = auto()
    """An unfinished upload cannot be aborted."""
    VIRTUAL_ONLY = auto()
    """The bucket is to be named in the host's name; the path begins with the key: some clouds."""
    TELLS_WRONG_TIME = auto()
    """Its clock is a day ahead."""
    LOSES_PARTS = auto()
    """An upload in parts becomes its last part."""
    REFUSES_CLASSES = auto()
    """400 for any storage class: Ceph RGW, OpenStack Swift, JuiceFS."""
    REFUSES_ENCRYPTION = auto()
    """501 for encryption by the server: OpenStack Swift, JuiceFS."""
    REFUSES_KMS = auto()
    """The keys may not use the KMS key: Amazon, in its words."""
    SHRINKS = auto()
    """The last byte of each object gets lost."""


CUT_BYTES = 300_000


class OddS3:
    """A server from `with` to its end; `requests` lists what it was asked, in order."""

    def __init__(self, *oddities: Oddity, certificates: Certificates | None = None) -> None:
        self.oddities = frozenset(oddities)
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.locked_uploads: set[str] = set()
        self.requests: list[str] = []
        self.acknowledged_bytes = 0
        self.part_sizes: dict[int, int] = {}
        self.before_part_answer: Callable[[], None] = lambda: None
        self.lock = Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.odd = self
        scheme = "http"
        if certificates is not None:
            scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificates.certificate, certificates.key)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.endpoint = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def count(self, request: str) -> int:
        """How often a request was made that begins so, such as `PUT /`."""
        return sum(made.startswith(request) for made in self.requests)


class _Server(ThreadingHTTPServer):
    odd: OddS3
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients hang up in the middle, as the tests want it."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""

    def setup(self) -> None:
        super().setup()
        self.odd = self.server.odd
        self.odds = self.odd.oddities

    def _begin(self) -> None:
        parts = urlsplit(self.path)
        path = parts.path
        if Oddity.VIRTUAL_ONLY not in self.odds:
            path = path.removeprefix(f"/{BUCKET}")
        self.key = unquote(path.removeprefix("/"))
        self.query = {
            name: values[0]
            for name, values in parse_qs(parts.query, keep_blank_values=True).items()
        }
        shown = "&".join(name for name in self.query if name in _SHOWN)
        self.odd.requests.append(f"{self.command} /{self.key}" + (f"?{shown}" if shown else ""))

    def do_PUT(self) -> None:
        self._begin()
        body = self._body()
        if "x-amz-trailer" in self.headers:
            if Oddity.REFUSES_TRAILERS in self.odds:
                return self._refuse(411, "MissingContentLength")
            if Oddity.STORES_TRAILERS not in self.odds:
                body = b"".join(_unchunked(body))
        if Oddity.LOCKS_NEED_CHECKSUM in self.odds and self._is_locked() and not self._sealed(body):
            return self._refuse(400, "InvalidRequest")
        if "partNumber" in self.query:
            return self._put_part(body)
        encryption = self.headers.get("x-amz-server-side-encryption")
        if encryption == "aws:kms" and Oddity.REFUSES_KMS in self.odds:
            return self._refuse(403, "AccessDenied", _KMS_REFUSAL)
        if "x-amz-storage-class" in self.headers and Oddity.REFUSES_CLASSES in self.odds:
            return self._refuse(400, "InvalidStorageClass")
        if encryption and Oddity.REFUSES_ENCRYPTION in self.odds:
            return self._refuse(501, "NotImplemented")
        with self.odd.lock:
            kept = body[:-1] if Oddity.SHRINKS in self.odds else body
            self.odd.objects[self.key] = kept
        return self._answer(200, headers={"ETag": '"put"'})

    def _is_locked(self) -> bool:
        upload = self.query.get("uploadId")
        return _LOCK in self.headers or upload in self.odd.locked_uploads

    def _sealed(self, body: bytes) -> bool:
        """Whether the request says what its body must be; a Content-MD5 must fit."""
        digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        names = {name.lower() for name in self.headers}
        is_summed = any(name.startswith("x-amz-checksum-") for name in names)
        return is_summed or "x-amz-trailer" in names or self.headers.get("Content-MD5") == digest

    def _put_part(self, body: bytes) -> None:
        if Oddity.REFUSES_PARTS in self.odds:
            return self._refuse(403, "AccessDenied")
        self.odd.before_part_answer()
        with self.odd.lock:
            self.odd.uploads[self.query["uploadId"]][int(self.query["partNumber"])] = body
            self.odd.acknowledged_bytes += len(body)
            self.odd.part_sizes[int(self.query["partNumber"])] = len(body)
        return self._answer(200, headers={"ETag": '"part"'})

    def do_POST(self) -> None:
        self._begin()
        body = self._body()
        if "delete" in self.query:
            return self._delete_many(body)
        with self.odd.lock:
            if "uploads" in self.query:
                upload_id = f"upload-{len(self.odd.uploads) + 1}"
                self.odd.uploads[upload_id] = {}
                self.odd.locked_uploads |= {upload_id} if _LOCK in self.headers else set()
                result = "InitiateMultipartUploadResult"
                return self._xml(f"<{result}><UploadId>{upload_id}</UploadId></{result}>")
            parts = self.odd.uploads.pop(self.query["uploadId"])
            numbers = sorted(parts)[-1:] if Oddity.LOSES_PARTS in self.odds else sorted(parts)
            self.odd.objects[self.key] = b"".join(parts[number] for number in numbers)
        return self._xml("<CompleteMultipartUploadResult><ETag/></CompleteMultipartUploadResult>")

    def _delete_many(self, body: bytes) -> None:
        if Oddity.NO_MULTI_DELETE in self.odds:
            return self._refuse(501, "NotImplemented")
        if Oddity.NEEDS_CONTENT_MD5 in self.odds and "Content-MD5" not in self.headers:
            return self._refuse(400, "MissingContentMD5")
        for key in re.findall(r"<Key>([^<]*)</Key>", body.decode()):
            self.odd.objects.pop(key, None)
        return self._xml("<DeleteResult></DeleteResult>")

    def do_DELETE(self) -> None:
        self._begin()
        if "uploadId" in self.query:
            if Oddity.REFUSES_ABORT in self.odds:
                return self._refuse(403, "AccessDenied")
            self.odd.uploads.pop(self.query["uploadId"], None)
        else:
            self.odd.objects.pop(self.key, None)
        return self._answer(204)

    def do_HEAD(self) -> None:
        self._begin()
        found = self.odd.objects.get(self.key)
        if found is None and self.key:
            return self._answer(404)
        return self._answer(200, headers={"Content-Length": str(len(found or b""))})

    def do_GET(self) -> None:
        self._begin()
        if self.query.keys() & _SETTINGS:
            return self._refuse(501, "NotImplemented")
        if not self.key:
            return self._list()
        found = self.odd.objects.get(self.key)
        if found is None:
            return self._refuse(404, "NoSuchKey")
        return self._give(found)

    def _give(self, found: bytes) -> None:
        headers = {"ETag": f'"{hash(found)}"'}
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(asked[1]) if asked and Oddity.IGNORES_RANGES not in self.odds else 0
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(found) - 1}/{len(found)}"
        body, cut = found[first:], len(found)
        if Oddity.CUTS_EACH_GET in self.odds:
            cut = CUT_BYTES
        if Oddity.CUTS_TO_NOTHING in self.odds:
            cut = 0
        self._answer(206 if first else 200, body, headers=headers, cut_bytes=cut)
        if cut < len(body):
            self.close_connection = True
            if Oddity.REPLACES_WHEN_CUT in self.odds:
                self.odd.objects[self.key] = bytes(len(found))

    def _list(self) -> None:
        prefix = self.query.get("prefix", "")
        start = "" if Oddity.IGNORES_START in self.odds else self.query.get("start-after", "")
        after = self.query.get("continuation-token") or start
        if "delimiter" in self.query:
            return self._list_folders(prefix)
        keys = sorted(key for key in self.odd.objects if key.startswith(prefix) and key > after)
        limit = int(self.query.get("max-keys", 1000))
        page = keys if Oddity.ONE_PAGE in self.odds else keys[:limit]
        items = "".join(
            f"<Contents><Key>{escape(quote(key))}</Key><Size>{len(self.odd.objects[key])}</Size>"
            "<LastModified>2026-01-02T03:04:05.000Z</LastModified></Contents>"
            for key in page
        )
        more = "<IsTruncated>false</IsTruncated>"
        if len(page) < len(keys):
            token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>"
            more = "<IsTruncated>true</IsTruncated>"
            more += "" if Oddity.LOSES_TOKEN in self.odds else token
        return self._xml(
            f"<ListBucketResult><Name>{self._bucket()}</Name><EncodingType>url</EncodingType>"
            f"{more}{items}</ListBucketResult>"
        )

    def _list_folders(self, prefix: str) -> None:
        found = (key[len(prefix) :] for key in self.odd.objects if key.startswith(prefix))
        names = sorted({rest.partition("/")[0] for rest in found if "/" in rest})
        items = "".join(
            f"<CommonPrefixes><Prefix>{escape(quote(f'{prefix}{name}/'))}</Prefix></CommonPrefixes>"
            for name in names
        )
        self._xml(
            "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>"
            f"{items}</ListBucketResult>"
        )

    def _bucket(self) -> str:
        """The bucket that was asked for, by the way in which this server takes it."""
        if Oddity.VIRTUAL_ONLY in self.odds:
            return self.headers["Host"].partition(".")[0]
        return urlsplit(self.path).path.split("/")[1]

    def date_time_string(self, timestamp: float | None = None) -> str:
        ahead = 86400 if Oddity.TELLS_WRONG_TIME in self.odds else 0
        return super().date_time_string(time.time() + ahead)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _refuse(self, status: int, code: str, message: str = "odd") -> None:
        self._xml(f"<Error><Code>{code}</Code><Message>{message}</Message></Error>", status=status)

    def _xml(self, text: str, *, status: int = 200) -> None:
        self._answer(status, f'<?xml version="1.0"?>{text}'.encode())

    def _answer(
        self,
        status: int,
        body: bytes = b"",
        *,
        headers: dict[str, str] | None = None,
        cut_bytes: int | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:cut_bytes])


_LOCK = "x-amz-object-lock-mode"
_KMS_REFUSAL = (
    "User: arn:aws:iam::123456789012:user/backupd is not authorized to perform: "
    "kms:GenerateDataKey on resource: arn:aws:kms:eu-west-1:123456789012:key/0a1b because no "
    "identity-based policy allows the kms:GenerateDataKey action"
)
_SETTINGS = frozenset({"versioning", "object-lock", "lifecycle"})
_SHOWN = frozenset({"delete", "uploads", "uploadId", "partNumber", "list-type"})


def _unchunked(body: bytes) -> Iterator[bytes]:
    """The content of an `aws-chunked` body, without its sizes and its trailer."""
    position = 0
    while True:
        end = body.index(b"\r\n", position)
        size = int(body[position:end].split(b";")[0], 16)
        if size == 0:
            return
        yield body[end + 2 : end + 2 + size]
        position = end + 2 + size + 2
