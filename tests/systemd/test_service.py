"""The daemon as systemd runs it: started, reloaded, stopped, killed, hung, and the machine lost."""

from __future__ import annotations

from datetime import UTC, datetime

import docker

from tests.servers.rootfs import BASE
from tests.systemd.machine import UNIT
from tests.systemd.scene import JOB, POLICY, Scene

CREDENTIALS = f"CREDENTIALS_DIRECTORY=/run/credentials/{UNIT}.service"
SHORT_WATCHDOG = "[Service]\nWatchdogSec=3s\n"
EVERY_MINUTE = "* * * * *"
MAILBOX = """\
import http.server
from pathlib import Path

class Mailbox(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Path("/root/mail").write_bytes(body)
        self.send_response(200)
        self.end_headers()

http.server.HTTPServer(("127.0.0.1", 18099), Mailbox).serve_forever()
"""


def test_a_start_ends_when_the_daemon_is_ready_and_tells_the_next_run(scene: Scene) -> None:
    scene.start()

    assert ("active", "running") == (
        scene.machine.show("ActiveState"),
        scene.machine.show("SubState"),
    )
    scene.machine.wait(
        lambda: f"next: {JOB} at" in scene.machine.show("StatusText"), "no next run is told"
    )
    assert "03:00 UTC" in scene.machine.show("StatusText")


def test_a_policy_that_is_wrong_at_the_start_is_told_with_its_line(scene: Scene) -> None:
    scene.write_text("jobs:\n  nightly:\n    imges: [a]\n")

    started = scene.machine.systemctl("start", UNIT, check=False)

    assert 0 != started.code
    assert "2" == scene.machine.show("ExecMainStatus")
    scene.machine.wait_line(f"{POLICY}:3: jobs.nightly.imges")


def test_a_reload_swaps_the_policy_in_the_same_process(scene: Scene) -> None:
    scene.start()
    process = scene.machine.main_process()

    scene.policy["jobs"][JOB]["schedule"] = "30 4 * * *"
    scene.write()
    scene.machine.systemctl("reload", UNIT)

    scene.machine.wait(
        lambda: "04:30 UTC" in scene.machine.show("StatusText"), "the new schedule is not followed"
    )
    scene.machine.wait_state("active")
    assert process == scene.machine.main_process()


def test_a_reload_of_a_wrong_policy_keeps_the_old_one_and_says_why(scene: Scene) -> None:
    scene.start()
    good = scene.machine.read(POLICY)

    scene.write_text(good.replace("schedule: 0 3", "schedule: 99 3"))
    scene.machine.systemctl("reload", UNIT)

    problem = f"{POLICY}:{line_of(good, 'schedule')}: jobs.{JOB}.schedule"
    scene.machine.wait(
        lambda: problem in scene.machine.show("StatusText"), "the status does not say what is wrong"
    )
    scene.machine.wait_state("active")
    assert "03:00 UTC" in scene.machine.show("StatusText")
    errors = [entry["MESSAGE"] for entry in scene.machine.journal() if entry["PRIORITY"] == "3"]
    assert [problem] == [problem for message in errors if problem in message]
    assert problem in scene.machine.shell(f"{CREDENTIALS} backupd status", check=False).text

    scene.write_text(good)
    scene.machine.systemctl("reload", UNIT)

    scene.machine.wait(
        lambda: problem not in scene.machine.show("StatusText"), "the good policy is not taken"
    )


def test_a_stop_ends_the_daemon_in_order(scene: Scene) -> None:
    scene.start()

    scene.machine.systemctl("stop", UNIT)

    assert ("inactive", "success", "0") == (
        scene.machine.show("ActiveState"),
        scene.machine.show("Result"),
        scene.machine.show("ExecMainStatus"),
    )


def test_a_killed_daemon_is_started_again(scene: Scene) -> None:
    scene.start()
    first = scene.machine.main_process()

    scene.machine.systemctl("kill", "-s", "KILL", UNIT)

    scene.machine.wait(
        lambda: scene.machine.main_process() not in {0, first}, "it is not started again"
    )
    scene.machine.wait_state("active")
    assert "1" == scene.machine.show("NRestarts")


def test_a_daemon_that_hangs_is_started_again(scene: Scene) -> None:
    scene.drop_in(SHORT_WATCHDOG)
    scene.start()
    first = scene.machine.main_process()

    scene.machine.run("kill", "-STOP", str(first))

    scene.machine.wait_line("Watchdog timeout")
    scene.machine.wait(
        lambda: scene.machine.main_process() not in {0, first}, "it is not started again"
    )
    scene.machine.wait_state("active")


def test_the_watchdog_leaves_a_daemon_alone_that_has_nothing_to_do(scene: Scene) -> None:
    scene.drop_in(SHORT_WATCHDOG)
    scene.start()
    fed = int(scene.machine.show("WatchdogTimestampMonotonic"))

    # Three times as long as a daemon that feeds nothing would live.
    scene.machine.wait(
        lambda: int(scene.machine.show("WatchdogTimestampMonotonic")) > fed + 9_000_000,
        "the watchdog is not fed",
    )

    assert "0" == scene.machine.show("NRestarts")


