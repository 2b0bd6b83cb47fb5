"""The policy: what to back up, when, where to and for how long, as validated models.

`backupd.config` makes a `Policy` of the file; verbs and the shell read it. Every model is frozen
and refuses what it does not know; a validator's message is the end of a sentence ("is not a time
zone …") that never repeats the value, so that the edge decides whether a value may be shown.
Pure: no clock, network, files or environment.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field

from backupd.policy.bucket_rules import ExpiresAfter, ObjectLock
from backupd.policy.consistency import AS_IT_IS, Consistency, Hook
from backupd.policy.docker import DockerSpec, TlsSpec
from backupd.policy.drill import Drill, DrillSource, Trial
from backupd.policy.encryption import Encryption, Identity
from backupd.policy.job import LONGEST_TIMEOUT, ORPHAN_GRACE, Compression, Job, Method
from backupd.policy.limits import Limits
from backupd.policy.prune import Percent, Prune, PruneWhen
from backupd.policy.retention import Retention
from backupd.policy.section import AbsolutePath, Flag, Section, TimeSpan, WholeNumber, check_filled
from backupd.policy.selectors import (
    ContainerContents,
    ContainerGlob,
    ContainerLabel,
    ContainerLiteral,
    ContainerSelector,
    ImageBundle,
    ImageGlob,
    ImageInUse,
    ImageLabel,
    ImageLiteral,
    ImageSelector,
    check_plain_name,
)
from backupd.policy.store import DEFAULT_STORE_URL, StoreSpec
from backupd.policy.telling import Metrics, Notify, Ping, PingUrls
from backupd.policy.verify import Verify
from backupd.policy.volumes import VolumeGlob, VolumeLabel, VolumeLiteral, VolumeSelector
from backupd.schedule import Schedule, check_zone

__all__ = [
    "AS_IT_IS",
    "DEFAULT_STORE_URL",
    "LONGEST_TIMEOUT",
    "ORPHAN_GRACE",
    "Compression",
    "Consistency",
    "ContainerContents",
    "ContainerGlob",
    "ContainerLabel",
    "ContainerLiteral",
    "ContainerSelector",
    "Defaults",
    "DockerSpec",
    "Drill",
    "DrillSource",
    "Encryption",
    "ExpiresAfter",
    "Hook",
    "ImageBundle",
    "ImageGlob",
    "ImageInUse",
    "ImageLabel",
    "ImageLiteral",
    "ImageSelector",
    "Job",
    "Limits",
    "Method",
    "Metrics",
    "Notify",
    "ObjectLock",
    "Ping",
    "Policy",
    "Prune",
    "Retention",
    "StoreSpec",
    "TlsSpec",
    "Trial",
    "Verify",
    "VolumeGlob",
    "VolumeLabel",
    "VolumeLiteral",
    "VolumeSelector",
]


def check_host(name: str) -> str:
    """`name`, if it may stand for a machine in the bucket. Raises ValueError."""
    if not name.isprintable() or name != name.strip() or "/" in name or len(name.encode()) > 200:
        raise ValueError("is not a host's name; write 1 to 200 characters without '/'")
    return name


JobName = Annotated[str, AfterValidator(check_plain_name)]


class Defaults(Section):
    """What holds for every job that does not say otherwise."""

    retention: Retention | None = None
    """Which backups stay; without it, all."""
    anomaly: Percent | None = None
    """By how much, in percent, a backup may be smaller than is usual for its source before it is
    flagged and pruning of the source waits; without it, nothing is odd."""
    encryption: Encryption | None = None
    """For whom archives and records are encrypted; without it, they are not."""


class Policy(Section):
    """All that one daemon needs to know."""

    timezone: Annotated[str, AfterValidator(check_zone)] = "UTC"
    """Time zone (IANA name) of schedules and of retention's periods."""
    host: Annotated[str, Field(min_length=1), AfterValidator(check_host)] | None = None
    """Name of this machine in the store; without it, the machine's host name."""
    state_dir: AbsolutePath | None = None
    """Directory for locks, journal and history; without it, /var/lib/backupd or the user's own."""
    docker: DockerSpec = DockerSpec()
    """The Docker engine to back up."""
    store: StoreSpec = StoreSpec()
    """Where backups live."""
    compression: Compression = Compression()
    """Compression of archives, such as {zstd: 2}, {gzip: 6} or none."""
    reuse_max_age: TimeSpan = Field(
        default=timedelta(days=30), json_schema_extra={"default": "30d"}
    )
    """How old an archive of an unchanged image may be and still serve a new backup; 0 for never."""
    require_encryption: Flag = False
    """Whether a policy with a job that would store in the clear is refused."""
    identity: Identity | None = None
    """Private key, as a reference, with which verify and drill open encrypted backups by
    themselves; without it, they cannot."""
    defaults: Defaults = Defaults()
    """What holds for every job that does not say otherwise."""
    prune: PruneWhen = Prune()
    """When old backups are removed: after each job, never, or {schedule: …}."""
    prune_limit: Percent = 50
    """Most of a source's backups, in percent, that one prune removes without a person's yes."""
    verify: Verify = Verify()
    """When backups are read back and checked by themselves."""
    drill: Drill = Drill()
    """When sources are restored for a trial, and what their containers have to do then."""
    parallel: Annotated[WholeNumber, Field(ge=1, le=32)] = 2
    """How many sources are read at a time, across all jobs; images always one by one."""
    limits: Limits = Limits()
    """What all work together may take of the line and of the machine."""
    stop_grace: TimeSpan = Field(
        default=timedelta(seconds=60), json_schema_extra={"default": "60s"}
    )
    """How long running jobs may go on when the daemon is told to stop; then they are cancelled."""
    metrics: Metrics | None = None
    """Numbers for Prometheus and a health check, on a port of this machine; without it, none."""
    notify: Notify | None = None
    """Messages about runs to mail, chat and phones; without it, none."""
    ping: PingUrls | None = None
    """Addresses asked for at start and end of the runs of jobs that have none of their own."""
    jobs: Annotated[dict[JobName, Job], AfterValidator(check_filled)] = Field(
        json_schema_extra={"minProperties": 1}
    )
    """The jobs by name, at least one."""

    def zone_of(self, job: Job) -> str:
        """IANA name of the time zone in which `job` is scheduled and its periods are counted."""
        return job.timezone or self.timezone

    def schedule_of(self, job: Job) -> Schedule | None:
        """When `job` is due; None if it runs by hand only."""
        return Schedule.parse(job.schedule, self.zone_of(job)) if job.schedule else None

    def compression_of(self, job: Job) -> Compression:
        """How `job` compresses its archives."""
        return job.compression or self.compression

    def ping_of(self, job: Job) -> Ping | None:
        """What is asked for when a run of `job` starts and ends; None for nothing."""
        return job.ping or self.ping

    @property
    def reusable_for(self) -> timedelta:
        """How old an archive may be and still serve a new backup, the bucket's rules heeded."""
        expiry = self.store.expires_after
        return min(self.reuse_max_age, expiry.reusable_for) if expiry else self.reuse_max_age

    def anomaly_of(self, job: Job) -> int | None:
        """How much smaller than usual is odd for `job`, in percent; None if nothing is."""
        return self.defaults.anomaly if job.anomaly is None else job.anomaly

    def recipients_of(self, job: Job) -> frozenset[str]:
        """For whom `job` encrypts what it stores; empty for nobody: it stores in the clear."""
        chosen = job.encryption or self.defaults.encryption
        return frozenset(chosen.recipients if chosen else ())

    def unencrypted_jobs(self) -> list[str]:
        """The jobs that store in the clear although `require_encryption` forbids it."""
        if not self.require_encryption:
            return []
        return [name for name, job in self.jobs.items() if not self.recipients_of(job)]

    def retention_of(self, job: Job) -> Retention | None:
        """Which backups of `job` stay; None if all."""
        return job.retention or self.defaults.retention
