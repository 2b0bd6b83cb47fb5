"""Drill by a schedule of its own, recorded in the history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from backupd.policy import Policy
from backupd.site import Site
from backupd.verbs.drill import Audience, Result, Verdict, drill, meant, newest_of_each
from backupd.verbs.recorded import Ending, Recorder, recorded
from backupd.verbs.task import Report

SHOWN = 5
"""After so many that did not come up a person knows."""

_BAD = (Verdict.DAMAGED, Verdict.FAILED)


def run_drill(recorder: Recorder, site: Site, policy: Policy, name: str, report: Report) -> None:
    """Drill the sources of the policy; the record stands under `name`. Raises BackupdError."""
    recorded(recorder, site.now, name, lambda: _drill(site, policy, report))


def _drill(site: Site, policy: Policy, report: Report) -> Ending:
    wishes = policy.drill
    chosen, unknown = meant(wishes, newest_of_each(site.catalog.backups()))

    def told(result: Result) -> None:
        is_good = result.verdict is Verdict.PROVEN
        report.note(result.sentence if is_good else f"warning: {result.sentence}")

    audience = Audience(lambda _: lambda _: None, told, report.note)
    results = drill(site, chosen, wishes, audience, keep=False)
    words = summary(results)
    report.note(words)
    bad = [f"drill.sources: {name!r} means no source that has a backup" for name in unknown]
    for sentence in bad:
        report.note(f"warning: {sentence}")
    bad += [one.sentence for one in results if one.verdict in _BAD]
    # Last: that it cannot be drilled is no failure, but nobody should take it for a proof.
    told_of = bad + [one.sentence for one in results if one.verdict is Verdict.REFUSED]
    more = [f"and {len(told_of) - SHOWN} more"] if len(told_of) > SHOWN else []
    return Ending("failed" if bad else "good", "; ".join([words, *told_of[:SHOWN], *more]))


def summary(results: Sequence[Result]) -> str:
    """`proved 3 of 5 sources, 1 failed, 1 cannot be drilled`."""
    counts = Counter(result.verdict for result in results)
    parts = [f"proved {counts[Verdict.PROVEN]} of {len(results)} sources"]
    others = (Verdict.FAILED, Verdict.DAMAGED, Verdict.REFUSED)
    parts += [f"{counts[one]} {one.value}" for one in others if counts[one]]
    return ", ".join(parts)
