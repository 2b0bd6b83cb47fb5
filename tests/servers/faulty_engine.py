"""A real engine that misbehaves: what it is asked, and how it says what went wrong."""

from __future__ import annotations

import json
import re

from tests.servers.fault import AT_END, Fault, Then
from tests.servers.faulty import Faulty

__all__ = ["AT_END", "Fault", "FaultyEngine", "Then"]

SAVE = r"GET /v[\d.]+/images/get\?.*"
EXPORT = r"GET /v[\d.]+/containers/[^/]+/export"
LOAD = r"POST /v[\d.]+/images/load\?.*"
IMPORT = r"POST /v[\d.]+/images/create\?.*"
INSPECT_IMAGE = r"GET /v[\d.]+/images/.+/json"
ARCHIVE = r"GET /v[\d.]+/containers/[^/]+/archive\?.*"
PAUSE = r"POST /v[\d.]+/containers/[^/]+/pause"
UNPAUSE = r"POST /v[\d.]+/containers/[^/]+/unpause"
STOP = r"POST /v[\d.]+/containers/[^/]+/stop"
START = r"POST /v[\d.]+/containers/[^/]+/start"
VERSION = r"GET (/v[\d.]+)?/version"


class FaultyEngine(Faulty):
    """The proxy in front of the engine at `upstream` (unix://…).

    With `claims` it says that it speaks that version of the API, and takes requests of it: as a
    newer engine that answers as the real one does.
    """

    def __init__(self, upstream: str, *, keeps_alive: bool = True, claims: str = "") -> None:
        super().__init__(upstream, keeps_alive=keeps_alive)
        self._claims = claims
        self._spoken = ""
        if claims:
            self.add(Fault(VERSION, alter=self._claimed, times=1 << 30))

    @property
    def host(self) -> str:
        """Where the proxy answers, as `docker: {host: …}`."""
        return self.address

    def _claimed(self, body: bytes) -> bytes:
        facts = json.loads(body)
        self._spoken = facts["ApiVersion"]
        return json.dumps({**facts, "ApiVersion": self._claims}).encode()

    def changed(self, head: list[str]) -> list[str]:
        """In the real engine's version."""
        if not self._claims:
            return head
        asked = re.escape(f"/v{self._claims}/")
        return [re.sub(asked, f"/v{self._spoken}/", head[0], count=1), *head[1:]]


def error_json(message: str) -> bytes:
    """What an engine appends to a body whose HTTP 200 is out already."""
    error = {"errorDetail": {"message": message}, "error": message}
    return json.dumps(error).encode() + b"\r\n"


def refusal(message: str) -> bytes:
    """The body of an engine's HTTP error."""
    return json.dumps({"message": message}).encode() + b"\n"
