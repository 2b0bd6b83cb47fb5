"""How one tag is spelled in different documents, and by different engines.

`app:1`, `docker.io/library/app:1` (OCI layouts, Podman) and `localhost/app:1` (Podman, after the
load of an unqualified tag) name the same backup of the same thing. Pure.
"""

from __future__ import annotations

from backupd.policy.reference import without_default_domain


def familiar(reference: str) -> str:
    """The spelling that Docker shows; equal for all spellings of one tag."""
    return without_default_domain(reference.removeprefix("localhost/"))


def qualified(reference: str) -> str:
    """The spelling with registry, path and tag, as containerd names images."""
    short = ":".join(split(without_default_domain(reference)))
    domain, slash, _ = short.partition("/")
    if not slash:
        return f"docker.io/library/{short}"
    is_domain = "." in domain or ":" in domain or domain == "localhost"
    return short if is_domain else f"docker.io/{short}"


def split(reference: str) -> tuple[str, str]:
    """Repository and tag; the tag is `latest` where none is written."""
    head, colon, tag = reference.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (reference, "latest")


def is_repository_of(name: str, tag: str) -> bool:
    """Whether `name` has no tag, so that it asked for every tag of its repository, this one too."""
    return ":" not in name.rpartition("/")[2] and split(tag)[0] == name
