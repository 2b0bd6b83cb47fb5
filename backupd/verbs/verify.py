"""Verify: prove backups, and keep beside each manifest what came of it.

A good one gets the state `checked` or `verified`, one whose key is not there `sealed`, a bad one
`damaged`; only a whole read takes
`damaged` away again. Nothing else is written, and below another machine's prefix nothing at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from backupd.catalog import Catalog
from backupd.errors import StoreError
from backupd.layout import DAMAGED, SEALED, BackupKey
from backupd.proof import Depth, longest_unproven
from backupd.site import Site
from backupd.verbs.examine import Examiner, Finding, Verdict
from backupd.verbs.proofs import remember
from backupd.verbs.transfer import Progress


@dataclass(frozen=True, slots=True)
class Audience:
    """Who is told how it goes."""

    begin: Callable[[BackupKey], Progress]
    """A backup begins; what comes back is told its plain bytes."""
    end: Callable[[Finding], None]
    note: Callable[[str], None]
    """Something a person should know."""


def sampled(
    catalog: Catalog, backups: Sequence[BackupKey], percent: int, depth: Depth
) -> list[BackupKey]:
    """A share of the backups, by archives: those that nobody has looked at for longest.

    And all whose archive a listing does not show, since a look at keys is enough to see that.
    """
    if percent >= 100:
        return list(backups)
    chosen = {backup.key for backup in longest_unproven(backups, percent, depth)}
    stored = catalog.archives()
    return [backup for backup in backups if backup.key in chosen or backup.archive_id not in stored]


def verify(
    site: Site, catalog: Catalog, backups: Sequence[BackupKey], depth: Depth, audience: Audience
) -> list[Finding]:
    """A finding for each of the backups, which are all of the catalog's host.

    What is found is kept where the host's prefix is this machine's own. Raises StoreError when
    nothing in the store can be read any more, Cancelled.
    """
    keeper = _Keeper(catalog, depth, audience.note) if is_ours(site, catalog) else None
    progress = _Progress()
    examiner = Examiner(site, catalog, depth, progress, count=len(backups))
    findings: list[Finding] = []
    for backup in backups:
        site.cancel.raise_if_set()
        progress.to = audience.begin(backup)
        finding = examiner.examine(backup)
        if keeper is not None:
            keeper.keep(finding)
        audience.end(finding)
        findings.append(finding)
        if finding.verdict is Verdict.UNREAD:
            # One object may be out of reach; where none can be read, there is no going on.
            catalog.facts()
    if keeper is not None:
        remember(site.state, catalog.backups())
    return findings


def damaged(findings: Iterable[Finding]) -> list[Finding]:
    """Those of damaged backups."""
    return [finding for finding in findings if finding.verdict is Verdict.DAMAGED]


def unread(findings: Iterable[Finding]) -> list[Finding]:
    """Those of backups of which nothing is known, since the store failed."""
    return [finding for finding in findings if finding.verdict is Verdict.UNREAD]


def sealed(findings: Iterable[Finding]) -> list[Finding]:
    """Those of encrypted backups that were not looked into, for want of their key."""
    return [finding for finding in findings if finding.verdict is Verdict.SEALED]


class _Progress:
    """Hands on to whoever is told now."""

    def __init__(self) -> None:
        self.to: Progress = lambda _: None

    def __call__(self, done_bytes: int) -> None:
        self.to(done_bytes)


def is_ours(site: Site, catalog: Catalog) -> bool:
    """Whether this machine is the one that writes below the catalog's prefix."""
    if catalog.host != site.host:
        return False
    facts = catalog.facts()
    return (
        facts is not None
        and facts.adopted_by is None
        and facts.machine_id == site.state.machine_id()
    )


class _Keeper:
    """Writes what was found beside the manifests."""

    def __init__(self, catalog: Catalog, depth: Depth, note: Callable[[str], None]) -> None:
        self._store = catalog.store
        self._depth = depth
        self._note = note
        self._is_tired = False

    def keep(self, finding: Finding) -> None:
        """Keep a finding; that it cannot be kept is told once, and changes nothing else."""
        if self._is_tired:
            return
        try:
            self._write(finding)
        except StoreError as error:
            self._is_tired = True
            self._note(f"warning: what is found cannot be kept beside the backups: {error}")

    def _write(self, finding: Finding) -> None:
        backup = finding.backup
        if finding.verdict is Verdict.PROVEN:
            self._store.put_bytes(backup.state_key(self._depth.value), b"")
            if DAMAGED in backup.states and self._depth is Depth.DATA:
                for refusal in self._store.delete([backup.state_key(DAMAGED)]):
                    raise StoreError(f"cannot delete {refusal.key}: {refusal.cause}")
        elif finding.verdict is Verdict.SEALED:
            # A mark of damage stays: what is inside may be what is damaged.
            self._store.put_bytes(backup.state_key(SEALED), b"")
        # One that is known already keeps the moment at which it failed, unless it was read again.
        elif finding.verdict is Verdict.DAMAGED and (
            DAMAGED not in backup.states or self._depth is Depth.DATA
        ):
            self._store.put_bytes(backup.state_key(DAMAGED), b"")
