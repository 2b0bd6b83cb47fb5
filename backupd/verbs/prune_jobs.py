"""Prune by the policy: plan every job that was asked for, carry it out, sweep what is forgotten."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from backupd.catalog import Catalog, StoredArchive
from backupd.layout import BackupKey
from backupd.policy import Job, Policy
from backupd.retention import Rules
from backupd.site import Site
from backupd.verbs.presence import note_absences
from backupd.verbs.prune import GroupPlan, Source, Terms, covering, plan
from backupd.verbs.remove import Removal, merged, remove, sweep

Present = Callable[[str, Job], Collection[Source] | None]
"""The sources that a job selects on the engine now; None when the engine cannot be asked."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What one listing of a host showed."""

    backups: Mapping[str, Sequence[BackupKey]]
    """Job → its backups, oldest first."""
    archives: Mapping[str, StoredArchive]

    @classmethod
    def of(cls, catalog: Catalog) -> Listing:
        """List the host's backups and archives."""
        by_job: dict[str, list[BackupKey]] = defaultdict(list)
        for backup in catalog.backups():
            by_job[backup.job].append(backup)
        return cls(by_job, catalog.archives())

    def freed_bytes(self, going: Iterable[BackupKey]) -> int:
        """The stored bytes of archives that nobody would name once these backups are gone."""
        gone = {backup.key for backup in going}
        every = [backup for backups in self.backups.values() for backup in backups]
        kept = {backup.archive_id for backup in every if backup.key not in gone}
        freed = {backup.archive_id for backup in every if backup.key in gone} - kept
        return sum(self.archives[one].size_bytes for one in freed if one in self.archives)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be pruned, and under which circumstances."""

    jobs: Sequence[str]
    """Jobs by name; those that the policy does not name need `rules`."""
    now: datetime
    rules: Rules | None = None
    """Rules instead of the policy's, given by a person: then every source of the job is meant."""
    failed: Mapping[str, Collection[Source]] | None = None
    """Job → sources whose backup has just failed."""


def plan_jobs(
    site: Site, policy: Policy, catalog: Catalog, listing: Listing, order: Order, present: Present
) -> list[GroupPlan]:
    """A plan for every group of every job in the order; nothing is removed yet."""
    plans: list[GroupPlan] = []
    for name in order.jobs:
        backups = listing.backups.get(name, ())
        job = policy.jobs.get(name)
        if order.rules is not None:
            zone = ZoneInfo(policy.zone_of(job) if job else policy.timezone)
            terms = Terms(order.rules, zone, order.now, policy.prune_limit)
        elif job is None:
            plans += plan(backups, listing.archives, _unnamed(policy, order.now))
            continue
        else:
            terms = _terms(site, policy, catalog, order, present, name=name, backups=backups)
        plans += plan(backups, listing.archives, terms)
    return plans


def unnamed_jobs(policy: Policy, listing: Listing) -> list[str]:
    """Jobs that have backups and that the policy no longer names."""
    return sorted(set(listing.backups) - set(policy.jobs))


def _terms(
    site: Site,
    policy: Policy,
    catalog: Catalog,
    order: Order,
    present: Present,
    *,
    name: str,
    backups: Sequence[BackupKey],
) -> Terms:
    job = policy.jobs[name]
    retention = policy.retention_of(job)
    rules = retention.rules() if retention else Rules()
    there = present(name, job) if rules.gone_after is not None else None
    return Terms(
        rules,
        ZoneInfo(policy.zone_of(job)),
        order.now,
        policy.prune_limit,
        is_covered=covering(job, catalog),
        gone_since=(
            note_absences(site.state, name, backups, there, order.now)
            if there is not None
            else lambda _: None
        ),
        failed=(order.failed or {}).get(name, ()),
    )


def _unnamed(policy: Policy, now: datetime) -> Terms:
    """Terms for a job that the policy no longer names: nobody answers for any of its sources."""
    return Terms(
        Rules(), ZoneInfo(policy.timezone), now, policy.prune_limit, is_covered=lambda _: False
    )


def carry_out(
    site: Site, catalog: Catalog, plans: Sequence[GroupPlan], *, yes: bool = False
) -> Removal:
    """Remove what the plans let go, and on this host's own prefix sweep what is forgotten."""
    going = [backup for one in plans for backup in one.going(yes=yes)]
    removal = remove(site, catalog, going, "prune")
    if catalog.host != site.host:
        return removal
    return merged(removal, sweep(site, catalog, site.now()))


def prune_after(
    site: Site, policy: Policy, order: Order, present: Present
) -> tuple[list[GroupPlan], Removal]:
    """What follows a backup by itself: plan and carry out, without a person's yes."""
    catalog = site.catalog
    plans = plan_jobs(site, policy, catalog, Listing.of(catalog), order, present)
    return plans, carry_out(site, catalog, plans)
