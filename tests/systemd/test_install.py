"""`backupd install` and `uninstall` on a real machine."""

from __future__ import annotations

from tests.systemd.machine import UNIT, Machine
from tests.systemd.scene import POLICY, Scene

BACKUPD = "/opt/backupd/bin/backupd"
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


def test_an_install_makes_user_unit_policy_and_link(machine: Machine) -> None:
    said = machine.run(BACKUPD, "install").text

    assert "backupd docker" == machine.run("id", "-nG", "backupd").text.strip()
    assert "640 root backupd" == machine.run("stat", "-c", "%a %U %G", POLICY).text.strip()
    assert "loaded" == machine.show("LoadState")
    assert "750 backupd" == machine.run("stat", "-c", "%a %U", "/var/lib/backupd").text.strip()
    assert BACKUPD == machine.run("readlink", "/usr/local/bin/backupd").text.strip()
    assert ["backupd check", "systemctl enable --now backupd"] == [
        line.strip() for line in said.splitlines()[-2:]
    ]


def test_only_root_may_install_and_everyone_may_look(machine: Machine) -> None:
    refused = machine.run(*NOBODY, BACKUPD, "install", check=False)
    looked = machine.run(*NOBODY, BACKUPD, "install", "--dry-run")

    assert (2, True) == (refused.code, "only root may" in refused.text)
    assert "would be created" in looked.text
    assert "not-found" == machine.show("LoadState")


def test_an_install_from_a_home_is_refused_with_the_way_out(machine: Machine) -> None:
    machine.run("cp", "-a", "/opt/backupd", "/root/venv")
    said = machine.run("/root/venv/bin/python3", "-m", "backupd", "install", check=False)

    assert 2 == said.code
    assert "lies below /root" in said.text
    assert "python3 -m venv /opt/backupd" in said.text


def test_a_second_install_leaves_an_edited_policy_and_says_restart(scene: Scene) -> None:
    before = scene.machine.read(POLICY)
    scene.start()

    said = scene.machine.run(BACKUPD, "install").text

    assert before == scene.machine.read(POLICY)
    assert "systemctl restart backupd" == said.splitlines()[-1].strip()


def test_an_uninstall_stops_the_service_and_keeps_policy_and_state(scene: Scene) -> None:
    scene.start()
    scene.machine.systemctl("enable", UNIT)

    scene.machine.run(BACKUPD, "uninstall")

    assert "not-found" == scene.machine.show("LoadState")
    assert 0 == scene.machine.main_process()
    scene.machine.run("test", "-e", POLICY)
    scene.machine.run("test", "-d", "/var/lib/backupd")
    wanted = scene.machine.run("ls", "/etc/systemd/system/multi-user.target.wants", check=False)
    assert UNIT not in wanted.text
