"""What a policy says of pausing, stopping, commands, time and parallel work."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backupd.config import load
from backupd.engine import Engine
from backupd.errors import PolicyError
from backupd.policy import ContainerSelector, DockerSpec, Hook, Policy
from backupd.site import Site
from backupd.state import StateDir
from backupd.stores.directory import DirectoryStore
from backupd.verbs.remove import forgotten_before


def policy(directory: Path, text: str) -> Policy:
    path = directory / "config.yaml"
    path.write_text(text)
    return load(path, environ={}).policy


def of_container(directory: Path, selector: str) -> ContainerSelector:
    (found,) = (
        policy(directory, f"jobs: {{a: {{containers: [{selector}]}}}}\n").jobs["a"].containers
    )
    return found


@pytest.mark.parametrize("form", ["name: web", "name: 'db-*'", "label: backup"])
def test_every_form_of_a_selector_may_stop_and_run_commands(form: str, tmp_path: Path) -> None:
    found = of_container(
        tmp_path,
        f"{{{form}, stop: true, stop_order: 3, before: [{{exec: sync}}], after: [{{exec: [a]}}]}}",
    )

    assert (True, False, 3) == (found.stop, found.pause, found.stop_order)
    assert (("sh", "-c", "sync"),) == tuple(hook.exec for hook in found.before)
    assert (("a",),) == tuple(hook.exec for hook in found.after)


def test_without_a_word_nothing_is_done_to_a_container(tmp_path: Path) -> None:
    found = of_container(tmp_path, "web")

    assert (False, False, 0, (), ()) == (
        found.pause,
        found.stop,
        found.stop_order,
        found.before,
        found.after,
    )


def test_a_command_says_who_runs_it_how_long_and_what_a_failure_means(tmp_path: Path) -> None:
    found = of_container(
        tmp_path,
        "{name: a, before: [{exec: [dump, /a], user: 'app:app', timeout: 90s, on_failure: warn}]}",
    )

    expected = Hook(
        exec=("dump", "/a"), user="app:app", timeout=timedelta(seconds=90), on_failure="warn"
    )
    assert (expected,) == found.before


def test_a_command_has_five_minutes_and_the_containers_user_by_default(tmp_path: Path) -> None:
    (hook,) = of_container(tmp_path, "{name: a, after: [{exec: sync}]}").after

    assert (timedelta(minutes=5), None, None) == (hook.timeout, hook.user, hook.on_failure)


@pytest.mark.parametrize(
    ("selector", "words"),
    [
        ("{name: a, pause: true, stop: true}", "has both 'pause' and 'stop'"),
        ("{name: a, stop_order: 1}", "has 'stop_order' without 'stop: true'"),
        ("{name: a, stop: true, stop_order: first}", "stop_order: 'first' is not a whole number"),
        ("{name: a, stop: 1}", "stop: '1' is neither true nor false"),
        ("{name: a, before: sync}", 'before: must be a list; write ["sync"]'),
        ("{name: a, before: [sync]}", "before[0]: must be a mapping"),
        ("{name: a, before: [{}]}", "before[0]: needs 'exec'"),
        ("{name: a, before: [{exec: ''}]}", "before[0].exec: "),
        ("{name: a, before: [{exec: []}]}", "before[0].exec: names no program"),
        ("{name: a, before: [{exec: 5}]}", "before[0].exec: is read as a number, not as text"),
        ("{name: a, before: [{exec: [a, 5]}]}", "before[0].exec[1]: is read as a number"),
        ("{name: a, after: [{exec: a, on_failure: stop}]}", "'stop' is not known here"),
        ("{name: a, after: [{exec: a, timeout: 0}]}", "after[0].timeout: "),
        ("{name: a, after: [{exec: a, user: 'a b'}]}", "after[0].user: 'a b' is not a user"),
        ("{name: a, after: [{exec: a, usr: b}]}", "did you mean 'user'?"),
    ],
)
def test_each_mistake_gets_one_sentence_with_its_place(
    selector: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(PolicyError) as error:
        of_container(tmp_path, selector)

    (problem,) = error.value.problems
    assert 1 == problem.line
    assert words in str(problem), str(problem)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("parallel: 0", "parallel: '0' must be at least 1"),
        ("parallel: 33", "parallel: '33' must be at most 32"),
        ("parallel: two", "parallel: 'two' is not a whole number"),
        ("jobs: {a: {images: [b], timeout: 1d}}", "timeout: '1d' is too long; 23h is the most"),
        ("jobs: {a: {images: [b], timeout: 0}}", "timeout: '0' must be longer than nothing"),
    ],
)
def test_limits_are_said_where_they_are_crossed(line: str, words: str, tmp_path: Path) -> None:
    text = line if line.startswith("jobs") else f"{line}\njobs: {{a: {{images: [b]}}}}"

    with pytest.raises(PolicyError) as error:
        policy(tmp_path, text)

    assert words in str(error.value)


def test_two_sources_at_a_time_and_twelve_hours_are_the_defaults(tmp_path: Path) -> None:
    found = policy(tmp_path, "jobs: {a: {images: [b]}}")

    assert (2, timedelta(hours=12)) == (found.parallel, found.jobs["a"].timeout)


def test_no_job_may_run_so_long_that_its_archive_would_count_as_forgotten(tmp_path: Path) -> None:
    longest = policy(tmp_path, "jobs: {a: {images: [b], timeout: 23h}}").jobs["a"].timeout
    engine = Engine(DockerSpec(), host="unix:///nowhere")
    begun = datetime(2024, 2, 3, tzinfo=UTC)
    site = Site(
        "web01",
        engine,
        DirectoryStore(tmp_path),
        StateDir(tmp_path),
        now=lambda: begun + longest,
    )

    assert forgotten_before(site) < begun
