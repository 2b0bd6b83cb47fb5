"""How many files this process may have open: each connection, lock and part of an upload is one.

A run that has none left in the middle can let no paused container go on, since that takes a
connection. So the limit is raised as far as the system allows, and too low a one is refused before
anything is touched.
"""

from __future__ import annotations

import resource

from backupd.errors import UsageError

WANTED = 4096
"""Enough for 32 sources at a time with 16 parts each; a soft limit of 256 is usual on some."""
LEAST = 64
"""Two sources at a time were seen to need 40."""


def make_room() -> None:
    """Raise the soft limit of open files as far as is needed and allowed. Raises UsageError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < WANTED:
        soft = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft != resource.RLIM_INFINITY and soft < LEAST:
        raise UsageError(
            f"cannot begin: this process may open {soft} files at most, and {LEAST} are needed; "
            "raise its limit (`ulimit -Hn`, LimitNOFILE= in a unit)"
        )
