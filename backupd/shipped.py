"""The files that come with backupd: the example policy and what systemd reads.

Each has one source in the project's tree; the wheel carries a copy inside the package, and a
checkout serves its own. It only reads.
"""

from __future__ import annotations

from pathlib import Path

from backupd.errors import UsageError

_PACKAGE = Path(__file__).parent
_IN_WHEEL = _PACKAGE / "files"
_IN_CHECKOUT = _PACKAGE.parent

EXAMPLE_POLICY = "config.example.yaml"
UNIT = "systemd/backupd.service"
SYSUSERS = "systemd/backupd.sysusers.conf"


def shipped(name: str) -> str:
    """The text of one of the files above. Raises UsageError if this backupd came without it."""
    for place in (_IN_WHEEL, _IN_CHECKOUT):
        try:
            return (place / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            continue
    raise UsageError(f"cannot find {name}, which belongs to backupd; install backupd anew")
