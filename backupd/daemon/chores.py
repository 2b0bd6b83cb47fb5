"""What the daemon does by schedules of its own, beside the jobs: one row for each of `CHORES`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from backupd.policy import Policy
from backupd.run_record import DRILL, PRUNE, VERIFY
from backupd.site import Site
from backupd.verbs.drilling import run_drill
from backupd.verbs.pruning import run_prune
from backupd.verbs.recorded import Recorder
from backupd.verbs.task import Report
from backupd.verbs.verifying import run_verify


@dataclass(frozen=True, slots=True)
class Chore:
    """One thing that is done for the whole policy."""

    schedule_of: Callable[[Policy], str | None]
    """The cron expression; None where the policy wants it by hand only."""
    run: Callable[[Recorder, Site, Policy, str, Report], None]
    """Does it and records it under the name. Raises BackupdError."""


CHORES: dict[str, Chore] = {
    PRUNE: Chore(lambda policy: policy.prune.schedule, run_prune),
    VERIFY: Chore(lambda policy: policy.verify.schedule, run_verify),
    DRILL: Chore(lambda policy: policy.drill.schedule, run_drill),
}
