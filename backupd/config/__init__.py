"""The policy file → a `Policy`, or all of its problems at once, each with file, line and path.

    bytes → document (values and their places) → references resolved → models → Policy

An edge: it reads the file, what references name, and the environment it is given. Nothing that a
reference gives, and no value under a secret's key, ever stands in a problem or a warning.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr, ValidationError

from backupd.age_keys import is_private
from backupd.config.document import Document, Finding, Spot, read
from backupd.config.file import read_file
from backupd.config.references import (
    BadReferenceError,
    is_reference,
    is_well_formed,
    resolve,
)
from backupd.config.secrets import SECRET_KEYS, is_secret
from backupd.config.syntax import NotYamlError
from backupd.config.wording import findings
from backupd.errors import PolicyError, Problem
from backupd.policy import Policy

PATH_VARIABLE = "BACKUPD_CONFIG"
DEFAULT_PATH = Path("/etc/backupd/config.yaml")
LARGEST_FILE_BYTES = 1024**2
EXTENSION_PREFIX = "x-"
"""Top-level keys that begin so are skipped: a place for anchors, as in Compose files."""


@dataclass(frozen=True)
class Loaded:
    """A valid policy, and what is allowed in it but unwise."""

    policy: Policy
    warnings: tuple[str, ...]
    store_references: Mapping[str, str] = field(default_factory=dict)
    """The secrets of `store` that stand elsewhere: key → reference."""


def default_path(environ: Mapping[str, str]) -> Path:
    """Where the policy is when nobody says: $BACKUPD_CONFIG, then /etc/backupd/config.yaml."""
    return Path(environ.get(PATH_VARIABLE) or DEFAULT_PATH)


def load(path: Path, *, environ: Mapping[str, str]) -> Loaded:
    """The policy in the file at `path`. Raises PolicyError with every problem found."""
    text, mode = _read(path)
    try:
        document = read(text)
    except NotYamlError as error:
        raise PolicyError([Problem(str(path), error.line, "", error.cause)]) from error
    references = _store_references(document.root)
    found = [*document.findings, *resolve_below(document.root, (), environ)]
    policy, more = _validate(document, found)
    found += more
    if policy is None or found:
        found.sort(key=lambda one: one.line)
        raise PolicyError([_problem(path, one) for one in found])
    warnings = [*_warnings(path, mode, document.root), *_exposure(path, policy, document.root)]
    return Loaded(policy, tuple(warnings), references)


def renewed(loaded: Loaded, *, environ: Mapping[str, str]) -> Policy:
    """The policy with its store's keys read again from where they stand: others may rotate them.

    What cannot be read stays as it was; if that is of no use any more, the store will say so.
    """
    fresh: dict[str, SecretStr] = {}
    for key, reference in loaded.store_references.items():
        with suppress(BadReferenceError):
            fresh[key] = SecretStr(resolve(reference, environ=environ, secret=True))
    store = loaded.policy.store.model_copy(update=fresh)
    return loaded.policy.model_copy(update={"store": store})


def _store_references(root: Spot) -> dict[str, str]:
    store = root.children.get("store")
    return {
        str(key): str(spot.value)
        for key, spot in (store.children.items() if store is not None else ())
        if key in SECRET_KEYS and is_reference(spot.value)
    }


def _read(path: Path) -> tuple[str, int]:
    """The text and the mode of the file. Raises PolicyError."""
    try:
        content, mode = read_file(path, largest_bytes=LARGEST_FILE_BYTES)
    except FileNotFoundError as error:
        cause = (
            f"does not exist; write a policy there (config.example.yaml is a start), or name "
            f"another with --config or ${PATH_VARIABLE}"
        )
        raise _refusal(path, cause) from error
    except PermissionError as error:
        raise _refusal(path, "may not be read by this user; run as root or as its owner") from error
    except (OSError, ValueError) as error:
        raise _refusal(path, "cannot be read; check the path") from error
    if stat.S_ISDIR(mode):
        raise _refusal(path, "is a directory; name the file in it")
    if not stat.S_ISREG(mode):
        raise _refusal(path, "is not a file")
    if len(content) > LARGEST_FILE_BYTES:
        raise _refusal(path, "is larger than 1 MiB, so it is no policy")
    try:
        return content.decode("utf-8-sig"), mode
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        cause = "has bytes that are not UTF-8; save the file as UTF-8"
        raise PolicyError([Problem(str(path), line, "", cause)]) from None


def _refusal(path: Path, cause: str) -> PolicyError:
    return PolicyError([Problem(str(path), None, "", cause)])


def resolve_below(
    spot: Spot, at: tuple[str | int, ...], environ: Mapping[str, str]
) -> Iterator[Finding]:
    """Put in place of each reference what it gives; yield those that give nothing."""
    if isinstance(spot.value, str) and is_reference(spot.value):
        secret = is_secret(at)
        shown = "the value" if secret and not is_well_formed(spot.value) else spot.value
        try:
            spot.value = resolve(spot.value, environ=environ, secret=secret)
        except BadReferenceError as error:
            spot.value = None
            yield Finding(spot.line, at, f"{shown} {error}")
    for step, child in spot.children.items():
        yield from resolve_below(child, (*at, step), environ)


def _validate(document: Document, found: list[Finding]) -> tuple[Policy | None, list[Finding]]:
    """The policy, or what the models find wrong beyond what is known already."""
    root = document.root
    if isinstance(root.value, dict):
        for key in [key for key in root.children if str(key).startswith(EXTENSION_PREFIX)]:
            del root.children[key]
    try:
        policy = Policy.model_validate(root.plain())
        return policy, list(_in_the_clear(policy, root))
    except ValidationError as error:
        # Not chained anywhere: pydantic's error holds the values, secrets among them.
        more = list(findings(error, root))
    return None, [one for one in more if not _is_known(one.at, found)]


def _in_the_clear(policy: Policy, root: Spot) -> Iterator[Finding]:
    """The jobs that the policy's own `require_encryption` refuses."""
    jobs = root.children["jobs"].children
    for name in policy.unencrypted_jobs():
        spot, at = jobs[name], ["jobs", name]
        if "encryption" in spot.children:
            spot, at = spot.children["encryption"], [*at, "encryption"]
        yield Finding(
            spot.line,
            tuple(at),
            "would store in the clear, which 'require_encryption: true' refuses; name recipients "
            "under 'encryption' of the job or of 'defaults'",
        )


