"""Whether a backup is oddly small for its source: what a database loses, no checksum notices.

Pure: the sizes of the earlier backups are a parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

PREDECESSORS = 5
"""So many earlier backups make the usual size. Oddly small ones count too: what became small for
good is usual from the fourth small backup on."""


def shrinkage(size_bytes: int, earlier_bytes: Sequence[int], percent: int | None) -> str:
    """What is odd about the size, as a sentence; empty if nothing is.

    Odd is a size that is more than `percent` below the median of the newest `PREDECESSORS` of
    `earlier_bytes`, which come newest first; None turns that off.
    """
    if percent is None or not earlier_bytes:
        return ""
    usual_bytes = median(earlier_bytes[:PREDECESSORS])
    if size_bytes * 100 >= usual_bytes * (100 - percent):
        return ""
    less = 100 - int(size_bytes * 100 // usual_bytes)
    return (
        f"it is {less} % smaller than usual: {size_bytes} bytes, where the median of the last "
        f"{len(earlier_bytes[:PREDECESSORS])} is {int(usual_bytes)}; look at the source; "
        "its older backups stay until a usual one is made, or `backupd prune --yes`"
    )
