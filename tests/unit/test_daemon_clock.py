"""A clock that is set back is noticed once; one that is corrected, or set forward, is not."""

from __future__ import annotations

import pytest

from backupd.daemon.clock import ClockWatch


@pytest.mark.parametrize(
    ("step_seconds", "expected"), [(-3600.0, True), (-30.0, False), (0.0, False), (3600.0, False)]
)
def test_only_a_step_back_is_one(step_seconds: float, expected: bool) -> None:
    clocks = {"wall": 5000.0, "steady": 100.0}
    watch = ClockWatch(lambda: clocks["wall"], lambda: clocks["steady"])
    clocks["wall"] += 10 + step_seconds
    clocks["steady"] += 10

    assert [expected, False] == [watch.was_set_back(), watch.was_set_back()]
