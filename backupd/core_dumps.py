"""No dump of this process' memory, which holds the store's keys and whatever is being backed up.

The unit of systemd forbids it too (LimitCORE=0); this is for commands, and for daemons without it.
"""

from __future__ import annotations

import ctypes
import resource
import sys
from contextlib import suppress

_PR_SET_DUMPABLE = 4
"""prctl(2). A limit alone is not heeded where the kernel hands dumps to a program (core(5))."""


def forbid() -> None:
    """Keep a crash of this process from writing its memory anywhere; root may still look at it.

    The limit holds for the programs that it starts too.
    """
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
