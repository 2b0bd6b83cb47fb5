"""The connection to one Docker engine: the only place that imports `docker`.

Every answer is a plain value and every failure an `EngineError` whose text is safe to print:
docker-py's own texts hold whole URLs, with `changes=ENV SECRET=…` in them, so only the engine's
explanation is passed on. Streams come from `backupd.engine_stream`.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import requests
import urllib3

from backupd import engine_answers as shapes
from backupd.engine_answers import Shape, oddity
from backupd.engine_words import message_of
from backupd.errors import BackupdError, EngineCut, EngineError, EngineUnreachable, NotFound
from backupd.foreign_json import read_json
from backupd.late_import import put_off
from backupd.policy import DockerSpec
from backupd.shortage import remedy, shortage

# docker-py imports paramiko wherever it finds it, a fifth of a second and 15 MiB, and has no use
# for it: an engine over ssh:// is reached by the system's own ssh.
with put_off("paramiko"):
    import docker
    import docker.errors
    import docker.tls

CONNECT_TIMEOUT_SECONDS = 10.0
ANSWER_TIMEOUT_SECONDS = 120.0
"""For the small questions: an engine under load was seen to take tens of seconds for a listing."""

Inspect = dict[str, Any]
"""What the engine's inspect answers: JSON whose fields depend on the engine's version."""


@dataclass(frozen=True, slots=True)
class Version:
    """What the engine says of itself."""

    id: str
    version: str
    api_version: str
    storage_driver: str
    os: str
    architecture: str
    data_root: str

    def speaks(self, api_version: str) -> bool:
        """Whether the engine's API is at least `api_version`, such as `1.48`."""
        return _numbers(self.api_version) >= _numbers(api_version)


class EngineStream:
    """The body of a running answer: iterate over it once; `abort` ends it from any thread."""

    def __init__(self, response: requests.Response, what: str, host: str) -> None:
        self._response = response
        self._what = what
        self._host = host

    def __iter__(self) -> Iterator[bytes]:
        """The body in the pieces in which the engine sends them, about 32 KiB each.

        Raises EngineError when the connection breaks. A clean end proves nothing: engines end a
        failed save or export cleanly too, so the tar itself must be checked.
        """
        with translated(self._what, self._host), self._response:
            # The socket, not requests: iter_content would translate errors a second time.
            yield from self._response.raw.stream(1 << 20, decode_content=False)

    def hang_up(self) -> None:
        """Let whoever iterates come to an end, from any thread; closing is left to them."""
        sock = _socket_of(self._response)
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            # Over ssh:// docker-py's socket is a process, which no shutdown reaches.
            process = getattr(sock, "proc", None)
            if process is not None:
                process.terminate()

    def abort(self) -> None:
        """End the answer, also one that another thread is blocked on."""
        # Closing alone would wait for the lock of a blocked read; this wakes it.
        self.hang_up()
        self._response.close()


