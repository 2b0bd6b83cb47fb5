"""Which events become messages."""

from __future__ import annotations

from datetime import timedelta

import pytest

from backupd.run_record import RunRecord
from backupd.telling.editor import Editor
from backupd.verbs.recorded import NOTHING_SELECTED
from tests.unit.runs import FAILED, SAVED, START, VOICE, run


class Desk:
    """An editor, the titles of what it let through, and a clock that stands still."""

    def __init__(self, *when: str) -> None:
        self.now = START
        self.editor = Editor(when, VOICE, lambda _: None, lambda: self.now)
        self.bodies: list[str] = []

    def run(self, record: RunRecord, *, recovered: bool = False) -> bool:
        """Whether this became a message."""
        message = self.editor.of_run(record, is_recovery=recovered)
        self.bodies += [message.body] if message else []
        return message is not None

    def trouble(self, what: str, sentence: str) -> bool:
        """Whether this became a message."""
        return self.editor.of_trouble(what, sentence) is not None


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ("failure", [True, True, False, False, True]),
        ("recovery", [False, False, True, False, False]),
        ("always", [True, True, True, True, True]),
    ],
)
def test_the_policy_says_what_is_told(when: str, told: list[bool]) -> None:
    desk = Desk(when)

    assert told == [
        desk.run(run("failed", FAILED)),
        desk.run(run("interrupted")),
        desk.run(run("good", SAVED), recovered=True),
        desk.run(run("good", SAVED)),
        desk.trouble("store", "the login failed"),
    ]


def test_a_recovery_says_since_when_it_had_failed_even_if_failures_are_not_told() -> None:
    desk = Desk("recovery")
    desk.run(run("failed", FAILED))
    desk.run(run("failed", FAILED, minutes=60))

    desk.run(run("good", SAVED, minutes=120), recovered=True)

    assert "It had failed since 2026-01-02 03:04 UTC." in desk.bodies[0]


def test_the_same_trouble_is_told_once_a_day() -> None:
    desk = Desk("failure")

    first = desk.trouble("policy", "line 3 is wrong")
    desk.now += timedelta(hours=23, minutes=59)
    again = desk.trouble("policy", "line 3 is wrong")
    other = desk.trouble("policy", "line 4 is wrong")
    desk.now += timedelta(minutes=1)
    next_day = desk.trouble("policy", "line 3 is wrong")

    assert (True, False, True, True) == (first, again, other, next_day)


def test_a_job_that_is_skipped_again_and_again_is_told_once_a_day() -> None:
    desk = Desk("failure")

    told = [desk.run(run("skipped", minutes=minutes)) for minutes in range(3)]

    assert [True, False, False] == told
    assert desk.run(run("skipped", job="other"))


def test_a_run_that_backed_up_nothing_is_told_as_a_failure() -> None:
    desk = Desk("failure", "recovery")

    assert desk.run(run("good", note=NOTHING_SELECTED))
    assert NOTHING_SELECTED in desk.bodies[0].splitlines()


def test_a_run_that_backed_up_nothing_goes_on_failing() -> None:
    desk = Desk("recovery")
    desk.run(run("failed", FAILED))
    desk.run(run("good", minutes=60))

    desk.run(run("good", SAVED, minutes=120), recovered=True)

    assert "It had failed since 2026-01-02 03:04 UTC." in desk.bodies[0]


def test_every_failure_of_a_run_is_told() -> None:
    desk = Desk("failure")

    assert [True, True] == [desk.run(run("failed", FAILED)), desk.run(run("failed", FAILED))]
