"""Commands `after` when somebody waits for the end: what there is time for, and what is owed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import docker
import pytest

from backupd import journal
from backupd.engine import Engine as BackupdEngine
from backupd.errors import Cancelled
from backupd.manifest import Container
from backupd.policy import Consistency, DockerSpec, Hook
from backupd.site import Site
from backupd.state import StateDir
from backupd.stores.directory import DirectoryStore
from backupd.stream import Cancel
from backupd.verbs.consistency import HURRIED_SECONDS, held
from tests.integration.aftermath import wait_until
from tests.integration.trees import run_inside
from tests.servers.dockerd import Engine
from tests.servers.rootfs import base_image

NAME = "backupd-test-hurried"
SLOW = Hook(exec=("sh", "-c", "touch /begun; exec sleep 600"))
LAST = Hook(exec=("sh", "-c", "echo last >>/log"))


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def pass_all(self) -> None:
        """Let the time be over that commands after have."""
        self.seconds += HURRIED_SECONDS


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def site(tmp_path: Path, engine: Engine, clock: Clock) -> Site:
    return Site(
        "testhost",
        BackupdEngine(DockerSpec(), host=engine.host),
        DirectoryStore(tmp_path / "store"),
        StateDir(tmp_path / "state"),
        lambda: datetime.now(UTC),
        cancel=Cancel(clock),
    )


@pytest.fixture
def container(api: docker.APIClient) -> Container:
    """A container that runs, as it was seen just now."""
    image = base_image(api)
    made = api.create_container(image, ["sleep", "1000"], name=NAME, stop_signal="SIGKILL")
    api.start(NAME)
    return Container(
        id=made["Id"], name=NAME, image=image, image_id=image, state="running", paused=False
    )


def read_until_stopped(
    site: Site, container: Container, after: Sequence[Hook], stop: Callable[[], object]
) -> None:
    """The reading of a container with these commands after, in which `stop` sets the wish to."""
    with held(site, container, Consistency(after=tuple(after)), print):
        stop()
        site.cancel.raise_if_set()


def caught_up(site: Site) -> list[str]:
    """What the next backup says of what it undoes."""
    said: list[str] = []
    journal.replay(site.state, site.engine, said.append, Cancel())
    return said


def log(api: docker.APIClient) -> str:
    return run_inside(api, NAME, "cat /log || true")


def test_a_command_that_goes_on_too_long_is_left_and_those_behind_it_are_owed(
    api: docker.APIClient, site: Site, container: Container, clock: Clock
) -> None:
    def once_it_is_begun() -> None:
        wait_until(lambda: run_inside(api, NAME, "test -e /begun || echo not") == "")
        clock.pass_all()

    beside = threading.Thread(target=once_it_is_begun)
    beside.start()
    with pytest.raises(Cancelled) as stopped:
        read_until_stopped(site, container, [SLOW, LAST], site.cancel.set)
    beside.join()
    before = log(api)
    said = caught_up(site)

    assert [
        "and its command after[0] did not end before the process had to, and may go on in there",
        "and its command after[1] was not begun, for want of time; the next backup sees to it",
    ] == stopped.value.__notes__
    assert "last" not in before
    assert "after[1]" in said[0]
    assert f"container {NAME!r}: after[1] gave 0" == said[1]
    assert ("last\n", []) == (log(api), caught_up(site))


def test_the_time_is_counted_from_when_somebody_began_to_wait(
    api: docker.APIClient, site: Site, container: Container, clock: Clock
) -> None:
    def stop() -> None:
        site.cancel.set()
        clock.pass_all()

    with pytest.raises(Cancelled) as stopped:
        read_until_stopped(site, container, [LAST], stop)
    before = log(api)
    caught_up(site)

    assert 1 == len(stopped.value.__notes__)
    assert "last" not in before
    assert "last\n" == log(api)


def test_commands_that_cannot_be_written_down_anew_stay_owed_all_of_them(
    api: docker.APIClient, site: Site, container: Container, clock: Clock
) -> None:
    def stop() -> None:
        site.cancel.set()
        clock.pass_all()
        (entry,) = (site.state.path / "journal").glob("after-*.json")
        entry.with_suffix(".partial").mkdir()

    with pytest.raises(Cancelled):
        read_until_stopped(site, container, [LAST], stop)
    (obstacle,) = (site.state.path / "journal").glob("*.partial")
    obstacle.rmdir()
    caught_up(site)

    assert "last\n" == log(api)


def test_a_job_whose_own_time_is_over_still_runs_what_is_after(
    api: docker.APIClient, site: Site, container: Container, clock: Clock
) -> None:
    def expire() -> None:
        site.cancel.expire()
        clock.pass_all()

    with pytest.raises(Cancelled):
        read_until_stopped(site, container, [LAST], expire)

    assert ("last\n", []) == (log(api), caught_up(site))
