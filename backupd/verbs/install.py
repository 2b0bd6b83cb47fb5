"""Put backupd in place as a service of systemd, and take it away again.

The unit, the definition of its user and the completions lie below /usr/local, which belongs to
whoever installs without a package; what a person writes lies below /etc, where a drop-in or a whole
unit of his own wins over ours (systemd.unit(5)). An install may be repeated: it replaces what is
ours and is how backupd is upgraded. The policy is the person's: written once, never replaced, never
removed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from backupd import systemd
from backupd.policy.schema import schema
from backupd.shipped import EXAMPLE_POLICY, SYSUSERS, UNIT, shipped
from backupd.verbs.place import (
    Account,
    Act,
    Step,
    Target,
    is_readable_by,
    put,
    put_folder,
    put_link,
    put_once,
    remove,
)
from backupd.verbs.program import Program

POLICY = Path("/etc/backupd/config.yaml")
STATE = Path("/var/lib/backupd")
UNIT_PATH = Path("/usr/local/lib/systemd/system") / systemd.UNIT_NAME
USERS_PATH = Path("/usr/local/lib/sysusers.d/backupd.conf")
COMMAND = Path("/usr/local/bin/backupd")
USER = "backupd"
COMPLETIONS = {
    "bash": Path("/usr/local/share/bash-completion/completions/backupd"),
    "zsh": Path("/usr/local/share/zsh/site-functions/_backupd"),
    "fish": Path("/usr/local/share/fish/vendor_completions.d/backupd.fish"),
}
"""Where each shell looks for completions of what was installed without a package."""

_OWN_UNIT = Path("/etc/systemd/system") / systemd.UNIT_NAME
_DROP_INS = _OWN_UNIT.with_name(f"{systemd.UNIT_NAME}.d")
_SHIPPED_SCRIPT = "/opt/backupd/bin/backupd"

Tell = Callable[[Step], None]


def install(
    target: Target, program: Program, completions: Mapping[str, str], tell: Tell
) -> list[str]:
    """Put everything in place and tell each step; what a person should know besides comes back.

    `completions` is the script for each shell. Raises UsageError, SystemdRefused.
    """
    program.require_usable()
    target.require_rights()
    for path, (text, what) in _files(program, completions).items():
        tell(put(target, path, text, what))
    remarks = _make_user(target)
    account = target.account(USER)
    policy = put_once(target, POLICY, shipped(EXAMPLE_POLICY), "policy", reader=account)
    tell(policy)
    tell(put_folder(target, STATE, "state directory", owner=account))
    if program.script != COMMAND:
        link = put_link(target, COMMAND, program.script, "link to the command")
        tell(link)
        if link.act is Act.KEPT:
            remarks.append(f"{COMMAND} is not a link to {program.script} and was left as it is")
    _tell_systemd(target)
    return remarks + _doubts(target, policy, account)


def uninstall(target: Target, program: Program, tell: Tell) -> list[str]:
    """Stop the service, remove what install put, and tell each step; what is left comes back.

    Raises UsageError, SystemdRefused.
    """
    target.require_rights()
    if _has_systemd(target) and target.has(UNIT_PATH):
        systemd.stop_and_disable()
    nothing = dict.fromkeys(COMPLETIONS, "")
    for path, (_, what) in _files(program, nothing).items():
        if target.has(path):
            tell(remove(target, path, what))
    link = target.at(COMMAND)
    if link.is_symlink() and link.readlink() == program.script:
        tell(remove(target, COMMAND, "link to the command"))
    _tell_systemd(target)
    for path, what in {POLICY: "policy", _DROP_INS: "drop-ins", STATE: "state directory"}.items():
        if target.has(path):
            tell(Step(Act.KEPT, path, what))
    return [
        f"the user {USER} stays, since files of it do",
        f"the program itself is left; remove it with: rm -r {program.home}",
    ]


def _files(program: Program, completions: Mapping[str, str]) -> dict[Path, tuple[str, str]]:
    """What is ours, replaced at every install: path → text, and what it is."""
    unit = shipped(UNIT).replace(_SHIPPED_SCRIPT, str(program.script))
    policy_schema = json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
    return {
        UNIT_PATH: (unit, "unit"),
        USERS_PATH: (shipped(SYSUSERS), "user of the service"),
        POLICY.with_name("schema.json"): (policy_schema, "schema of the policy, for editors"),
        **{
            COMPLETIONS[shell]: (script, f"completion for {shell}")
            for shell, script in completions.items()
        },
    }


def _make_user(target: Target) -> list[str]:
    if target.dry_run:
        return []
    if not systemd.can_make_users():
        return [
            "systemd-sysusers is not on this machine, so no user was made; make the system user "
            f"{USER} in group docker, then run this again"
        ]
    target.at(Path("/etc")).mkdir(exist_ok=True)
    systemd.make_users(target.at(USERS_PATH), target.root)
    return []


def _doubts(target: Target, policy: Step, account: Account | None) -> list[str]:
    """What would keep the service from running as the person expects."""
    doubts = []
    place = target.at(POLICY)
    unreadable = account is not None and place.exists() and not is_readable_by(place, account)
    if policy.act is Act.KEPT and unreadable:
        doubts.append(
            f"the service may not read {POLICY}; "
            f"run: chgrp {USER} {POLICY} && chmod u=rw,g=r,o= {POLICY}"
        )
    if target.has(_OWN_UNIT):
        doubts.append(f"{_OWN_UNIT} wins over the unit put here; remove it to use this one")
    return doubts


def _has_systemd(target: Target) -> bool:
    return target.is_this_machine and not target.dry_run and systemd.is_running()


def _tell_systemd(target: Target) -> None:
    if _has_systemd(target):
        systemd.reload_units()
