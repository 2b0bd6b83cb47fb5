"""One misfortune between backupd and a server: at which request and byte, and what happens."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

AT_END = 1 << 62
"""As `at_byte`: behind the last byte."""


class Then(Enum):
    """How it goes on after a fault."""

    GO_ON = auto()
    """As if nothing had happened."""
    END = auto()
    """The answer ends here, as cleanly as one that is whole."""
    BREAK = auto()
    """The connection is closed, with no end of the answer."""
    STALL = auto()
    """Nothing more comes, and the connection stays."""


@dataclass(slots=True)
class Fault:
    """One misfortune for the next `times` requests that match `request` (`METHOD /path?query`)."""

    request: str
    then: Then = Then.GO_ON
    at_byte: int | None = None
    """Of the answer's body; None is before the server is asked."""
    at_sent_byte: int | None = None
    """Of the request's body, instead of `at_byte`; END makes no sense there."""
    act: Callable[[], object] = lambda: None
    """Done in the very moment."""
    extra: bytes = b""
    """Bytes that are put into the answer's body at that place."""
    answer: tuple[int, bytes] | None = None
    """Status and body to answer with, instead of asking the server."""
    is_done: bool = False
    """The server does what it was asked; then `answer` or `then` come in place of its answer."""
    alter: Callable[[bytes], bytes] | None = None
    """Makes another body of the whole answer's."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of the answer, instead of the server's; those of `answer` besides its own."""
    in_chunks: bool = False
    """At `at_byte` the connection breaks in the middle of a chunk of HTTP, not between two."""
    sent_with: str = ""
    """Text that must stand in the request's head, such as an access key."""
    after: int = 0
    """So many requests that match go well before."""
    times: int = 1

    def fits(self, request: str, head: str) -> bool:
        """Whether this request is one that it waits for."""
        return (
            self.times > 0
            and self.sent_with in head
            and re.fullmatch(self.request, request) is not None
        )
