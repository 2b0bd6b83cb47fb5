"""Verify by a schedule of its own, recorded in the history."""

from __future__ import annotations

from collections import Counter

from backupd.policy import Policy
from backupd.proof import Depth
from backupd.site import Site
from backupd.verbs.examine import Finding, Verdict
from backupd.verbs.recorded import Ending, Recorder, recorded
from backupd.verbs.task import Report
from backupd.verbs.verify import Audience, sampled, verify

SHOWN = 5
"""After so many damaged backups a person knows."""


def run_verify(recorder: Recorder, site: Site, policy: Policy, name: str, report: Report) -> None:
    """Verify a share of the host's backups; the record stands under `name`. Raises BackupdError."""
    recorded(recorder, site.now, name, lambda: _verify(site, policy, report))


def _verify(site: Site, policy: Policy, report: Report) -> Ending:
    catalog, wish = site.catalog, policy.verify
    depth = Depth.DATA if wish.data else Depth.OBJECTS
    backups = sampled(catalog, catalog.backups(), wish.sample, depth)

    # Without any key that is all that can be done; with one, somebody expects that it opens them.
    is_fine = set() if site.identities else {Verdict.SEALED}

    def told(finding: Finding) -> None:
        if finding.cause and finding.verdict not in is_fine:
            report.note(f"warning: {finding.cause}")

    audience = Audience(lambda _: lambda _: None, told, report.note)
    findings = verify(site, catalog, backups, depth, audience)
    words = summary(findings, depth)
    report.note(words)
    causes = [one.cause for one in findings if one.cause and one.verdict not in is_fine]
    more = [f"and {len(causes) - SHOWN} more"] if len(causes) > SHOWN else []
    note = "; ".join([words, *causes[:SHOWN], *more])
    return Ending("failed" if causes else "good", note)


def summary(findings: list[Finding], depth: Depth) -> str:
    """`verified 12 of 13 backups, 1 damaged`."""
    counts = Counter(finding.verdict for finding in findings)
    there = len(findings) - counts[Verdict.GONE]
    parts = [f"{depth.value} {counts[Verdict.PROVEN]} of {there} backups"]
    if counts[Verdict.DAMAGED]:
        parts.append(f"{counts[Verdict.DAMAGED]} damaged")
    if counts[Verdict.UNREAD]:
        parts.append(f"{counts[Verdict.UNREAD]} out of reach")
    if counts[Verdict.SEALED]:
        parts.append(
            f"{counts[Verdict.SEALED]} sealed: their stored bytes are right, but without the key "
            "nobody looked at the tars inside"
        )
    return ", ".join(parts)
