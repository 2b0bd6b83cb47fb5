"""Who may be read when: so many at a time, and no source twice."""

from __future__ import annotations

import threading
from collections.abc import Collection

import pytest

from backupd.errors import Cancelled
from backupd.stream import Cancel
from backupd.turns import Turns

PATIENCE_SECONDS = 60.0


class Worker:
    """A thread that takes a turn and holds it until it is told to give it back."""

    def __init__(self, turns: Turns, *sources: str, cancel: Cancel | None = None) -> None:
        self.has_turn = threading.Event()
        self.was_busy: bool | None = None
        self.error: Exception | None = None
        self._give_back = threading.Event()
        arguments = (turns, sources, cancel or Cancel())
        self._thread = threading.Thread(target=self._work, args=arguments, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._give_back.set()
        self._thread.join(PATIENCE_SECONDS)

    def _work(self, turns: Turns, sources: Collection[str], cancel: Cancel) -> None:
        try:
            with turns.turn(sources, cancel) as self.was_busy:
                self.has_turn.set()
                self._give_back.wait(PATIENCE_SECONDS)
        except Cancelled as error:
            self.error = error


def test_no_more_than_so_many_turns_are_held_at_a_time() -> None:
    turns = Turns(2)
    first, second = Worker(turns, "a"), Worker(turns, "b")
    assert first.has_turn.wait(PATIENCE_SECONDS)
    assert second.has_turn.wait(PATIENCE_SECONDS)
    third = Worker(turns, "c")
    had_turn = third.has_turn.is_set()
    first.end()

    assert not had_turn
    assert third.has_turn.wait(PATIENCE_SECONDS)
    second.end()
    third.end()


def test_more_turns_are_given_out_as_soon_as_more_are_allowed() -> None:
    turns = Turns(1)
    first = Worker(turns, "a")
    assert first.has_turn.wait(PATIENCE_SECONDS)
    second = Worker(turns, "b")
    had_turn = second.has_turn.is_set()
    turns.allow(2)

    assert not had_turn
    assert second.has_turn.wait(PATIENCE_SECONDS)
    first.end()
    second.end()


def test_a_source_that_another_job_reads_is_waited_for() -> None:
    turns = Turns(8)
    first = Worker(turns, "a", "b")
    assert first.has_turn.wait(PATIENCE_SECONDS)
    second, stranger = Worker(turns, "b"), Worker(turns, "c")
    assert stranger.has_turn.wait(PATIENCE_SECONDS)
    had_turn = second.has_turn.is_set()
    first.end()

    assert not had_turn
    assert second.has_turn.wait(PATIENCE_SECONDS)
    assert (True, False) == (second.was_busy, stranger.was_busy)
    second.end()
    stranger.end()


def test_who_waits_can_be_told_to_stop() -> None:
    turns, cancel = Turns(1), Cancel()
    first = Worker(turns, "a")
    assert first.has_turn.wait(PATIENCE_SECONDS)
    second = Worker(turns, "b", cancel=cancel)
    cancel.set()
    second.end()

    assert isinstance(second.error, Cancelled)
    first.end()


def test_a_turn_is_given_back_whatever_happens() -> None:
    turns = Turns(1)

    with pytest.raises(KeyError), turns.turn(["a"], Cancel()):
        raise KeyError
    with turns.turn(["a"], Cancel()) as was_busy:
        assert not was_busy
