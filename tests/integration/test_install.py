"""`install` and `uninstall` into an empty root directory; tests/systemd does it on a real machine.

No systemd-sysusers is on the PATH here, so users come from the root directory's own passwd.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backupd.errors import UsageError
from backupd.shipped import EXAMPLE_POLICY, shipped
from backupd.verbs.install import (
    COMMAND,
    COMPLETIONS,
    POLICY,
    STATE,
    UNIT_PATH,
    USERS_PATH,
    install,
    uninstall,
)
from backupd.verbs.place import Act, Step, Target
from backupd.verbs.program import HIDDEN, Program

ENV = Path("/usr/bin/env")
PROGRAM = Program(ENV, Path("/usr"), (ENV,))
"""Any program that everyone may run stands for backupd's."""
SCRIPTS = {"bash": "# bash\n", "zsh": "#compdef backupd\n", "fish": "# fish\n"}
SCHEMA = POLICY.with_name("schema.json")
FILES = {UNIT_PATH, USERS_PATH, SCHEMA, *COMPLETIONS.values()}


@pytest.fixture(autouse=True)
def no_programs_of_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture
def umask_of_a_careful_root() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everyone may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def target(tmp_path: Path) -> Target:
    root = tmp_path / "root"
    root.mkdir()
    return Target(root)


def put(target: Target) -> tuple[dict[Path, Act], list[str]]:
    """What an install did to each path, and its remarks."""
    steps: list[Step] = []
    remarks = install(target, PROGRAM, SCRIPTS, steps.append)
    return {step.path: step.act for step in steps}, remarks


def take(target: Target) -> dict[Path, Act]:
    """What an uninstall did to each path."""
    steps: list[Step] = []
    uninstall(target, PROGRAM, steps.append)
    return {step.path: step.act for step in steps}


def make_account(target: Target, uid: int) -> None:
    passwd = target.at(Path("/etc/passwd"))
    passwd.parent.mkdir(exist_ok=True)
    passwd.write_text(f"backupd:x:{uid}:{uid}::/var/lib/backupd:/usr/sbin/nologin\n")


