"""What holds for all tests: those that Hypothesis makes are the same in each run, however slow."""

from __future__ import annotations

from hypothesis import settings

# A deadline would fail a test for what else the machine does; new examples, for luck.
settings.register_profile("backupd", deadline=None, derandomize=True)
settings.load_profile("backupd")