class Engine:
    """One engine. Connects at the first question; safe to use from several threads."""

    def __init__(self, spec: DockerSpec, *, host: str) -> None:
        self.host = host
        self.spec = spec
        self._client: docker.APIClient | None = None
        self._version: Version | None = None

    def close(self) -> None:
        """Close all idle connections."""
        if self._client is not None:
            self._client.close()

    def version(self) -> Version:
        """The engine's identity, asked once."""
        if self._version is None:
            what = "cannot ask the engine for its version"
            with translated(what, self.host):
                client = self._connected()
                info = self._json(what, "/info", shapes.THING)
                self._version = Version(
                    id=str(info.get("ID", "")),
                    version=str(info.get("ServerVersion", "")),
                    api_version=client.api_version,
                    storage_driver=str(info.get("Driver", "")),
                    os=str(info.get("OSType", "")),
                    architecture=str(info.get("Architecture", "")),
                    data_root=str(info.get("DockerRootDir", "")),
                )
        return self._version

    def images(self) -> list[Inspect]:
        """A summary of every image, dangling ones included."""
        found: list[Inspect] = self._json(
            "cannot list images", "/images/json", shapes.LISTED_IMAGES
        )
        return found

    def containers(self) -> list[Inspect]:
        """A summary of every container that has a name, stopped ones included.

        One that is just being removed may have none.
        """
        found: list[Inspect] = self._json(
            "cannot list containers", "/containers/json", shapes.LISTED_CONTAINERS, all="1"
        )
        return [summary for summary in found if summary.get("Names")]

    def inspect_image(self, reference: str) -> Inspect:
        """Inspect's answer. Raises NotFound."""
        what = f"cannot inspect image {reference!r}"
        found: Inspect = self._json(what, f"/images/{_path(reference)}/json", shapes.IMAGE)
        return found

    def find_image(self, reference: str) -> Inspect | None:
        """Inspect's answer, or None where there is no such image."""
        try:
            return self.inspect_image(reference)
        except NotFound:
            return None

    def inspect_container(self, container: str) -> Inspect:
        """Inspect's answer with `SizeRootFs` in bytes. Raises NotFound."""
        what = f"cannot inspect container {container!r}"
        path = f"/containers/{_path(container)}/json"
        found: Inspect = self._json(what, path, shapes.CONTAINER, size="1")
        return found

    def inspect_state(self, container: str) -> Inspect:
        """Inspect's answer without sizes, for which the engine looks at every file. NotFound."""
        what = f"cannot inspect container {container!r}"
        found: Inspect = self._json(what, f"/containers/{_path(container)}/json", shapes.CONTAINER)
        return found

    def changes(self, container: str) -> int:
        """How many paths of the container differ from its image, as `docker diff` counts them."""
        found = self._json(
            f"cannot compare container {container!r} with its image",
            f"/containers/{_path(container)}/changes",
            shapes.CHANGES,
        )
        return len(found or [])

    def pause(self, container: str) -> None:
        """Pause all processes of a container. Raises EngineError if it is paused already."""
        self._post(f"cannot pause container {container!r}", f"/containers/{_path(container)}/pause")

    def unpause(self, container: str) -> None:
        """Let a paused container go on."""
        self._post(
            f"cannot unpause container {container!r}", f"/containers/{_path(container)}/unpause"
        )

    def stop(self, container: str, timeout_seconds: float) -> bool:
        """Stop a container with its own signal and stop timeout; false if it did not run.

        Blocks until it has stopped. Raises EngineError after `timeout_seconds`; it may stop yet.
        """
        what = f"cannot stop container {container!r}"
        timeout = (CONNECT_TIMEOUT_SECONDS, timeout_seconds)
        answer = self._send(what, f"/containers/{_path(container)}/stop", timeout=timeout)
        return answer.status_code != _NOT_MODIFIED

    def start(self, container: str) -> None:
        """Start a container that is stopped; nothing happens to one that runs."""
        self._post(f"cannot start container {container!r}", f"/containers/{_path(container)}/start")

    def exec_create(self, container: str, argv: Sequence[str], user: str | None = None) -> str:
        """The id of a command that is ready to run inside a running container."""
        body = {"Cmd": list(argv), "AttachStdout": True, "AttachStderr": True}
        what = f"cannot run a command in container {container!r}"
        answer = self._send(
            what,
            f"/containers/{_path(container)}/exec",
            timeout=_SHORT,
            json={**body, "User": user} if user else body,
        )
        return str(_told(answer, what, shapes.MADE)["Id"])

    def exec_start(self, exec_id: str, timeout_seconds: float) -> EngineStream:
        """Run it; what it prints, in Docker's frames; `timeout_seconds` of silence end that."""
        what = "cannot run a command in a container"
        timeout = (CONNECT_TIMEOUT_SECONDS, timeout_seconds)
        body = {"Detach": False, "Tty": False}
        path = f"/exec/{_path(exec_id)}/start"
        answer = self._send(what, path, timeout=timeout, json=body, stream=True)
        return EngineStream(answer, what, self.host)

    def exec_inspect(self, exec_id: str) -> Inspect:
        """Whether it runs, and its exit code."""
        what = "cannot ask how a command in a container ended"
        found: Inspect = self._json(what, f"/exec/{_path(exec_id)}/json", shapes.EXEC)
        return found

    def save(self, references: Sequence[str], platform: str | None = None) -> EngineStream:
        """The tar of `docker save`. Blocks until the engine has spooled the image. NotFound."""
        names = ", ".join(repr(reference) for reference in references)
        params: dict[str, Any] = {"names": list(references)}
        if platform:
            self.require("1.48", "save --platform")
            params["platform"] = platform_json(platform)
        return self._stream(f"cannot save image {names}", "/images/get", params)

    def export(self, container: str) -> EngineStream:
        """The tar of `docker export`. Raises NotFound."""
        what = f"cannot export container {container!r}"
        return self._stream(what, f"/containers/{_path(container)}/export", {})

    def load(self, chunks: Iterable[bytes], *, platform: str | None = None) -> Iterator[str]:
        """Send a plain tar to `docker load`; yields the engine's progress lines as they come.

        An exception out of `chunks` leaves the body unterminated, so the engine loads nothing, and
        comes out unchanged. Raises EngineError for an error inside the answer, which has HTTP 200.
        """
        params: dict[str, Any] = {"quiet": "0"}
        if platform:
            self.require("1.48", "load --platform")
            params["platform"] = platform_json(platform)
        what = "cannot load the image"
        yield from self._upload(what, "/images/load", params, chunks)

    def import_image(
        self,
        chunks: Iterable[bytes],
        *,
        repository: str | None = None,
        tag: str | None = None,
        changes: Sequence[str] = (),
        message: str | None = None,
        platform: str | None = None,
    ) -> str:
        """Send a plain tar to `docker import`; the new image's id.

        docker-py's own import has no message and no platform, so this asks the API directly
        (`POST /images/create?fromSrc=-`, Docker Engine API 1.41).
        """
        params: dict[str, Any] = {"fromSrc": "-", "changes": list(changes)}
        chosen = {"repo": repository, "tag": tag, "message": message, "platform": platform}
        params |= {name: value for name, value in chosen.items() if value}
        image_id = ""
        for line in self._upload("cannot import the archive", "/images/create", params, chunks):
            image_id = line.strip()
        return image_id

    def tag(self, image: str, reference: str) -> None:
        """Make `reference` name the image."""
        repository, tag = split_tag(reference)
        self._post(
            f"cannot tag image {image!r} as {reference!r}",
            f"/images/{_path(image)}/tag",
            repo=repository,
            tag=tag,
        )

    def remove_image(self, reference: str) -> None:
        """Remove a tag, and the image with its last one; no force, and none of its parents.

        These may be images that somebody keeps without a name.
        """
        with translated(f"cannot remove image {reference!r}", self.host):
            self._connected().remove_image(reference, noprune=True)

    def require(self, api_version: str, option: str) -> None:
        """Raise EngineError unless the engine's API has an option that came with `api_version`."""
        version = self.version()
        if not version.speaks(api_version):
            raise EngineError(
                f"cannot use {option}: engine {version.version} speaks API {version.api_version}, "
                f"the option came with API {api_version}; leave it out or upgrade the engine"
            )

    def ask(self, what: str, path: str, shape: Shape, **params: str) -> Any:
        """The answer to `GET path`, of this shape; `what` begins every error's text. NotFound."""
        return self._json(what, path, shape, **params)

    def tell(
        self,
        what: str,
        path: str,
        body: Mapping[str, Any],
        shape: Shape | None = None,
        **params: str,
    ) -> Any:
        """The answer to `POST path` with a JSON body: of this shape, None where none is wanted.

        Raises NotFound.
        """
        answer = self._send(what, path, json=dict(body), params=params, timeout=_SHORT)
        return None if shape is None else _told(answer, what, shape)

    def remove(self, what: str, path: str, **params: str) -> None:
        """`DELETE path`. Raises NotFound."""
        with translated(what, self.host):
            answer = self._connected().delete(self._url(path), params=params, timeout=_SHORT)
            _raise_for_status(answer, what)

    def read_files(self, container: str, path: str, *, what: str) -> EngineStream:
        """The tar of what lies at `path` in a container, also one that never ran. NotFound."""
        return self._stream(what, f"/containers/{_path(container)}/archive", {"path": path})

    def write_files(self, container: str, path: str, chunks: Iterable[bytes], *, what: str) -> None:
        """Unpack a plain tar at `path` in a container, also one that never ran.

        An exception out of `chunks` comes out unchanged; what was unpacked by then stays.
        """
        with translated(what, self.host):
            answer = self._connected().put(
                self._url(f"/containers/{_path(container)}/archive"),
                params={"path": path},
                data=iter(chunks),
                headers={"Content-Type": "application/x-tar"},
                timeout=(CONNECT_TIMEOUT_SECONDS, self.spec.save_timeout.total_seconds()),
            )
            _raise_for_status(answer, what)

    def _connected(self) -> docker.APIClient:
        if self._client is None:
            tls = self.spec.tls
            config = tls and docker.tls.TLSConfig(
                client_cert=(str(tls.cert), str(tls.key)), ca_cert=str(tls.ca), verify=True
            )
            # No pinned version: engine 29 refuses API versions that older ones needed.
            self._client = docker.APIClient(
                base_url=self.host,
                version="auto",
                timeout=int(ANSWER_TIMEOUT_SECONDS),
                tls=config or False,
                use_ssh_client=self.host.startswith("ssh://"),
            )
        return self._client

    def _url(self, path: str) -> str:
        client = self._connected()
        return f"{client.base_url}/v{client.api_version}{path}"

    def _json(self, what: str, path: str, shape: Shape, **params: str) -> Any:
        with translated(what, self.host):
            answer = self._connected().get(self._url(path), params=params, timeout=_SHORT)
            _raise_for_status(answer, what)
            return _told(answer, what, shape)

    def _post(self, what: str, path: str, **params: str) -> None:
        self._send(what, path, params=params, timeout=_SHORT)

    def _send(self, what: str, path: str, **options: Any) -> requests.Response:
        with translated(what, self.host):
            answer = self._connected().post(self._url(path), **options)
            _raise_for_status(answer, what)
            return answer

    def _stream(self, what: str, path: str, params: Mapping[str, Any]) -> EngineStream:
        with translated(what, self.host):
            timeout = (CONNECT_TIMEOUT_SECONDS, self.spec.save_timeout.total_seconds())
            # Asked for gzip, as requests does, the engine compresses what it reads of a container.
            plain = {"Accept-Encoding": "identity"}
            answer = self._connected().get(
                self._url(path), params=params, headers=plain, stream=True, timeout=timeout
            )
            _raise_for_status(answer, what)
            return EngineStream(answer, what, self.host)

    def _upload(
        self, what: str, path: str, params: Mapping[str, Any], chunks: Iterable[bytes]
    ) -> Iterator[str]:
        with translated(what, self.host):
            timeout = (CONNECT_TIMEOUT_SECONDS, self.spec.save_timeout.total_seconds())
            # A generator is sent chunked, piece by piece; anything else requests would measure.
            answer = self._connected().post(
                self._url(path),
                params=params,
                data=iter(chunks),
                headers={"Content-Type": "application/x-tar"},
                stream=True,
                timeout=timeout,
            )
            with answer:
                _raise_for_status(answer, what)
                yield from _progress(answer, what)


