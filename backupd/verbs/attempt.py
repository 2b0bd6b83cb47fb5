"""The attempt to back up one source, step by step, so that several can stand still together.

prepare → read → release → commit → end, in this order; `release` and `end` come whatever happened
before. A step that fails ends the attempt, not the run: the error becomes the outcome. Containers
that depend on each other are prepared one after another, all read, and released in reverse.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta

from backupd.catalog import new_archive_id
from backupd.errors import (
    AlreadyRunning,
    ArchiveBroken,
    BackupdError,
    Cancelled,
    PartsExhausted,
    StoreError,
)
from backupd.layout import Kind, moment_of, source_folder, stamp
from backupd.manifest import Archive, Manifest
from backupd.site import Site
from backupd.sources import Source, Survey
from backupd.verbs.commit import Draft, reuse, store_record
from backupd.verbs.consistency import held
from backupd.verbs.past import Past
from backupd.verbs.task import Outcome, Task
from backupd.verbs.transfer import Destination, Progress, send_archive

ROOM_TO_SPARE = 1.25
"""Inspect's sizes are no promise: sparse files and hard links make a tar larger than them."""

_IMAGE_CHANGES = "is it rebuilt or removed just now? see also the engine's log"
_STILLER = {
    Kind.IMAGE: _IMAGE_CHANGES,
    Kind.BUNDLE: _IMAGE_CHANGES,
    Kind.CONTAINER: "`pause: true` or `stop: true` keeps its files still meanwhile",
    Kind.VOLUME: "`pause: true` or `stop: true` at the containers that write to it keeps it still",
}
"""What to do about a tar that is broken twice."""

REGROWTH = 16
"""By how much a second attempt raises an estimate that was too low."""


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read: the source as it was surveyed, and its archive in the store."""

    survey: Survey
    archive: Archive


class Attempt:
    """One task on its way to an outcome."""

    def __init__(
        self, site: Site, task: Task, past: Past, progress: Progress, *, moment: str = ""
    ) -> None:
        """`moment` is what the manifests of all that stands still together have in common."""
        self._site = site
        self._task = task
        self._past = past
        self._progress = progress
        self._moment = moment
        self._begun = time.monotonic()
        self._lock = ExitStack()
        self._still = ExitStack()
        self._draft: Draft | None = None
        self._survey: Survey | None = None
        self._read: _Read | None = None
        self._manifest: Manifest | None = None
        self._error: BackupdError | None = None
        self._unheld: BackupdError | None = None

    @property
    def source(self) -> Source:
        """What is backed up."""
        return self._task.source

    @property
    def unheld(self) -> BackupdError | None:
        """Why the source did not stand still from `prepare` to `release`; None if it did."""
        return self._unheld

    def prepare(self) -> None:
        """Lock the source, look at it, and let it stand still as the policy wants it."""
        self._step(self._prepare)
        self._unheld = self._error

    def rely_on(self, holders: Sequence[Attempt]) -> None:
        """Fail when one of `holders`, on whose stillness this volume depends, did not hold."""
        for holder in holders:
            if holder.unheld is not None and self._error is None:
                self._fail(_not_still(self.source.name, holder.source.name, holder.unheld))

    def read(self) -> None:
        """Send its archive into the store, unless it needs none."""
        self._step(self._send)

    def release(self) -> None:
        """Let it go on."""
        self._always(self._let_go)

    def _let_go(self) -> None:
        try:
            self._still.close()
        except Exception as error:
            ours = error if isinstance(error, BackupdError) else BackupdError(repr(error))
            self._unheld = self._unheld or ours
            raise

    def commit(self) -> None:
        """Make the backup exist."""
        self._step(self._commit)

    def end(self) -> Outcome:
        """Unlock the source; what became of it."""
        self._always(self._lock.close)
        source = self._task.source
        return Outcome(
            self._task.job,
            source.kind,
            source.name,
            timedelta(seconds=time.monotonic() - self._begun),
            manifest=None if self._error else self._manifest,
            error=self._error,
            oddity=self._oddity(),
        )

    def _oddity(self) -> str:
        if self._draft is None or self._manifest is None or self._error is not None:
            return ""
        return self._draft.oddity(self._manifest.archive.size_bytes)

    def _step(self, act: Callable[[], None]) -> None:
        if self._error is None:
            self._always(act)

    def _always(self, act: Callable[[], None]) -> None:
        """The job's boundary: whatever goes wrong with one source ends here."""
        try:
            act()
        except BackupdError as error:
            self._fail(error)
        except Exception as error:  # a fault of ours must not stop the other sources
            name = self._task.source.name
            self._fail(BackupdError(f"cannot back up {name!r}: internal error: {error!r}"))

    def _fail(self, error: BackupdError) -> None:
        """Keep the first error; what went wrong on the way out is noted on it."""
        notes = getattr(error, "__notes__", ())
        if self._error is not None:
            for text in (str(error), *notes):
                self._error.add_note(f"and then {text}")
        elif self._site.cancel.is_set() and not isinstance(error, Cancelled):
            # Closed sockets fail in many ways, and none of them is what happened here.
            self._error = Cancelled("stopped on request, before the end")
            self._error.__cause__ = error
            for text in notes:
                self._error.add_note(text)
        else:
            self._error = error

    def _prepare(self) -> None:
        site, task, source = self._site, self._task, self._task.source
        site.cancel.raise_if_set()
        self._lock.enter_context(site.state.lock_source(source.kind, source.name, "back up"))
        survey = source.survey(site.engine)
        folder = source_folder(site.host, task.job, source.kind, source.name)
        taken_at, sizes = moment_of(stamp(site.now())), self._past.sizes_of(folder)
        draft = Draft(site, task, taken_at, self._moment, earlier_bytes=sizes)
        _refuse_backward_clock(draft, self._past)
        self._draft, self._survey = draft, survey
        earlier = self._past.bearing(task.mark(survey.content))
        self._manifest = reuse(site, draft, survey, earlier)
        if self._manifest is None and survey.container is not None:
            self._still.enter_context(
                held(site, survey.container, source.consistency, draft.warnings.append)
            )

    def _send(self) -> None:
        if self._manifest is not None or self._survey is None:
            return
        growth = ROOM_TO_SPARE
        try:
            self._read = self._send_once(self._survey, growth)
        except ArchiveBroken:
            pass  # a file shrank or a tag moved while it was read: the next read is likely whole
        except PartsExhausted:
            growth *= REGROWTH
        if self._read is None:
            survey = self._survey
            if survey.container is None:
                # The tag may have moved since the last look; the archive says what it really holds.
                survey = self._task.source.survey(self._site.engine)
            try:
                self._read = self._send_once(survey, growth)
            except ArchiveBroken as error:
                hint = _STILLER[self._task.source.kind]
                raise ArchiveBroken(f"{error}, both times that it was read; {hint}") from error

    def _send_once(self, survey: Survey, growth: float) -> _Read:
        self._site.cancel.raise_if_set()
        task, source = self._task, self._task.source
        # The engine tells no volume's size: what its last backup held is the best guess.
        folder = source_folder(self._site.host, task.job, source.kind, source.name)
        expected_bytes = max(survey.estimate_bytes, self._past.size_of(folder))
        destination = Destination(
            new_archive_id(task.mark(survey.content)),
            task.compression,
            int(expected_bytes * growth),
            task.recipients,
        )
        return _Read(
            survey,
            send_archive(self._site, source, survey, destination, progress=self._progress),
        )

    def _commit(self) -> None:
        """From here on nothing is cancelled: all bytes are there, and two small objects follow."""
        if self._read is not None and self._draft is not None:
            survey, archive = self._read.survey, self._read.archive
            record = store_record(self._site, self._task, survey, archive)
            manifest = self._draft.manifest(survey, archive, record=record)
            self._draft.commit(manifest)
            self._manifest = manifest
        if self._manifest is not None:
            self._past.learn([self._manifest.key])


