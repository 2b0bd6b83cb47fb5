"""A job's time is that of the whole run: looking for sources, reading them, pruning after."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from backupd.engine import Engine
from backupd.errors import BackupdError, Cancelled
from backupd.log import LogReport
from backupd.policy import Policy
from backupd.site import Site
from backupd.state import StateDir
from backupd.stores import Entry
from backupd.stores.directory import DirectoryStore
from backupd.verbs.deadline import bounded
from backupd.verbs.job import run_job

NOW = datetime(2026, 5, 6, 12, tzinfo=UTC)


def let_the_time_run_out() -> None:
    """As the timer of the job that runs does, some hours later."""
    for one in threading.enumerate():
        if isinstance(one, threading.Timer) and one.name == "deadline":
            one.function()


class Report(LogReport):
    """Keeps what is noted."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


class SlowStore(DirectoryStore):
    """A store whose listings take longer than a job has."""

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[Entry]:
        let_the_time_run_out()
        return super().list(prefix, start_after=start_after)


def an_engine(slow: str) -> Engine:
    """An engine that has nothing, and is slow with the answer to one question."""

    def answer(question: str, value: object) -> Any:
        def asked(*_: object, **__: object) -> object:
            if question == slow:
                let_the_time_run_out()
            return value

        return asked

    version = SimpleNamespace(id="engine")
    questions = {"images": [], "containers": [], "ask": [], "version": version}
    return cast(
        Engine, SimpleNamespace(**{name: answer(name, value) for name, value in questions.items()})
    )


def a_site(tmp_path: Path, store: DirectoryStore, slow: str = "") -> Site:
    return Site("web01", an_engine(slow), store, StateDir(tmp_path / "state"), lambda: NOW)


@pytest.fixture
def policy() -> Policy:
    """A policy whose job selects nothing."""
    return Policy.model_validate({"jobs": {"nightly": {"images": ["none-*"]}}})


@pytest.mark.parametrize("question", ["images", "ask"])
def test_a_job_whose_engine_answers_too_late_has_failed_before_it_wrote_anything(
    question: str, policy: Policy, tmp_path: Path
) -> None:
    site = a_site(tmp_path, DirectoryStore(tmp_path / "store"), question)

    with pytest.raises(
        BackupdError, match=r"timed out after .*; raise jobs\.nightly\.timeout"
    ) as e:
        run_job(site, policy, "nightly", Report())
    assert not isinstance(e.value, Cancelled), "it is a failure, and nobody stopped it"
    assert [] == list(tmp_path.glob("store/**/*.json"))
    assert not site.cancel.is_set()


def test_nothing_is_pruned_when_the_time_is_over(policy: Policy, tmp_path: Path) -> None:
    report = Report()
    run_job(a_site(tmp_path, SlowStore(tmp_path / "store")), policy, "nightly", report)

    assert (
        "warning: old backups of job nightly were not pruned: timed out after 12h; "
        "raise jobs.nightly.timeout"
    ) == report.notes[-1]


def test_who_stops_the_process_stops_the_job_and_not_the_other_way_round(tmp_path: Path) -> None:
    site = a_site(tmp_path, DirectoryStore(tmp_path / "store"))
    with bounded(site, timedelta(hours=12)) as deadline:
        let_the_time_run_out()
        is_over, was_told = deadline.is_over.is_set(), site.cancel.is_set()
        site.cancel.set()

    assert (True, False) == (is_over, was_told)
    assert deadline.site.cancel.told_seconds_ago is not None


def test_a_job_without_a_timeout_has_all_the_time(tmp_path: Path) -> None:
    site = a_site(tmp_path, DirectoryStore(tmp_path / "store"))
    with bounded(site, None) as deadline:
        error = Cancelled("stopped on request")

        assert error is deadline.reason("nightly", error)