def _socket_of(response: requests.Response) -> socket.socket | None:
    """The socket that the answer comes from, wherever http.client keeps it."""
    sock = getattr(getattr(response.raw, "_connection", None), "sock", None)
    if sock is None:
        # After `Connection: close` the connection has handed its socket on to the answer.
        file = getattr(getattr(response.raw, "_fp", None), "fp", None)
        sock = getattr(getattr(file, "raw", None), "_sock", None)
    found: socket.socket | None = sock
    return found


_NOT_MODIFIED = 304
"""How the engine answers when there was nothing to stop or to start."""

_SHORT = (CONNECT_TIMEOUT_SECONDS, ANSWER_TIMEOUT_SECONDS)


def platform_json(platform: str) -> str:
    """`linux/arm64/v8` as API 1.48 and newer take it: a JSON object in the OCI's words."""
    names = ("os", "architecture", "variant")
    return json.dumps(dict(zip(names, platform.split("/"), strict=False)))


def _progress(answer: requests.Response, what: str) -> Iterator[str]:
    """The texts of a JSON stream; raises EngineError for the error that may stand in it."""
    for line in answer.iter_lines():
        if not line.strip():
            continue
        try:
            event = read_json(line)
        except ValueError:
            yield line.decode("utf-8", "replace")
            continue
        if not isinstance(event, dict):
            continue
        if "error" in event or "errorDetail" in event:
            raise EngineError(f"{what}: the engine says: {message_of(event)}")
        if "progressDetail" not in event:  # the bar of a terminal: a line for each 512 KiB
            yield str(event.get("stream") or event.get("status") or "")