def attempt_all(attempts: Sequence[Attempt]) -> list[Outcome]:
    """The outcomes of sources that stand still together, in the order of `attempts`.

    Volumes come after the containers that mount them, and fail when one of those did not stand
    still, or when its commands say afterwards that what was read is not to be kept.
    """
    by_name = {a.source.name: a for a in attempts if a.source.kind is Kind.CONTAINER}

    def require_stillness(attempt: Attempt) -> None:
        names = sorted(attempt.source.beside & by_name.keys())
        attempt.rely_on([by_name[name] for name in names])

    for attempt in attempts:
        require_stillness(attempt)
        attempt.prepare()
    for attempt in attempts:
        attempt.read()
    for attempt in reversed(attempts):
        attempt.release()
    for attempt in attempts:
        require_stillness(attempt)
        attempt.commit()
    return [attempt.end() for attempt in attempts]


def _not_still(volume: str, container: str, cause: BackupdError) -> BackupdError:
    """The error of a volume whose container failed it: of the same kind where that matters."""
    kind = type(cause) if isinstance(cause, AlreadyRunning | Cancelled) else BackupdError
    return kind(
        f"cannot back up volume {volume!r}: container {container!r}, which mounts it, was not held "
        f"still: {cause}"
    )


def _refuse_backward_clock(draft: Draft, past: Past) -> None:
    """Raise StoreError when the new backup would sort before an older one of its source."""
    site, task = draft.site, draft.task
    newest = past.newest_of(source_folder(site.host, task.job, task.source.kind, task.source.name))
    if newest is not None and draft.taken_at <= newest:
        raise StoreError(
            f"cannot back up {task.source.name!r}: this machine's clock says "
            f"{draft.taken_at:%F %T} UTC, its newest backup was taken at {newest:%F %T} and the "
            f"store's clock says {site.store.now():%F %T}; set the clock right"
        )
