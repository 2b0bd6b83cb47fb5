"""Prune by the policy: plan every job that was asked for, carry it out, sweep what is forgotten."""

from __future__ import annotations

import gc
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from backupd.catalog import Catalog, StoredArchive
from backupd.layout import DAMAGED, BackupKey
from backupd.policy import Job, Policy
from backupd.retention import Rules
from backupd.site import Site
from backupd.verbs.presence import absences, remember
from backupd.verbs.prune import GroupPlan, Source, Terms, as_listed, covering, plan
from backupd.verbs.remove import (
    Removal,
    drop_uploads,
    forgotten_before,
    merged,
    remove,
)

Present = Callable[[str, Job], Collection[Source] | None]
"""What is on the engine now, seen by a job; None when the engine cannot be asked."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What one listing of a host showed."""

    backups: Mapping[str, Sequence[BackupKey]]
    """Job → its backups, oldest first."""
    stored: Sequence[StoredArchive]
    sound: frozenset[str]
    """The ids of archives that are there and failed no check, whichever backup says so."""
    has_strays: bool

    @classmethod
    def of(cls, catalog: Catalog) -> Listing:
        """List the host's backups, then its archives: a backup just made has its archive then."""
        by_job: dict[str, list[BackupKey]] = defaultdict(list)
        with _collecting_rarely():
            contents = catalog.contents()
            stored = catalog.stored()
        for backup in contents.backups:
            by_job[backup.job].append(backup)
        damaged = {backup.archive_id for backup in contents.backups if DAMAGED in backup.states}
        there = {one.archive_id for one in stored if not one.is_record}
        return cls(by_job, stored, frozenset(there - damaged), bool(contents.strays))

    def freed_bytes(self, going: Iterable[BackupKey]) -> int:
        """The stored bytes that nobody would name once these backups are gone."""
        gone = Counter(backup.archive_id for backup in going)
        if not gone:
            return 0
        named = Counter(backup.archive_id for backup in self._every())
        return sum(
            one.size_bytes
            for one in self.stored
            if one.archive_id in gone and gone[one.archive_id] == named[one.archive_id]
        )

    def may_have_forgotten(self, before: datetime, locked_for: timedelta) -> bool:
        """Whether there may be something older than that which belongs to no backup.

        What may still be locked does not count.
        """
        named = {backup.archive_id for backup in self._every()}
        orphans = (one for one in self.stored if one.archive_id not in named)
        return self.has_strays or any(one.made_at < before - locked_for for one in orphans)

    def _every(self) -> Iterable[BackupKey]:
        return (backup for backups in self.backups.values() for backup in backups)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be pruned, and under which circumstances."""

    jobs: Sequence[str]
    """Jobs by name; those that the policy does not name need `rules`."""
    now: datetime
    rules: Rules | None = None
    """Rules instead of the policy's, given by a person: then every source of the job is meant."""
    failed: Mapping[str, Collection[Source]] = field(default_factory=dict)
    """Job → sources whose backup has just failed."""
    only_look: bool = False
    """Not even to remember which sources are absent."""


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
            terms = Terms(
                order.rules,
                zone,
                order.now,
                policy.prune_limit,
                locked_for=catalog.store.locked_for,
            )
        elif job is None:
            terms = _unnamed(policy, order.now)
        else:
            terms = _terms(site, policy, catalog, order, present, name=name, backups=backups)
        with _collecting_rarely():
            plans += plan(backups, listing.sound, terms)
    return plans


@contextmanager
def _collecting_rarely() -> Iterator[None]:
    """Keep the garbage collector from walking again and again over values that all stay.

    With a hundred thousand backups that takes more than a third of the CPU.
    """
    usual = gc.get_threshold()
    gc.set_threshold(100_000, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


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
    absent: dict[Source, datetime] = {}
    # Another host's sources are not expected on this machine's engine.
    if rules.gone_after is not None and catalog.host == site.host:
        there = present(name, job)
        if there is not None:
            absent = absences(site.state, name, backups, there, order.now)
            if not order.only_look:
                remember(site.state, name, absent, site.cancel)
    return Terms(
        rules,
        ZoneInfo(policy.zone_of(job)),
        order.now,
        policy.prune_limit,
        is_covered=covering(job, catalog),
        gone_since=absent.get,
        locked_for=catalog.store.locked_for,
        failed={as_listed(*source) for source in order.failed.get(name, ())},
    )


def _unnamed(policy: Policy, now: datetime) -> Terms:
    """Terms for a job that the policy no longer names: nobody answers for any of its sources."""
    return Terms(
        Rules(), ZoneInfo(policy.timezone), now, policy.prune_limit, is_covered=lambda _: False
    )


def carry_out(
    site: Site,
    catalog: Catalog,
    listing: Listing,
    plans: Sequence[GroupPlan],
    *,
    yes: bool = False,
) -> Removal:
    """Remove what the plans let go, and on this host's own prefix sweep what is forgotten."""
    going = [backup for one in plans for backup in one.going(yes=yes)]
    if catalog.host != site.host:
        return remove(site, catalog, going, "prune") if going else Removal()
    before = forgotten_before(site)
    removal = Removal()
    if going or listing.may_have_forgotten(before, catalog.store.locked_for):
        removal = remove(site, catalog, going, "prune", orphans_before=before)
    return merged(removal, drop_uploads(site, catalog, before))


def prune_after(
    site: Site, policy: Policy, order: Order, present: Present
) -> tuple[list[GroupPlan], Removal]:
    """What follows a backup by itself: plan and carry out, without a person's yes.

    Nothing is removed once there is a wish to stop; what has begun goes on to its end. Raises
    StoreError when the store fails, or when the host's prefix is another machine's; Cancelled.
    """
    catalog = site.catalog
    catalog.require_ours(site.state.machine_id())
    listing = Listing.of(catalog)
    site.cancel.raise_if_set()
    plans = plan_jobs(site, policy, catalog, listing, order, present)
    site.cancel.raise_if_set()
    return plans, carry_out(site, catalog, listing, plans)
