"""What the daemon says: lines for a person, for the journal of systemd, or for a program.

The shell calls `configure` once, before anything else may log; modules then log by Python's own
`logging` below the name `backupd`, and `LogReport` tells of the sources of a run. What other
libraries say is let through from warnings on, and no address in it keeps its query or its user:
that is where signatures and passwords stand. Nothing here may log a secret or raise into a run.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TextIO

from backupd.redaction import redacted
from backupd.text import shown, size, span

if TYPE_CHECKING:
    from backupd.manifest import Manifest
    from backupd.verbs.task import Outcome, Task
    from backupd.verbs.transfer import Progress

LOGGER = logging.getLogger("backupd")

_CHATTY = ("apscheduler", "boto3", "botocore", "docker", "s3transfer", "urllib3")
"""Libraries that would tell of every request, and botocore of every key, below a warning."""

_PRIORITIES = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6}
_DEBUG_PRIORITY = 7
"""Priorities of syslog as sd-daemon(3) has them: 2 critical, 3 error, 4 warning, 6 information."""


class LogFormat(StrEnum):
    """How a line of the log is written."""

    TEXT = "text"
    """With the local time, for a person."""
    JOURNAL = "journal"
    """With `<N>` before it, from which systemd's journal takes the priority; it has the time."""
    JSON = "json"
    """One object a line: time, level, logger, message, and what the line is about."""


def format_for(stream: TextIO, environ: Mapping[str, str]) -> LogFormat:
    """JOURNAL if `stream` leads to systemd's journal, else TEXT.

    $JOURNAL_STREAM names the device and inode of the journal's socket (systemd.exec(5)). That it is
    set is not enough: a command's output may lead elsewhere, as in a shell that a service started.
    """
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return LogFormat.TEXT
    is_journal = environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
    return LogFormat.JOURNAL if is_journal else LogFormat.TEXT


def configure(log_format: LogFormat, stream: TextIO) -> None:
    """Send everything that this process logs from now on to `stream`, in this format."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_FORMATTERS[log_format]())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    LOGGER.setLevel(logging.INFO)
    quieten_libraries()
    logging.captureWarnings(capture=True)


def quieten_libraries() -> None:
    """Let no library tell of its requests, whoever asked for that: there are keys in them."""
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


class LogReport:
    """The report of a run as log lines: one when a source begins and one when it ends."""

    def begin(self, task: Task) -> Progress:
        """Tell that a source begins; nothing is logged while its bytes flow."""
        source = task.source
        fields = {"job": task.job, "kind": str(source.kind), "name": source.name}
        LOGGER.info(
            "begin %s %s, job %s",
            source.kind,
            source.name,
            task.job,
            extra={"fields": {**fields, "state": "begin"}},
        )
        return lambda _: None

    def end(self, outcome: Outcome) -> None:
        """Tell how a source ended: what it became, or the one error that stopped it."""
        what = f"{outcome.kind} {outcome.name}"
        if outcome.manifest is None:
            notes = getattr(outcome.error, "__notes__", ())
            cause = "; ".join([str(outcome.error), *notes])
            LOGGER.error(
                "FAILED %s, job %s, in %s: %s",
                what,
                outcome.job,
                span(outcome.duration),
                cause,
                extra={"fields": {**_source(outcome), "state": "failed", "error": cause}},
            )
            return
        fields = {**_source(outcome), **_backup(outcome.manifest, outcome.duration)}
        done = _done(outcome.manifest, outcome.duration)
        LOGGER.info("%s", done, extra={"fields": fields})
        for warning in outcome.manifest.warnings:
            LOGGER.warning("%s: %s", what, warning, extra={"fields": _source(outcome)})

    def note(self, text: str) -> None:
        """Log what a person should know, as loud as its own first word says."""
        warning = text.removeprefix("warning: ")
        if warning != text:
            LOGGER.warning("%s", warning)
        elif text.startswith("cannot "):
            LOGGER.error("%s", text)
        else:
            LOGGER.info("%s", text)


def _done(manifest: Manifest, duration: timedelta) -> str:
    what = f"{manifest.kind} {manifest.name}, job {manifest.job}: backup {manifest.id}"
    if manifest.reused:
        return f"unchanged {what}, in {span(duration)}"
    plain, stored = manifest.archive.size_bytes, manifest.archive.stored_bytes
    return (
        f"saved {what}, {size(plain)} → {size(stored)} ({_ratio(manifest):.1f}x) "
        f"in {span(duration)}, {size(_speed(manifest, duration))}/s"
    )


def _source(outcome: Outcome) -> dict[str, Any]:
    return {
        "job": outcome.job,
        "kind": str(outcome.kind),
        "name": outcome.name,
        "duration_seconds": round(outcome.duration.total_seconds(), 3),
    }


def _backup(manifest: Manifest, duration: timedelta) -> dict[str, Any]:
    fields = {
        "state": "unchanged" if manifest.reused else "saved",
        "backup_id": manifest.id,
        "size_bytes": manifest.archive.size_bytes,
        "stored_bytes": manifest.archive.stored_bytes,
        "ratio": round(_ratio(manifest), 2),
    }
    # Nothing was read of an unchanged image, so it had no speed.
    return fields if manifest.reused else {**fields, "bytes_per_second": _speed(manifest, duration)}


def _ratio(manifest: Manifest) -> float:
    return manifest.archive.size_bytes / max(1, manifest.archive.stored_bytes)


def _speed(manifest: Manifest, duration: timedelta) -> int:
    """Bytes of the plain tar a second."""
    return int(manifest.archive.size_bytes / max(0.001, duration.total_seconds()))


class _Lines(logging.Formatter):
    """A record as lines: the message as one, then each line of a traceback."""

    def lines(self, record: logging.LogRecord) -> list[str]:
        text = [record.getMessage().replace("\n", " ")]
        if record.exc_info:
            text += self.formatException(record.exc_info).splitlines()
        if record.stack_info:
            text += record.stack_info.splitlines()
        # Names come from engines and buckets: none may forge a line or a priority of ours.
        return [shown(redacted(line)) for line in text]


class _Text(_Lines):
    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).astimezone()
        level = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        first, *others = self.lines(record)
        return "\n".join([f"{when.isoformat(timespec='seconds')} {level}{first}", *others])


class _Journal(_Lines):
    def format(self, record: logging.LogRecord) -> str:
        known = (number for level, number in _PRIORITIES.items() if record.levelno >= level)
        priority = next(known, _DEBUG_PRIORITY)
        return "\n".join(f"<{priority}>{line}" for line in self.lines(record))


class _Json(_Lines):
    def format(self, record: logging.LogRecord) -> str:
        message, *traceback = self.lines(record)
        row = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message,
            **{
                name: redacted(value) if isinstance(value, str) else value
                for name, value in getattr(record, "fields", {}).items()
            },
        }
        if traceback:
            row["traceback"] = traceback
        return json.dumps(row, default=str)


_FORMATTERS: dict[LogFormat, type[_Lines]] = {
    LogFormat.TEXT: _Text,
    LogFormat.JOURNAL: _Journal,
    LogFormat.JSON: _Json,
}
