"""What can still be had of a policy file that is wrong: where the state directory is, whom to tell.

`backupd status` must tell why a daemon did not follow a new policy, on the very file that it
refused; and a daemon that does not start by such a file must still reach its people.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from backupd.config import resolve_below
from backupd.config.document import read
from backupd.config.file import read_file
from backupd.config.syntax import NotYamlError
from backupd.policy import Notify, Ping, Policy

_LINE = re.compile(rb"""^state_dir:[ \t]+(["']?)(/[^"'#\n]*?)\1[ \t]*(?:#.*)?\r?$""", re.MULTILINE)
_LARGEST_BYTES = 1 << 20
_JOBS = {"any": {"images": ["any"]}}
"""What a policy must have besides the part that is looked at."""


@dataclass(frozen=True, slots=True)
class Voices:
    """Whom a policy names to be told, and the host's name; each is there if it is right."""

    host: str | None = None
    notify: Notify | None = None
    """With those of its addresses that are right."""
    ping: Ping | None = None


def salvaged_state_dir(path: Path) -> Path | None:
    """The `state_dir` that stands in the file, whatever else does; None where there is none."""
    match = _LINE.search(_content(path))
    return Path(match[2].decode(errors="surrogateescape")) if match else None


def salvaged_voices(path: Path, environ: Mapping[str, str]) -> Voices:
    """Whom the file names to be told, whatever else is wrong with it. Raises nothing."""
    text = _content(path).decode("utf-8-sig", errors="replace")
    found = {key: _section(text, key, environ) for key in ("host", "notify", "ping")}
    host, ping = (_alone(key, found[key]) for key in ("host", "ping"))
    return Voices(
        host.host if host else None, _notify(found["notify"]), ping.ping if ping else None
    )


def _content(path: Path) -> bytes:
    try:
        return read_file(path, largest_bytes=_LARGEST_BYTES)[0]
    except (OSError, ValueError):
        return b""


def _section(text: str, key: str, environ: Mapping[str, str]) -> object:
    """The plain value under a top-level key, with its references resolved; None for none."""
    # Where the whole is no YAML, the section's own lines may be.
    for part in (text, _lines_of(text, key)):
        try:
            spot = read(part).root.children.get(key)
        except NotYamlError:
            continue
        if spot is None:
            return None
        # What a reference does not give is left out.
        for _ in resolve_below(spot, (key,), environ):
            pass
        return spot.plain()
    return None


def _lines_of(text: str, key: str) -> str:
    """The line of a top-level key and those below it."""

    def chosen() -> Iterator[str]:
        is_inside = False
        for line in text.splitlines():
            if line and line[0] not in " \t#":
                is_inside = line.startswith(f"{key}:")
            if is_inside:
                yield line

    return "\n".join(chosen())


def _alone(key: str, value: object) -> Policy | None:
    """A policy of that one part; None if it is wrong, or not there."""
    try:
        return Policy.model_validate({"jobs": _JOBS, key: value})
    except ValidationError:
        return None


def _notify(raw: object) -> Notify | None:
    if not isinstance(raw, dict) or not isinstance(raw.get("urls"), list):
        return None
    urls = [url for url in raw["urls"] if _alone("notify", {"urls": [url]})]
    when = {"when": raw["when"]} if "when" in raw else {}
    for told in ({"urls": urls, **when}, {"urls": urls}):
        policy = _alone("notify", told)
        if policy is not None:
            return policy.notify
    return None
