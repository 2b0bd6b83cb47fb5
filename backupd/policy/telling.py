"""Whom backupd tells how its runs went, as the policy says it: metrics, notify and ping. Pure.

Addresses of services are secrets: most carry a token or a password, so no message repeats them.
"""

from __future__ import annotations

import re
from datetime import timedelta
from ipaddress import ip_address
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit, urlunsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    WithJsonSchema,
    model_validator,
)

from backupd.policy.section import PositiveSpan, Section, check_filled

DEFAULT_LISTEN = "127.0.0.1:9532"
LONGEST_NOTIFY_TIMEOUT = timedelta(minutes=10)
_LISTEN_FORM = "write 127.0.0.1:9532, or [::1]:9532"


def parse_listen(listen: str) -> tuple[str, int]:
    """The IP address and port that `127.0.0.1:9532` or `[::1]:9532` names. Raises ValueError."""
    host, _, port = listen.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise ValueError(f"has no port from 1 to 65535 at its end; {_LISTEN_FORM}")
    try:
        address = ip_address("127.0.0.1" if bare == "localhost" else bare)
    except ValueError:
        raise ValueError(f"has no IP address before its port; {_LISTEN_FORM}") from None
    if (address.version == 6) != (host != bare):
        raise ValueError(f"needs [ ] around an IPv6 address, and only there; {_LISTEN_FORM}")
    return str(address), int(port)


def _check_listen(listen: str) -> str:
    parse_listen(listen)
    return listen


def _check_timeout(timeout: timedelta) -> timedelta:
    if not timedelta(seconds=1) <= timeout <= LONGEST_NOTIFY_TIMEOUT:
        raise ValueError("must be 1s to 10m")
    return timeout


def _check_text(url: str) -> None:
    if not re.fullmatch(r"[!-~]+", url):
        raise ValueError("is empty, or has a space, a line break or a sign outside of ASCII")


def check_service_url(secret: SecretStr) -> SecretStr:
    """`secret`, if it may be an address for apprise. Raises ValueError, never showing it."""
    url = secret.get_secret_value()
    _check_text(url)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://.+", url):
        raise ValueError(
            "is not the address of a service; write one as apprise takes it, such as "
            "ntfys://ntfy.sh/topic or mailtos://user:password@example.com"
        )
    return secret


def check_web_url(secret: SecretStr) -> SecretStr:
    """`secret`, if it is an address on the web. Raises ValueError, never showing it."""
    url = secret.get_secret_value()
    _check_text(url)
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
    if not is_whole or parts.scheme not in {"http", "https"}:
        raise ValueError("is not an address on the web; write https://…")
    return secret


ServiceUrl = Annotated[SecretStr, AfterValidator(check_service_url)]
WebUrl = Annotated[SecretStr, AfterValidator(check_web_url)]


class Metrics(Section):
    """A small web server with /metrics for Prometheus and /healthz."""

    listen: Annotated[str, AfterValidator(_check_listen)] = DEFAULT_LISTEN
    """IP address and port to listen on; anything but loopback shows the jobs to the network."""

    @property
    def address(self) -> tuple[str, int]:
        """The IP address and the port."""
        return parse_listen(self.listen)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return ip_address(self.address[0]).is_loopback


class Notify(Section):
    """Messages about runs to mail, chat and phones."""

    urls: Annotated[tuple[ServiceUrl, ...], AfterValidator(check_filled)] = Field(
        json_schema_extra={"minItems": 1}
    )
    """Where to: addresses as apprise takes them, such as ntfys://ntfy.sh/topic; secrets."""
    when: Annotated[
        tuple[Literal["failure", "recovery", "always"], ...], AfterValidator(check_filled)
    ] = Field(default=("failure", "recovery"), json_schema_extra={"minItems": 1})
    """What about: a failure, the first good run after one, or always, every run."""
    timeout: Annotated[PositiveSpan, AfterValidator(_check_timeout)] = Field(
        default=timedelta(seconds=30), json_schema_extra={"default": "30s"}
    )
    """How long one try to send a message may take; there are three."""


class Ping(Section):
    """Addresses that are asked for when a run starts and ends, as healthchecks.io takes them."""

    start: WebUrl | None = None
    """Asked for when a run starts."""
    success: WebUrl | None = None
    """Asked for when a run ended well."""
    fail: WebUrl | None = None
    """Asked for when a run failed, with the reason as the body."""

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if self.start is None and self.success is None and self.fail is None:
            raise ValueError(
                "names no address; write one, or {start: URL, success: URL, fail: URL}"
            )
        return self


def _ping(raw: object) -> Any:
    """The file's forms as `Ping` takes them: one address stands for three. Raises ValueError."""
    if isinstance(raw, Ping | dict):
        return raw
    if not isinstance(raw, str):
        raise ValueError(
            "is not a ping; write an address, or {start: URL, success: URL, fail: URL}"
        )
    parts = urlsplit(check_web_url(SecretStr(raw)).get_secret_value())

    def below(name: str) -> str:
        return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))

    return {"start": below("start"), "success": raw, "fail": below("fail")}


_URL_SCHEMA = {"type": "string", "format": "password", "writeOnly": True}
PingUrls = Annotated[
    Ping,
    BeforeValidator(_ping),
    WithJsonSchema(
        {
            "anyOf": [
                _URL_SCHEMA,
                {
                    "type": "object",
                    "properties": {
                        "start": {**_URL_SCHEMA, "description": "Asked for when a run starts."},
                        "success": {**_URL_SCHEMA, "description": "… ended well."},
                        "fail": {**_URL_SCHEMA, "description": "… failed."},
                    },
                    "minProperties": 1,
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
"""`https://hc-ping.com/uuid` (with /start and /fail below it), or each address by itself."""