def _raise_for_status(answer: requests.Response, what: str) -> None:
    if answer.status_code < 400:
        return
    try:
        cause = str(read_json(answer.content)["message"])
    except (ValueError, KeyError, TypeError):
        cause = answer.text[:300] or str(answer.reason)
    if answer.status_code == 404:
        raise NotFound(f"{what}: {cause}")
    raise EngineError(f"{what}: the engine says: {cause}")


def _told(answer: requests.Response, what: str, shape: Shape) -> Any:
    """The answer's JSON. Raises EngineError where it is nothing that an engine would say."""
    try:
        document = read_json(answer.content)
    except ValueError as error:
        raise EngineError(f"{what}: what answered is no engine: it sent no JSON") from error
    return _as_told(document, shape, what)


def _as_told(document: Any, shape: Shape, what: str) -> Any:
    place = oddity(document, shape)
    if place:
        raise EngineError(
            f"{what}: the engine's answer cannot be used: no engine says what stands in {place}"
        )
    return document


@contextmanager
def translated(what: str, host: str) -> Iterator[None]:
    """Turn what docker-py, requests, urllib3 and the socket raise into our own errors."""
    try:
        yield
    except BackupdError:
        raise
    except docker.errors.NotFound as error:
        raise NotFound(f"{what}: {error.explanation}") from error
    except docker.errors.APIError as error:
        raise EngineError(f"{what}: the engine says: {error.explanation}") from error
    except (requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError) as error:
        raise EngineError(f"{what}: the engine at {host} did not answer in time") from error
    except _WRAPPED as error:
        raise _explained(what, host, error) from error


