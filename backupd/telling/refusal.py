"""One message about a policy by which the daemon does not start: nobody else would notice soon.

The daemon tells it as its last act, to those whom the broken file still names. A service manager
starts it again every few seconds, so the same sentence is told once in a day; a small file in the
state directory remembers that. It must not hold up the end for long, and never changes it.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from backupd.config.salvage import Voices
from backupd.errors import UsageError
from backupd.state import StateDir
from backupd.telling.courier import Couriers, Errand
from backupd.telling.editor import QUIET
from backupd.telling.message import Voice

LOGGER = logging.getLogger("backupd.telling")
FILE_NAME = "refusals.json"
LONGEST = timedelta(seconds=20)


def tell_refusal(
    voices: Voices,
    voice: Voice,
    sentence: str,
    state: StateDir,
    now: datetime,
    *,
    longest: timedelta = LONGEST,
) -> bool:
    """Whether someone was told just now why the daemon does not start, within `longest`.

    Tells nobody where nobody is named, where the same was told within a day, or where that cannot
    be remembered. If nobody took it, the next start tries again.
    """
    errands = list(_errands(voices, voice, sentence))
    if not errands:
        return False
    # Not the sentence itself, which may be long; it is only compared.
    mark = hashlib.sha256(sentence.encode()).hexdigest()
    told = {one: at for one, at in _told(state).items() if timedelta(0) <= now - at < QUIET}
    # Before it is sent: where it cannot be remembered, people would be told every few seconds.
    if mark in told or not _remember(state, {**told, mark: now}):
        return False
    is_told = False
    try:
        is_told = _deliver(errands, longest)
    finally:
        if not is_told:
            _remember(state, told)
    return is_told


def _errands(voices: Voices, voice: Voice, sentence: str) -> Iterator[Errand]:
    message = voice.refused(sentence)
    if voices.notify is not None and {"failure", "always"} & set(voices.notify.when):
        from backupd.telling.notify import letters

        yield from letters(voices.notify, message)
    if voices.ping is not None and voices.ping.fail is not None:
        from backupd.telling.ping import Call

        yield Call(voices.ping.fail, message.body, "'fail' about the policy")


@dataclass
class _Watched:
    """An errand, and whether it was done."""

    errand: Errand
    is_done: bool = False

    def attempt(self) -> str | None:
        failure = self.errand.attempt()
        self.is_done = failure is None
        return failure

    def abandon(self) -> None:
        self.errand.abandon()


def _deliver(errands: Iterable[Errand], longest: timedelta) -> bool:
    """Try each once, all at a time; whether one was delivered."""
    watched = [_Watched(errand) for errand in errands]
    couriers, owner = Couriers("message about the policy", ()), object()
    couriers.serve(owner, range(len(watched)))
    for number, errand in enumerate(watched):
        couriers.send(number, errand)
    couriers.close(owner, longest)
    return any(errand.is_done for errand in watched)


def _told(state: StateDir) -> Mapping[str, datetime]:
    """What was told, and when; nothing where that cannot be read."""
    with suppress(OSError, ValueError, TypeError, AttributeError, RecursionError):
        raw = json.loads((state.path / FILE_NAME).read_bytes())
        return {str(mark): _aware(at) for mark, at in raw.items()}
    return {}


def _aware(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a moment needs its time zone")
    return moment


def _remember(state: StateDir, told: Mapping[str, datetime]) -> bool:
    try:
        text = json.dumps({mark: at.isoformat() for mark, at in told.items()})
        state.write(FILE_NAME, text.encode() + b"\n")
    except (OSError, UsageError) as error:
        LOGGER.warning("nobody is told: cannot write %s: %s", state.path / FILE_NAME, error)
        return False
    return True
