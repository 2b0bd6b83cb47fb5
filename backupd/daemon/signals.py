"""Signals become acts of the loop: a handler interrupts anything, so it only puts one into a queue.

They stay so until the process ends: a second `systemctl stop` that comes while the last words are
said must not turn an end in order into one that looks like a failure.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping

Act = Callable[[], object]


def heed(acts: Mapping[signal.Signals, Act], put: Callable[[Act], object]) -> None:
    """From now on each of these signals hands its act to `put`, which must take it anywhere."""
    for number, act in acts.items():
        signal.signal(number, lambda *_, act=act: put(act))