_WRAPPED = (
    docker.errors.DockerException,
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
)


def _explained(what: str, host: str, error: Exception) -> EngineError:
    """The sentence for what failed on the way to the engine and back."""
    ours = shortage(error)
    if ours is not None:
        return EngineError(f"{what}: {ours.strerror}; {remedy(ours)}")
    if isinstance(error, docker.errors.DockerException | requests.exceptions.ConnectionError):
        return _unreachable(what, host, error)
    return _cut(what)


def _cut(what: str) -> EngineCut:
    return EngineCut(
        f"{what}: the connection to the engine broke off; did the engine stop or restart?"
    )


def _unreachable(what: str, host: str, error: Exception) -> EngineError:
    """The sentence for a connection that could not be made, or that broke before any answer."""
    text = repr(error)
    cause = error.__cause__
    if isinstance(cause, docker.errors.APIError):
        return EngineError(f"{what}: the engine says: {cause.explanation}")
    if isinstance(cause, ValueError) or "Invalid response" in text:
        return EngineUnreachable(f"{what}: what answers at {host} is not a Docker engine")
    if "paramiko" in text:
        return EngineUnreachable(
            f"{what}: an engine over ssh:// needs one more package; pip install 'backupd[ssh]'"
        )
    if "PermissionError" in text or "Permission denied" in text:
        return EngineUnreachable(
            f"{what}: no permission on the engine's socket {host}; add this user to the group "
            "docker (`sudo usermod -aG docker USER`) or run as root"
        )
    if "FileNotFoundError" in text:
        return EngineUnreachable(
            f"{what}: there is no engine at {host}; is Docker installed and running?"
        )
    if "ConnectionRefusedError" in text or "Connection refused" in text:
        return EngineUnreachable(
            f"{what}: nothing answers at {host}; start the engine (`systemctl start docker`)"
        )
    if "Connection aborted" in text or "RemoteDisconnected" in text or "Broken pipe" in text:
        return _cut(what)
    if "NameResolution" in text or "Name or service not known" in text:
        return EngineUnreachable(f"{what}: the host name in {host} does not resolve")
    if "SSL" in text or "certificate" in text:
        return EngineUnreachable(f"{what}: TLS to {host} failed; check docker.tls in the policy")
    return EngineUnreachable(f"{what}: the engine at {host} cannot be reached")


def url_path(name: str) -> str:
    """A name that a person typed or a record tells, safe inside a URL's path.

    Raises NotFound for one that climbs: clients and engines would take `../containers/web`, where a
    volume is meant, for a container, and nothing on an engine has such a name.
    """
    if not {"", ".", ".."}.isdisjoint(name.split("/")):
        raise NotFound(f"nothing on an engine can have the name {name!r}")
    return quote(name, safe="/:@")


_path = url_path


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def layers_of(image: Inspect) -> tuple[str, ...]:
    """The diff ids of an image's layers; an image of nothing has none."""
    return tuple(image["RootFS"].get("Layers") or ())


def split_tag(reference: str) -> tuple[str, str]:
    """Repository and tag; the colon of a registry's port is none of a tag."""
    repository, colon, tag = reference.rpartition(":")
    return (reference, "latest") if not colon or "/" in tag else (repository, tag)
