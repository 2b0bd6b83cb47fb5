"""Addresses as they may be shown: without what people and programs put secrets into. Pure."""

from __future__ import annotations

import re

_QUERY = re.compile(r"(?<=\S)\?[^\s'\"<>()]+=[^\s'\"<>()]*")
_USER = re.compile(r"(?<=://)[^\s/'\"@]+@")


def redacted(text: str) -> str:
    """`text` with the query and the user of every address in it taken out."""
    return _USER.sub("", _QUERY.sub("", text))


def shown_address(address: str) -> str:
    """One address without user, query and fragment, whatever these look like."""
    bare = re.split(r"[?#]", address, maxsplit=1)[0]
    scheme, separator, rest = bare.partition("://")
    if not separator:
        return bare
    server, slash, path = rest.partition("/")
    return f"{scheme}://{server.rpartition('@')[2]}{slash}{path}"
