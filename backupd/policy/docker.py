"""Which Docker engine is backed up, as the policy says it. Pure: it never talks to one."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from backupd.policy.section import AbsolutePath, PositiveSpan, Section


def check_docker_host(host: str) -> str:
    """`host`, if an engine can have this address. Raises ValueError, never repeating it."""
    scheme, separator, rest = host.partition("://")
    if scheme in {"http", "https"} and separator:
        raise ValueError(
            "starts with http; write tcp://host:port, with 'tls' beside it where it is encrypted"
        )
    if not separator or scheme not in {"unix", "tcp", "ssh"}:
        raise ValueError(
            "is not an engine's address; write unix:///var/run/docker.sock, tcp://host:port or "
            "ssh://user@host"
        )
    if scheme == "unix":
        if not rest.startswith("/") or len(rest) < 2:
            raise ValueError(
                "needs an absolute path, so three slashes: unix:///var/run/docker.sock"
            )
        return host
    _check_remote(host)
    return host


def _check_remote(host: str) -> None:
    try:
        parts = urlsplit(host)
        name, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("has no machine's name, or a port that is not a number") from None
    if not name:
        raise ValueError(f"names no machine; write {parts.scheme}://host")
    if parts.password is not None or (parts.username is not None and parts.scheme == "tcp"):
        raise ValueError("holds a password or user, which would be shown in messages; remove it")
    if parts.scheme == "tcp" and not port:
        raise ValueError("needs a port: 2376 is usual with TLS, 2375 without")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("has something after the machine's name; remove it")


class TlsSpec(Section):
    """The files that prove who is who on an encrypted connection to the engine."""

    ca: AbsolutePath
    """PEM file of the authority that vouches for the engine."""
    cert: AbsolutePath
    """PEM file of the certificate that backupd shows the engine."""
    key: AbsolutePath
    """PEM file of that certificate's private key."""


class DockerSpec(Section):
    """The Docker engine to back up, and how long its silence is borne."""

    host: Annotated[str, AfterValidator(check_docker_host)] | None = None
    """Address of the engine; without it, DOCKER_HOST, then unix:///var/run/docker.sock."""
    tls: TlsSpec | None = None
    """Files for an encrypted tcp:// connection."""
    stall_timeout: PositiveSpan = Field(
        default=timedelta(minutes=5), json_schema_extra={"default": "5m"}
    )
    """Silence in the middle of a stream after which the engine is given up."""
    save_timeout: PositiveSpan = Field(
        default=timedelta(hours=4), json_schema_extra={"default": "4h"}
    )
    """Silence borne before a save's first byte and after a load's last: the engine copies first."""

    @model_validator(mode="after")
    def _tls_is_for_tcp(self) -> Self:
        if self.tls is not None and not (self.host or "").startswith("tcp://"):
            raise ValueError("'tls' needs 'host: tcp://…' beside it")
        return self