def _is_known(at: tuple[str | int, ...], found: list[Finding]) -> bool:
    """Whether a problem here, or one that left a hole below here, was found before."""
    return any(one.at[: len(at)] == at for one in found)


def _problem(path: Path, finding: Finding) -> Problem:
    return Problem(str(path), finding.line, _path_text(finding.at), finding.cause)


def _path_text(at: tuple[str | int, ...]) -> str:
    """`at` as a person writes it: jobs.nightly.images[0]."""
    text = ""
    for step in at:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            step = "…" if is_private(step) else step
            plain = re.fullmatch(r"[A-Za-z0-9_-]+", step)
            text += f".{step}" if plain else f".{step!r}"
    return text.removeprefix(".")


def _warnings(path: Path, mode: int, root: Spot) -> Iterator[str]:
    for spot, at in _secrets(root, ()):
        where = f"{path}:{spot.line}: {_path_text(at)}"
        if spot.raw is None or is_reference(spot.raw):
            continue
        if mode & stat.S_IROTH:
            yield (
                f"{where}: a secret stands in a file that everyone on this machine may read; "
                f"run: chmod o= '{path}', or move it out with ${{file:…}}"
            )
        if spot.comment.startswith("#") and not spot.comment.startswith("# "):
            yield (
                f"{where}: what follows ' #' is a comment; "
                "if it belongs to the value, write the value in quotes"
            )


def _exposure(path: Path, policy: Policy, root: Spot) -> Iterator[str]:
    if policy.metrics is not None and not policy.metrics.is_loopback:
        spot = root.children["metrics"].children["listen"]
        yield (
            f"{path}:{spot.line}: metrics.listen: is not this machine alone; everyone who reaches "
            "the address can read the names of jobs and when they ran, without a password"
        )


def _secrets(spot: Spot, at: tuple[str | int, ...]) -> Iterator[tuple[Spot, tuple[str | int, ...]]]:
    if is_secret(at):
        yield spot, at
    for step, child in spot.children.items():
        yield from _secrets(child, (*at, step))
