"""What is worth telling people, of all that the daemon tells: what the policy's `when` wants.

Pure but for what it remembers: the clock and the history are asked through parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from backupd.run_record import RunRecord
from backupd.telling.message import Message, Voice

QUIET = timedelta(hours=24)
"""The same trouble is told once in this time."""


@dataclass
class Editor:
    """Makes a message of what is worth one."""

    when: Collection[str]
    """The policy's `notify.when`."""
    voice: Voice
    last_good_of: Callable[[str], datetime | None]
    now: Callable[[], datetime]
    told: dict[tuple[str, str], datetime] = field(default_factory=dict)
    """Trouble → when it was told; shared with who comes after at a reload."""
    failing_since: dict[str, datetime] = field(default_factory=dict)
    """Job → when its first failure in a row ended; shared likewise."""

    def of_run(self, record: RunRecord, *, is_recovery: bool) -> Message | None:
        """The message about a run that ended, or None."""
        if record.is_success:
            since = self.failing_since.pop(record.job, None)
            if any(source.oddity for source in record.sources) and self._wants("failure"):
                return self.voice.odd(record)
            if is_recovery and self._wants("recovery"):
                return self.voice.recovered(record, since)
            return self.voice.good(record) if self._wants("always") else None
        if record.state != "skipped":
            self.failing_since.setdefault(record.job, record.ended_at or record.started_at)
        elif not self._is_news("skipped", record.job):
            # A job that never ends is skipped at each of its times.
            return None
        if not self._wants("failure"):
            return None
        return self.voice.failed(record, self.last_good_of(record.job))

    def of_trouble(self, what: str, sentence: str) -> Message | None:
        """The message about a trouble, or None if it is not wanted or no news."""
        if not self._wants("failure") or not self._is_news(what, sentence):
            return None
        return self.voice.trouble(what, sentence)

    def _wants(self, occasion: str) -> bool:
        return occasion in self.when or "always" in self.when

    def _is_news(self, what: str, sentence: str) -> bool:
        now = self.now()
        for trouble, told_at in list(self.told.items()):
            if now - told_at >= QUIET:
                del self.told[trouble]
        if (what, sentence) in self.told:
            return False
        self.told[what, sentence] = now
        return True
