"""The connection to one Docker engine: the only place that imports `docker`.

Requests go out and answers come in here; what to ask for is `backupd.engine`'s business. Every
answer is a plain value and every failure an `EngineError` whose text is safe to print: docker-py's
own texts hold whole URLs, with `changes=ENV SECRET=…` in them, so only the engine's explanation is
passed on.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import requests
import urllib3

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

_SHORT = (CONNECT_TIMEOUT_SECONDS, ANSWER_TIMEOUT_SECONDS)


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


class Link:
    """Requests to one engine. Connects at the first of them; safe to use from several threads.

    `what` begins every error's text. Each method raises NotFound, EngineError.
    """

    def __init__(self, spec: DockerSpec, *, host: str) -> None:
        self.host = host
        self._spec = spec
        self._client: docker.APIClient | None = None

    def close(self) -> None:
        """Close all idle connections."""
        if self._client is not None:
            self._client.close()

    def api_version(self, what: str) -> str:
        """The version of the API that both sides speak."""
        with translated(what, self.host):
            return str(self._connected().api_version)

    def get(self, what: str, path: str, shape: Shape, **params: str) -> Any:
        """The JSON of the answer to `GET path`, of this shape."""
        with translated(what, self.host):
            answer = self._connected().get(self._url(path), params=params, timeout=_SHORT)
            _raise_for_status(answer, what)
            return told(answer, what, shape)

    def post(
        self,
        what: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        answer_timeout_seconds: float = ANSWER_TIMEOUT_SECONDS,
        stream: bool = False,
    ) -> requests.Response:
        """The answer to `POST path`; `body` goes as JSON."""
        timeout = (CONNECT_TIMEOUT_SECONDS, answer_timeout_seconds)
        json = None if body is None else dict(body)
        with translated(what, self.host):
            answer = self._connected().post(
                self._url(path), json=json, params=params, timeout=timeout, stream=stream
            )
            _raise_for_status(answer, what)
            return answer

    def delete(self, what: str, path: str, **params: str) -> None:
        """`DELETE path`."""
        with translated(what, self.host):
            answer = self._connected().delete(self._url(path), params=params, timeout=_SHORT)
            _raise_for_status(answer, what)

    def put(self, what: str, path: str, params: Mapping[str, Any], chunks: Iterable[bytes]) -> None:
        """Send a plain tar by `PUT path`; an exception out of `chunks` comes out unchanged."""
        with translated(what, self.host):
            answer = self._connected().put(
                self._url(path),
                params=params,
                data=iter(chunks),
                headers={"Content-Type": "application/x-tar"},
                timeout=(CONNECT_TIMEOUT_SECONDS, self._spec.save_timeout.total_seconds()),
            )
            _raise_for_status(answer, what)

    def stream(self, what: str, path: str, params: Mapping[str, Any]) -> EngineStream:
        """The answer to `GET path` as it comes, in plain bytes."""
        with translated(what, self.host):
            timeout = (CONNECT_TIMEOUT_SECONDS, self._spec.save_timeout.total_seconds())
            # Asked for gzip, as requests does, the engine compresses what it reads of a container.
            plain = {"Accept-Encoding": "identity"}
            answer = self._connected().get(
                self._url(path), params=params, headers=plain, stream=True, timeout=timeout
            )
            _raise_for_status(answer, what)
            return EngineStream(answer, what, self.host)

    def upload(
        self, what: str, path: str, params: Mapping[str, Any], chunks: Iterable[bytes]
    ) -> Iterator[str]:
        """Send a plain tar by `POST path`; the engine's progress lines as they come.

        An exception out of `chunks` leaves the body unterminated, and comes out unchanged.
        """
        with translated(what, self.host):
            timeout = (CONNECT_TIMEOUT_SECONDS, self._spec.save_timeout.total_seconds())
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

    def _connected(self) -> docker.APIClient:
        if self._client is None:
            tls = self._spec.tls
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


def _socket_of(response: requests.Response) -> socket.socket | None:
    """The socket that the answer comes from, wherever http.client keeps it."""
    sock = getattr(getattr(response.raw, "_connection", None), "sock", None)
    if sock is None:
        # After `Connection: close` the connection has handed its socket on to the answer.
        file = getattr(getattr(response.raw, "_fp", None), "fp", None)
        sock = getattr(getattr(file, "raw", None), "_sock", None)
    found: socket.socket | None = sock
    return found


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


def told(answer: requests.Response, what: str, shape: Shape) -> Any:
    """The answer's JSON. Raises EngineError where it is nothing that an engine would say."""
    try:
        document = read_json(answer.content)
    except ValueError as error:
        raise EngineError(f"{what}: what answered is no engine: it sent no JSON") from error
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
