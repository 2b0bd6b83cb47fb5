"""Names of images as Docker understands them, and patterns over them.

A name is kept in the short form that `docker images` shows: without `docker.io/` and `library/`,
always with a tag or a digest. Pure: it checks how a name is written, not whether it exists.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?"
_REFERENCE = re.compile(
    rf"(?P<name>(?:{_DOMAIN}/)?{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,128}))?"
)
"""The grammar of github.com/distribution/reference, regexp.go."""

_IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}")
_BARE_HEX = re.compile(r"[0-9a-f]{64}")
_PLATFORM = re.compile(r"[a-z0-9_]+(?:/[a-z0-9_]+(?:/[a-z0-9_.]+)?)?")
_DEFAULT_DOMAINS = (
    "docker.io/library/",
    "index.docker.io/library/",
    "docker.io/",
    "index.docker.io/",
)
LONGEST_NAME = 255


def is_pattern(text: str) -> bool:
    """Whether `text` has a wildcard, so that it stands for any number of names."""
    return any(sign in text for sign in "*?[")


def normalise(reference: str) -> str:
    """`reference` in Docker's short form, `:latest` added where it has neither tag nor digest.

    Raises ValueError with a sentence for the person who wrote it.
    """
    if _IMAGE_ID.fullmatch(reference):
        return reference
    match = _REFERENCE.fullmatch(reference)
    if match is None or _BARE_HEX.fullmatch(reference):
        raise ValueError(_why_not(reference))
    if len(match["name"]) > LONGEST_NAME:
        raise ValueError(f"has a name of more than {LONGEST_NAME} characters")
    short = without_default_domain(reference)
    return short if match["tag"] or match["digest"] else f"{short}:latest"


def without_default_domain(text: str) -> str:
    """`text` (a reference or a pattern) without what Docker leaves out when it shows a name."""
    for domain in _DEFAULT_DOMAINS:
        if text.startswith(domain):
            return text.removeprefix(domain)
    rest = text.removeprefix("library/")
    return rest if "/" not in rest else text


def _why_not(reference: str) -> str:
    if reference != reference.strip() or re.search(r"\s", reference):
        return "has a space in it, which no image's name has"
    if is_pattern(reference):
        return "is a pattern, where only a name may stand"
    if "://" in reference:
        return "starts with a scheme; write host:port/name:tag"
    if _BARE_HEX.fullmatch(reference):
        return "is an image's id; write sha256: before it"
    name, _, _ = reference.partition("@")
    if name.endswith((":", "/")) or reference.endswith("@"):
        return f"ends with '{reference[-1]}'; write name:tag"
    lowered = _REFERENCE.fullmatch(reference.lower())
    if lowered and lowered["name"] != reference[: len(lowered["name"])]:
        return "has upper-case letters in its name, which Docker refuses"
    return "is not an image's name; write name:tag, host:port/name:tag or name@sha256:…"


def check_pattern(pattern: str) -> str:
    """`pattern` in Docker's short form. Raises ValueError if it could never match a name."""
    if re.search(r"\s", pattern):
        raise ValueError("has a space in it, which no name has")
    if pattern.count("[") > pattern.count("]"):
        raise ValueError("has a '[' without its ']'")
    return without_default_domain(pattern)


def matches(pattern: str, reference: str) -> bool:
    """Whether `pattern` stands for `reference`; `*` stands for `/` and `:` too.

    A pattern that names no tag takes every tag: `web-?` stands for `web-1:1.4`.
    """
    if fnmatchcase(reference, pattern):
        return True
    return ":" not in pattern.rpartition("/")[2] and fnmatchcase(repository(reference), pattern)


def repository(reference: str) -> str:
    """`reference` without its tag and digest; an image's id stays as it is."""
    if _IMAGE_ID.fullmatch(reference):
        return reference
    name, _, _ = reference.partition("@")
    head, colon, tag = name.rpartition(":")
    return head if colon and "/" not in tag else name


def check_platform(platform: str) -> str:
    """`platform` itself, if it reads os/architecture or os/architecture/variant."""
    if not _PLATFORM.fullmatch(platform):
        raise ValueError("is not a platform; write os/architecture, such as linux/arm64")
    return platform