def content_of(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_an_install_puts_everything_in_place(target: Target) -> None:
    acts, _ = put(target)

    assert dict.fromkeys([*FILES, POLICY, STATE, COMMAND], Act.CREATED) == acts
    assert "#compdef backupd\n" == target.at(COMPLETIONS["zsh"]).read_text()


@pytest.mark.usefixtures("umask_of_a_careful_root")
def test_everyone_may_read_what_is_installed_whatever_the_umask(target: Target) -> None:
    put(target)

    modes = {stat.S_IMODE(target.at(path).stat().st_mode) for path in FILES}
    folders = {
        stat.S_IMODE(folder.stat().st_mode)
        for path in FILES
        for folder in target.at(path).parents
        if folder.is_relative_to(target.root) and folder not in {target.root, target.root / "etc"}
    }
    assert ({0o644}, {0o755}) == (modes, folders)


def test_the_first_policy_is_the_example_and_no_business_of_others(target: Target) -> None:
    put(target)

    assert shipped(EXAMPLE_POLICY) == target.at(POLICY).read_text()
    assert 0o640 == stat.S_IMODE(target.at(POLICY).stat().st_mode)


def test_the_unit_starts_the_program_that_was_installed(target: Target) -> None:
    put(target)

    assert f"ExecStart={ENV} daemon\n" in target.at(UNIT_PATH).read_text()


def test_a_second_install_changes_nothing(target: Target) -> None:
    put(target)
    before = content_of(target.root)

    acts, _ = put(target)

    assert {Act.SAME, Act.KEPT} == set(acts.values())
    assert before == content_of(target.root)


def test_an_upgrade_replaces_the_unit_and_keeps_the_policy(target: Target) -> None:
    put(target)
    target.at(UNIT_PATH).write_text("[Unit]\nDescription=older\n")
    target.at(POLICY).write_text("jobs: {mine: {images: [a]}}\n")

    acts, _ = put(target)

    assert (Act.REPLACED, Act.KEPT) == (acts[UNIT_PATH], acts[POLICY])
    assert "jobs: {mine: {images: [a]}}\n" == target.at(POLICY).read_text()


def test_a_policy_that_is_a_link_into_nothing_is_kept(target: Target) -> None:
    target.at(POLICY).parent.mkdir(parents=True)
    target.at(POLICY).symlink_to("/srv/config/not-mounted-yet.yaml")

    put(target)

    assert target.at(POLICY).is_symlink()


def test_a_dry_run_tells_the_same_and_does_nothing(target: Target) -> None:
    told, _ = put(Target(target.root, dry_run=True))

    assert {} == content_of(target.root)
    assert put(target)[0] == told


def test_another_command_of_that_name_is_left_alone(target: Target) -> None:
    target.at(COMMAND).parent.mkdir(parents=True)
    target.at(COMMAND).write_text("#!/bin/sh\n")

    _, remarks = put(target)

    assert "#!/bin/sh\n" == target.at(COMMAND).read_text()
    assert f"{COMMAND} is not a link to {ENV} and was left as it is" in remarks


def test_without_sysusers_it_says_what_user_to_make(target: Target) -> None:
    _, remarks = put(target)

    assert any("make the system user backupd in group docker" in remark for remark in remarks)


def test_a_policy_that_the_service_may_not_read_is_told(target: Target) -> None:
    make_account(target, 4711)
    target.at(POLICY).parent.mkdir(parents=True)
    target.at(POLICY).write_text("jobs: {}\n")
    target.at(POLICY).chmod(0o600)

    _, remarks = put(target)

    assert any(f"chgrp backupd {POLICY}" in remark for remark in remarks)


def test_a_unit_of_the_administrator_is_told(target: Target) -> None:
    own = target.at(Path("/etc/systemd/system/backupd.service"))
    own.parent.mkdir(parents=True)
    own.write_text("[Service]\n")

    _, remarks = put(target)

    assert any("wins over the unit put here" in remark for remark in remarks)


def test_an_uninstall_removes_what_install_put_and_keeps_policy_and_state(target: Target) -> None:
    put(target)
    target.at(STATE / "history").write_text("runs")

    acts = take(target)

    removed = dict.fromkeys([*FILES, COMMAND], Act.REMOVED)
    assert {**removed, POLICY: Act.KEPT, STATE: Act.KEPT} == acts
    left = {"etc/backupd/config.yaml", "var/lib/backupd/history"}
    assert left == set(content_of(target.root))


def test_an_uninstall_leaves_another_command_of_that_name(target: Target) -> None:
    target.at(COMMAND).parent.mkdir(parents=True)
    target.at(COMMAND).write_text("#!/bin/sh\n")

    take(target)

    assert target.at(COMMAND).exists()


def test_a_second_uninstall_finds_nothing_to_remove(target: Target) -> None:
    put(target)
    take(target)

    assert {Act.KEPT} == set(take(target).values())


@pytest.mark.parametrize("hidden", HIDDEN)
def test_a_program_that_the_service_cannot_see_is_refused(target: Target, hidden: Path) -> None:
    program = Program(ENV, Path("/usr"), (ENV, hidden / "tool/lib/python3.11"))

    with pytest.raises(UsageError, match=f"lies below {hidden}, which the hardened service"):
        install(target, program, SCRIPTS, lambda _: None)

    assert {} == content_of(target.root)


def test_a_link_to_an_interpreter_that_the_service_cannot_see_is_refused(tmp_path: Path) -> None:
    hidden, link = tmp_path / "home", tmp_path / "python3"
    hidden.mkdir()
    (hidden / "python3").write_text("")
    link.symlink_to(hidden / "python3")

    with pytest.raises(UsageError, match=f"{hidden}/python3 lies below {hidden}, which"):
        Program(ENV, Path("/usr"), (ENV, link)).require_usable(hidden=(hidden,))


@pytest.mark.parametrize("closed", ["venv", "venv/bin/backupd"])
def test_a_program_that_others_may_not_read_is_refused(open_folder: Path, closed: str) -> None:
    home = open_folder / "venv"
    script = home / "bin/backupd"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n")
    for path in (script, script.parent, home):
        path.chmod(0o755)
    (open_folder / closed).chmod(0o700)

    with pytest.raises(UsageError, match=rf"run: chmod -R a\+rX {open_folder / closed}$"):
        Program(script, home, (script,)).require_usable(hidden=())


def test_a_program_whose_path_a_unit_cannot_name_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "50% off"
    script.write_text("#!/bin/sh\n")

    with pytest.raises(UsageError, match="a unit cannot name"):
        Program(script, tmp_path, (script,)).require_usable()


def test_a_module_without_its_command_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no command"):
        Program(tmp_path / "backupd", tmp_path, ()).require_usable()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_offer_verbs(shell: str) -> None:
    line = "backupd uninst"
    environment = {
        "_BACKUPD_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": "uninst" if shell == "fish" else line,
        "COMP_CWORD": "uninst" if shell == "fish" else "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "backupd"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "uninstall" in done.stdout
