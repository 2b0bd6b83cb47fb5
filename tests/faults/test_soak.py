"""The short form of the soak; `make soak` is the long one."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from tests.faults.counts import DONE
from tests.faults.soak import soak
from tests.faults.soak_world import world
from tests.faults.test_killed_at_random import SEED

RUNS = 10


def test_after_runs_with_random_faults_every_backup_restores_to_what_its_source_held(
    tmp_path: Path,
) -> None:
    seed = int(os.environ.get(SEED) or secrets.randbits(32))
    print(f"{SEED}={seed}")
    before = DONE.faults, DONE.backups
    with world(tmp_path, seed) as where:
        soak(where, RUNS)

    assert before[0] < DONE.faults
    assert before[1] + len(where.truth) < DONE.backups