def test_it_is_ready_before_the_engine_and_waits_for_it(scene: Scene) -> None:
    scene.policy["docker"] = {"host": "unix:///run/backupd-test/docker.sock"}
    scene.write()
    scene.start()

    scene.machine.wait(
        lambda: "waiting for the engine" in scene.machine.show("StatusText"),
        "the status does not say what it waits for",
    )
    scene.machine.shell(
        "mkdir /run/backupd-test && ln -s /run/docker.sock /run/backupd-test/docker.sock"
    )

    scene.machine.wait_line("the engine is there")
    scene.machine.wait(
        lambda: "waiting" not in scene.machine.show("StatusText"), "it waits all the same"
    )


def test_a_run_that_a_power_cut_made_it_miss_is_caught_up(scene: Scene) -> None:
    scene.policy["jobs"][JOB]["schedule"] = EVERY_MINUTE
    scene.write()
    scene.machine.systemctl("enable", "--now", UNIT)
    scene.machine.wait(lambda: bool(scene.manifests()), "no run by schedule", seconds=90)
    scene.machine.wait_line(f"saved image {BASE}, job {JOB}: backup ")
    begun = [entry for entry in scene.machine.journal() if "begin image" in entry["MESSAGE"]]
    assert {"6"} == {entry["PRIORITY"] for entry in begun}

    scene.machine.cut_power()
    before, minute = len(scene.manifests()), now_minute()
    scene.machine.wait(lambda: now_minute() != minute, "the clock stands still", seconds=90)
    scene.machine.boot()

    scene.machine.wait_line(f"job {JOB} missed its run at")
    scene.machine.wait(lambda: len(scene.manifests()) > before, "the missed run is not caught up")
    assert "active" == scene.machine.show("ActiveState")


def test_an_enabled_service_comes_back_after_a_reboot(scene: Scene) -> None:
    scene.machine.systemctl("enable", "--now", UNIT)

    scene.machine.reboot()

    scene.machine.wait_state("active")
    scene.machine.wait_line("stopped")


def test_a_stop_cancels_a_run_that_outlasts_its_grace(scene: Scene, api: docker.APIClient) -> None:
    container = str(
        api.create_container(BASE, command=["sleep", "3600"], name="backupd-test-slow")["Id"]
    )
    api.start(container)
    try:
        dump = {"exec": ["sleep", "600"], "timeout": "15m"}
        slow = {"name": "backupd-test-slow", "before": [dump]}
        scene.policy["jobs"][JOB] = {"schedule": EVERY_MINUTE, "containers": [slow]}
        scene.policy["stop_grace"] = "1s"
        scene.write()
        scene.start()
        scene.machine.wait(
            lambda: f"running {JOB}" in scene.machine.show("StatusText"), "no run", seconds=90
        )

        scene.machine.systemctl("stop", UNIT)

        assert ("success", "0") == (
            scene.machine.show("Result"),
            scene.machine.show("ExecMainStatus"),
        )
        assert f"cancelling {JOB}" in scene.machine.lines()
    finally:
        api.remove_container(container, force=True)


def test_numbers_and_messages_leave_the_hardened_service(scene: Scene) -> None:
    scene.policy["metrics"] = {"listen": "127.0.0.1:18098"}
    scene.policy["notify"] = {"urls": ["json://127.0.0.1:18099"]}
    scene.write()
    scene.machine.write("/root/mailbox.py", MAILBOX)
    scene.machine.run("systemd-run", "--unit=mailbox", "python3", "/root/mailbox.py")
    scene.start()

    page = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:18098/metrics').read())"
    assert JOB in scene.machine.run("python3", "-c", page).text

    scene.write_text("jobs: {}\n")
    scene.machine.systemctl("reload", UNIT)

    scene.machine.wait(
        lambda: POLICY in scene.machine.run("cat", "/root/mail", check=False).text,
        "nobody was told of the wrong policy",
    )


def test_what_root_does_by_hand_never_locks_the_service_out(scene: Scene) -> None:
    # The store of the first policy: a directory of the service's own.
    del scene.policy["store"]
    scene.write()
    scene.machine.run("backupd", "check")
    scene.machine.run("backupd", "backup")

    by_the_service = scene.machine.run("runuser", "-u", "backupd", "--", "backupd", "backup")
    scene.start()

    assert BASE in by_the_service.text
    scene.machine.wait(lambda: "next:" in scene.machine.show("StatusText"), "it is not ready")
    assert [] == [
        entry["MESSAGE"] for entry in scene.machine.journal() if int(entry["PRIORITY"]) <= 4
    ]


def test_root_lends_a_command_the_credentials_of_the_service(scene: Scene) -> None:
    scene.start()

    said = scene.machine.shell(f"{CREDENTIALS} backupd check").text

    assert "can be written, read, listed and deleted from" in said


def line_of(text: str, word: str) -> int:
    """The number of the first line with this word in it."""
    return next(number for number, line in enumerate(text.splitlines(), 1) if word in line)


def now_minute() -> datetime:
    """The minute that has begun."""
    return datetime.now(UTC).replace(second=0, microsecond=0)
