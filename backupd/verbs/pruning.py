"""Prune by a schedule of its own, recorded in the history."""

from __future__ import annotations

from backupd.policy import Policy
from backupd.site import Site
from backupd.verbs.job import presence
from backupd.verbs.prune_jobs import Order, prune_after
from backupd.verbs.recorded import Ending, Recorder, recorded
from backupd.verbs.task import Report


def run_prune(recorder: Recorder, site: Site, policy: Policy, name: str, report: Report) -> None:
    """Prune every job of the policy; the record stands under `name`. Raises BackupdError."""
    recorded(recorder, site.now, name, lambda: _prune(site, policy, report))


def _prune(site: Site, policy: Policy, report: Report) -> Ending:
    order = Order(list(policy.jobs), site.now())
    plans, removal = prune_after(site, policy, order, presence(site.engine, report.note))
    objections = [plan.objection.sentence for plan in plans if plan.objection]
    for sentence in [*objections, *removal.complaints]:
        report.note(f"warning: {sentence}")
    report.note(f"pruned {len(removal.backups)} old backups of all jobs")
    # One that is just being restored, or was just pinned, stays rightly: the next prune looks anew.
    has_failed = bool(objections or removal.refused)
    return Ending("failed" if has_failed else "good", "; ".join([*objections, *removal.complaints]))
