"""What a machine ran out of, and what a person does about it.

The same few errors of the system come out of every edge: of files, of sockets, of libraries that
wrap them. They are told apart here by their number, wherever in an error they stand. Pure.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

_REMEDIES = {
    errno.EMFILE: "raise this process's limit of open files (`ulimit -n`, LimitNOFILE= in a unit)",
    errno.ENFILE: "raise this machine's limit of open files (`sysctl fs.file-max`)",
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space there, or raise the quota",
    errno.EROFS: "see in the kernel's log why its file system is read-only, and mount it writable",
}
_DEPTH = 10
"""Libraries wrap an error three or four times."""


def shortage(error: BaseException) -> OSError | None:
    """The error of the system inside `error` that says what there is no more of; None if none."""
    return next((one for one in _inside(error, _DEPTH) if one.errno in _REMEDIES), None)


def remedy(error: BaseException) -> str | None:
    """The next step for such an error; None for any other."""
    found = shortage(error)
    return None if found is None else _REMEDIES[found.errno or 0]


def _inside(error: object, depth: int) -> Iterator[OSError]:
    """All errors of the system in an error, in what caused it and in what it was made of."""
    if not isinstance(error, BaseException) or not depth:
        return
    if isinstance(error, OSError):
        yield error
    # urllib3 keeps what happened in `reason`, botocore in a dictionary of words.
    words = getattr(error, "kwargs", None)
    told = words.values() if isinstance(words, dict) else ()
    for inner in (error.__cause__, error.__context__, getattr(error, "reason", None), *told):
        yield from _inside(inner, depth - 1)
    for inner in error.args:
        yield from _inside(inner, depth - 1)
