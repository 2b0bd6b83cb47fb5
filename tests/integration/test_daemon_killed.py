"""A daemon is killed in the middle; the next one puts all right before it runs anything."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.integration.aftermath import journal, kept_in, names_listed, status, wait_until
from tests.integration.command import Command
from tests.integration.conftest import WritePolicy, leaving_no_trace
from tests.integration.daemon_process import (
    YEARLY,
    Hold,
    daemon_json,
    promised_long_ago,
    running,
    states,
)
from tests.integration.holding import held
from tests.servers.dockerd import Engine
from tests.servers.faulty_engine import EXPORT, Fault, FaultyEngine
from tests.servers.rootfs import build_image
from tests.servers.seaweedfs import SeaweedFS

IMAGE, CONTAINER = "backupd-test-killing:1", "backupd-test-killing"
MIB = 1 << 20
NAME = "store.backupd-test"
DOWN = {"pause": "paused", "stop": "exited"}


@pytest.fixture(scope="module", autouse=True)
def image(engine: Engine) -> Iterator[None]:
    with leaving_no_trace(engine) as client:
        build_image(client, IMAGE, layers=[{"data/random": os.urandom(14 * MIB)}])
        yield


@pytest.fixture
def running_container(api: docker.APIClient) -> None:
    """The container, which runs."""
    api.create_container(IMAGE, ["sleep", "1000"], name=CONTAINER, stop_signal="SIGKILL")
    api.start(CONTAINER)


@pytest.fixture
def faulty(engine: Engine) -> Iterator[FaultyEngine]:
    with FaultyEngine(engine.host) as proxy:
        yield proxy


class Names:
    """The names that a daemon resolves besides those of the machine, in a namespace of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.forget()

    @property
    def before(self) -> tuple[str, ...]:
        """What goes before the command; it keeps its process id."""
        script = 'mount --bind "$1" /etc/hosts && shift && exec "$@"'
        user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
        return ("unshare", *user, "--mount", "sh", "-c", script, "sh", str(self._path))

    def know(self) -> None:
        """The store's name is known."""
        self._path.write_text(f"127.0.0.1 {NAME}\n")

    def forget(self) -> None:
        """It is not."""
        self._path.write_text("127.0.0.1 localhost\n")


@pytest.mark.parametrize("act", ["pause", "stop"])
def test_what_a_killed_daemon_left_is_undone_before_anything_runs_and_the_run_is_caught_up(
    act: str,
    api: docker.APIClient,
    running_container: None,
    policy: WritePolicy,
    faulty: FaultyEngine,
    backupd: Command,
    bucket: dict[str, Any],
    s3: SeaweedFS,
) -> None:
    names = Names(backupd.directory / "hosts")
    endpoint = s3.endpoint.replace("127.0.0.1", NAME)
    policy(
        {"held": {"schedule": YEARLY, "containers": [{"name": CONTAINER, act: True}]}},
        store={**bucket, "endpoint": endpoint, "part_size": "5MiB"},
        docker={"host": faulty.host},
        compression="none",
    )
    promised_long_ago(backupd, "held")
    names.know()
    hold = Hold(faulty, EXPORT, at_byte=12 * MIB)
    with running(backupd, before=names.before) as daemon:
        hold.wait()
        wait_until(lambda: any("unfinished" in key for key in kept_in(s3, bucket)))
        down = status(api, CONTAINER)
        daemon.kill()
    hold.release()
    interrupted = states(backupd, "held")
    names.forget()
    with running(backupd, before=names.before) as daemon:
        # Killed before it came to the uploads: that they are owed is not forgotten.
        daemon.wait_for("waiting for the store's name")
        daemon.kill()
    with running(backupd, before=names.before) as daemon:
        daemon.wait_for(f"waiting for the store's name: the store's name {NAME} does not resolve")
        wait_until(lambda: daemon_json(backupd).get("waits_for") == "the store's name")
        up, begun = status(api, CONTAINER), daemon.log.count("job held begins")
        names.know()
        daemon.wait_for("job held ended: good")
        code = daemon.stop()
    policy({"held": {"containers": [CONTAINER]}}, store=bucket)
    unfinished = [key for key in kept_in(s3, bucket) if "unfinished" in key]

    assert (DOWN[act], ["interrupted"]) == (down, interrupted)
    assert ("running", 0) == (up, begun)
    assert (0, ["good", "interrupted"]) == (code, states(backupd, "held"))
    assert ("running", [], []) == (status(api, CONTAINER), journal(backupd), unfinished)
    assert 1 == daemon.log.count("dropped 1 unfinished uploads")
    assert [CONTAINER] == names_listed(backupd)


def test_a_backup_by_hand_is_left_alone_by_a_daemon_that_starts(
    api: docker.APIClient,
    running_container: None,
    policy: WritePolicy,
    faulty: FaultyEngine,
    backupd: Command,
    bucket: dict[str, Any],
    s3: SeaweedFS,
) -> None:
    policy(
        {"held": {"schedule": YEARLY, "containers": [{"name": CONTAINER, "pause": True}]}},
        store={**bucket, "part_size": "5MiB"},
        docker={"host": faulty.host},
        compression="none",
    )
    # A run that died makes the daemon look for its uploads, whatever their age.
    with held(backupd, faulty, Fault(EXPORT, at_byte=12 * MIB), "backup", "held") as died:
        died.end(signal.SIGKILL)
    with held(backupd, faulty, Fault(EXPORT, at_byte=12 * MIB), "backup", "held") as backup:
        wait_until(lambda: any("unfinished" in key for key in kept_in(s3, bucket)))
        with running(backupd) as daemon:
            daemon.wait_for("was interrupted: its process died")
            wait_until(lambda: daemon_json(backupd).get("waits_for") == "")
            wait_until(lambda: any(key.endswith("/status.json") for key in kept_in(s3, bucket)))
            meanwhile = status(api, CONTAINER), states(backupd, "held")[0]
            daemon.stop()
        result = backup.end()

    assert ("paused", "running") == meanwhile
    assert (0, [CONTAINER]) == (result.code, names_listed(backupd))
    assert "running" == status(api, CONTAINER)
    assert ["good", "interrupted"] == states(backupd, "held")


def test_a_daemon_waits_for_an_engine_that_comes_up_after_it(
    engine: Engine,
    api: docker.APIClient,
    running_container: None,
    policy: WritePolicy,
    backupd: Command,
    tmp_path: Path,
) -> None:
    later = tmp_path / "docker.sock"
    policy(
        {"held": {"schedule": YEARLY, "containers": [CONTAINER]}},
        store={"url": f"file://{tmp_path}/store"},
        docker={"host": f"unix://{later}"},
    )
    promised_long_ago(backupd, "held")
    with running(backupd) as daemon:
        daemon.wait_for("waiting for the engine: ")
        wait_until(lambda: daemon_json(backupd).get("waits_for") == "the engine")
        shown = backupd("status").stdout
        later.symlink_to(engine.host.removeprefix("unix://"))
        daemon.wait_for("job held ended: good")
        code = daemon.stop()

    assert "waiting for the engine" in shown
    assert (0, ["good"]) == (code, states(backupd, "held"))
