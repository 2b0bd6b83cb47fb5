"""What can still be had of a policy file that is wrong: where the state directory is.

`backupd status` must tell why a daemon did not follow a new policy, on the very file that it
refused.
"""

from __future__ import annotations

import re
from pathlib import Path

from backupd.config.file import read_file

_LINE = re.compile(rb"""^state_dir:[ \t]+(["']?)(/[^"'#\n]*?)\1[ \t]*(?:#.*)?\r?$""", re.MULTILINE)
_LARGEST_BYTES = 1 << 20


def salvaged_state_dir(path: Path) -> Path | None:
    """The `state_dir` that stands in the file, whatever else does; None where there is none."""
    try:
        content, _ = read_file(path, largest_bytes=_LARGEST_BYTES)
    except (OSError, ValueError):
        return None
    match = _LINE.search(content)
    return Path(match[2].decode(errors="surrogateescape")) if match else None
