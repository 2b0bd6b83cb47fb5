"""What people are told about a run, in a few lines: host, job, what failed and why, since when.

Pure. The words go to services that people read on a phone, so they are short; names come from
engines and buckets, so no control character passes. Errors are our own sentences, without secrets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from backupd.run_record import CHORES, RunRecord, SourceRecord

MOST_FAILURES = 10
_ENDINGS = {
    "interrupted": "was interrupted",
    "skipped": "was skipped",
    # By its own account it is good, since nothing of what it selected failed.
    "good": "backed up nothing",
}
LONGEST_LINE = 400
"""Signs of one line, so that a service with a limit does not cut in the middle of the story."""


class Tone(StrEnum):
    """How a message feels; the names are apprise's."""

    FAILURE = "failure"
    SUCCESS = "success"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Message:
    """A title of one line, and a body of a few."""

    title: str
    body: str
    tone: Tone


@dataclass(frozen=True, slots=True)
class Voice:
    """Who speaks: the host's name, and the zone in which its people read times."""

    host: str
    zone: ZoneInfo

    def failed(self, record: RunRecord, last_good: datetime | None) -> Message:
        """A run that failed, was interrupted, or selected nothing, or one that was skipped."""
        what = _ENDINGS.get(record.state, "failed")
        lines = [f"{_name(record)} on {self.host} {what} at {self._moment(record)}.", record.note]
        failures = [source for source in record.sources if source.state in {"failed", "missing"}]
        lines += [_failure(source) for source in failures[:MOST_FAILURES]]
        if len(failures) > MOST_FAILURES:
            lines.append(f"… and {len(failures) - MOST_FAILURES} more sources.")
        lines += _oddities(record)
        if failures:
            lines.append(f"{len(failures)} of {len(record.sources)} sources failed.")
        if record.job not in CHORES:
            lines.append(f"Last good run: {self._at(last_good) if last_good else 'none known'}.")
        return _message(f"{_name(record)} {what} on {self.host}", lines, Tone.FAILURE)

    def recovered(self, record: RunRecord, failing_since: datetime | None) -> Message:
        """The first good run after one that was not."""
        since = f" It had failed since {self._at(failing_since)}." if failing_since else ""
        lines = [
            f"{_name(record)} on {self.host} works again: good at {self._moment(record)}.{since}",
            *_counts(record),
        ]
        return _message(f"{_name(record)} works again on {self.host}", lines, Tone.SUCCESS)

    def odd(self, record: RunRecord) -> Message:
        """A good run that made a backup which may not be what its source should be."""
        lines = [
            f"{_name(record)} on {self.host} ended at {self._moment(record)}, but look at this:",
            *_oddities(record),
            "The backup is kept, and nothing of its source is pruned until a usual one.",
        ]
        return _message(f"{_name(record)} made an odd backup on {self.host}", lines, Tone.WARNING)

    def good(self, record: RunRecord) -> Message:
        """A good run like the one before."""
        lines = [
            f"{_name(record)} on {self.host} ended well at {self._moment(record)}.",
            *_counts(record),
        ]
        return _message(f"{_name(record)} ended well on {self.host}", lines, Tone.SUCCESS)

    def trouble(self, what: str, sentence: str) -> Message:
        """Something that no run stands for, such as a policy that cannot be read."""
        opening = f"On {self.host}, backupd has trouble with its {what}:"
        lines = [opening, *_some(sentence.splitlines())]
        return _message(f"trouble with the {what} on {self.host}", lines, Tone.WARNING)

    def refused(self, sentence: str) -> Message:
        """The daemon does not start, by its policy."""
        opening = f"On {self.host}, backupd does not start, so nothing is backed up."
        lines = [opening, "Its policy cannot be followed:", *_some(sentence.splitlines())]
        return _message(f"the daemon did not start on {self.host}", lines, Tone.FAILURE)

    def trial(self) -> Message:
        """What `backupd notify --test` sends."""
        lines = [f"This is a test: messages of backupd on {self.host} reach you here."]
        return _message(f"a test from {self.host}", lines, Tone.INFO)

    def _moment(self, record: RunRecord) -> str:
        return self._at(record.ended_at or record.started_at)

    def _at(self, moment: datetime) -> str:
        return moment.astimezone(self.zone).strftime("%Y-%m-%d %H:%M %Z")


def _name(record: RunRecord) -> str:
    return CHORES.get(record.job, f"job {record.job}")


def _failure(source: SourceRecord) -> str:
    missing = "not found on the engine" if source.state == "missing" else "failed"
    return f"- {source.kind} {source.name}: {source.error or missing}"


def _oddities(record: RunRecord) -> list[str]:
    odd = [source for source in record.sources if source.oddity]
    more = [f"… and {len(odd) - MOST_FAILURES} more odd ones."] if len(odd) > MOST_FAILURES else []
    return [f"- {one.kind} {one.name}: {one.oddity}" for one in odd[:MOST_FAILURES]] + more


def _some(problems: list[str]) -> list[str]:
    """The first of a policy's problems, which are one a line and may be many."""
    more = len(problems) - MOST_FAILURES
    return [*problems[:MOST_FAILURES], *([f"… and {more} more."] if more > 0 else [])]


def _counts(record: RunRecord) -> Iterator[str]:
    for state in ("saved", "unchanged"):
        count = sum(source.state == state for source in record.sources)
        if count:
            yield f"{count} {'source' if count == 1 else 'sources'} {state}."


def _message(title: str, lines: list[str], tone: Tone) -> Message:
    body = "\n".join(_harmless(line) for line in lines if line)
    return Message(_harmless(f"backupd: {title}"), body, tone)


def _harmless(text: str) -> str:
    """`text` on one line of bounded length, without control characters."""
    line = " ".join(text.split())
    shown = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in line)
    return shown if len(shown) <= LONGEST_LINE else f"{shown[: LONGEST_LINE - 1]}…"
