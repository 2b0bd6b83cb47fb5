"""`${env:NAME}`, `${file:/path}` and `${credential:NAME}`: values that the file does not hold.

A reference is the whole of a text. What it gives is never shown: problems name the reference.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from backupd.config.file import read_file

_REFERENCE = re.compile(r"\$\{(env|file|credential):([^{}]*)\}")
_LARGEST_BYTES = 64 * 1024
CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
"""Set by systemd for a unit with LoadCredential= (systemd.exec(5), "Credentials")."""


class BadReferenceError(Exception):
    """A reference that gives nothing; the message is the rest of a sentence about it."""


def is_reference(text: object) -> bool:
    """Whether `text` is a reference, well written or not."""
    if not isinstance(text, str):
        return False
    return bool(re.search(r"\$\{(env|file|credential):", text) or re.fullmatch(r"\$\{.*\}", text))


def is_well_formed(text: str) -> bool:
    """Whether `text` is a reference and nothing else, so that it may be shown."""
    return bool(_REFERENCE.fullmatch(text))


def resolve(text: str, *, environ: Mapping[str, str], secret: bool) -> str:
    """What the reference `text` gives, without the line break at its end.

    With `secret`, a file that everyone may read is refused. Raises BadReferenceError.
    """
    match = _REFERENCE.fullmatch(text)
    if match is None or not match[2]:
        raise BadReferenceError(
            "is not a reference; write ${env:NAME}, ${file:/path} or ${credential:NAME}, as the "
            "whole value"
        )
    source, name = match[1], match[2]
    if source == "env":
        value = _from_environment(name, environ)
    elif source == "credential":
        value = _read(_credential_path(name, environ), secret=False)
    else:
        path = Path(name)
        if not path.is_absolute():
            raise BadReferenceError("needs a full path; begin it with /")
        value = _read(path, secret=secret)
    return value.removesuffix("\n").removesuffix("\r")


def read_secret(text: str, *, environ: Mapping[str, str]) -> bytes:
    """What the reference `text`, or the file of this path, holds; it need not be text.

    A file that everyone may read is refused. Raises BadReferenceError.
    """
    match = _REFERENCE.fullmatch(text)
    if match is None or not match[2]:
        return _read_bytes(Path(text), secret=True)
    source, name = match[1], match[2]
    if source == "env":
        return _from_environment(name, environ).encode("utf-8", "surrogateescape")
    if source == "credential":
        return _read_bytes(_credential_path(name, environ), secret=False)
    return _read_bytes(Path(name), secret=True)


def _from_environment(name: str, environ: Mapping[str, str]) -> str:
    value = environ.get(name)
    if value is None:
        raise BadReferenceError("names a variable that is not set in the environment")
    if not value:
        raise BadReferenceError("names a variable that is empty")
    return value


def _credential_path(name: str, environ: Mapping[str, str]) -> Path:
    directory = environ.get(CREDENTIALS_VARIABLE)
    if not directory:
        raise BadReferenceError(
            f"needs ${CREDENTIALS_VARIABLE}, which systemd sets for a service; "
            f"add LoadCredential={name if re.fullmatch(r'[A-Za-z0-9._-]+', name) else 'NAME'}:… "
            "to the unit"
        )
    if "/" in name or name in {".", ".."}:
        raise BadReferenceError("has a path where the name of a credential belongs")
    return Path(directory) / name


def _read(path: Path, *, secret: bool) -> str:
    content = _read_bytes(path, secret=secret)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        # Not chained: the error would carry the file's bytes.
        raise BadReferenceError("names a file that is not text in UTF-8") from None


def _read_bytes(path: Path, *, secret: bool) -> bytes:
    try:
        content, mode = read_file(path, largest_bytes=_LARGEST_BYTES)
    except (OSError, ValueError) as error:
        raise BadReferenceError(_why_unreadable(error)) from error
    if not stat.S_ISREG(mode):
        raise BadReferenceError("names something that is not a file")
    if secret and mode & stat.S_IROTH:
        raise BadReferenceError(
            f"names a secret's file that everyone on this machine may read; run: chmod o= '{path}'"
        )
    if len(content) > _LARGEST_BYTES:
        raise BadReferenceError("names a file of more than 64 KiB")
    if not content.strip():
        raise BadReferenceError("names a file that is empty")
    return content


def _why_unreadable(error: OSError | ValueError) -> str:
    if not isinstance(error, OSError):
        return "names a path that no file can have"
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return "names a file that does not exist"
    if error.errno in {errno.EACCES, errno.EPERM}:
        return "names a file that this user may not read"
    return f"names a file that cannot be read ({os.strerror(error.errno or errno.EIO).lower()})"
