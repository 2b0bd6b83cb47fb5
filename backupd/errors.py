"""All errors that backupd raises on purpose.

    BackupdError
    ├── UsageError          what the person typed cannot be done
    │   ├── PolicyError     the policy file is wrong: all of its problems at once
    │   └── NoKey           what is encrypted, and no identity that was given opens it
    ├── EngineError         the Docker engine refused, failed or went away
    │   ├── EngineUnreachable   nothing answers where the engine should be
    │   ├── EngineCut           the connection broke off in the middle of a request
    │   └── EngineStalled       it answered, then fell silent
    ├── StoreError          the store refused, failed or went away
    │   ├── ObjectMissing       the key names nothing
    │   ├── ObjectTooLarge      it has more bytes than one of ours could have
    │   ├── NotOurs             what the key names was not written by backupd
    │   └── PartsExhausted      an upload outgrew the parts that its estimate allowed
    ├── NotFound            a name, id or moment that matches nothing
    ├── ArchiveBroken       a stream that is not the whole archive it should be (while backing up)
    ├── DamagedBackup       a stored backup that fails its checks (while reading back)
    ├── NotRestorable       a container that cannot be given back as it was, and why
    ├── DrillFailed         what a backup was restored to for a drill did not come up
    ├── HookFailed          a command of the policy failed inside a container
    ├── AlreadyRunning      another process holds the lock
    ├── SystemdRefused      a program of this machine's systemd failed
    └── Cancelled           this process was told to stop

A message is a sentence for the person who must act: operation, object, cause, next step; lower
case, no final stop, no secret. Which exit code each one becomes is the command line's business.
"""

from __future__ import annotations

from dataclasses import dataclass


class BackupdError(Exception):
    """Root of the tree; catch it to catch everything that backupd raises on purpose."""


class UsageError(BackupdError):
    """The command line asks for what cannot be done."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a policy: where (`file:line`), at which path in it, and why."""

    file: str
    line: int | None
    path: str
    cause: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {self.path}: {self.cause}" if self.path else f"{where}: {self.cause}"


class PolicyError(UsageError):
    """The policy cannot be used; `problems` holds every cause found, in the file's order."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class NoKey(UsageError):
    """An encrypted backup, and none of the identities that were given opens it; nothing is known
    of what is inside."""


class EngineError(BackupdError):
    """The Docker engine refused a request, or failed in the middle of one."""


class EngineUnreachable(EngineError):
    """No engine answers at the given address, or it may not be talked to."""


class EngineCut(EngineError):
    """The connection broke off: nobody knows whether the engine did what it was asked."""


class EngineStalled(EngineError):
    """The engine sent nothing for longer than the policy allows."""


class StoreError(BackupdError):
    """The store refused a request, or failed in the middle of one."""


class ObjectMissing(StoreError):
    """No object has this key."""


class ObjectTooLarge(StoreError):
    """The object has more bytes than one that backupd wrote could have."""


class NotOurs(StoreError):
    """What this key holds is nothing that backupd wrote."""


class PartsExhausted(StoreError):
    """More bytes came than the estimate left room for; nothing was kept. A larger one helps."""


class NotFound(BackupdError):
    """No source, job, backup or moment matches what was asked for."""


class ArchiveBroken(BackupdError):
    """The stream from the engine is not the whole archive that it should be."""


class DamagedBackup(BackupdError):
    """A stored backup does not match its own manifest, or cannot be decoded."""


class NotRestorable(BackupdError):
    """What a container needs cannot be given back on this engine; nothing was made."""


class DrillFailed(BackupdError):
    """What a backup holds came back, but did not work as it should."""


class HookFailed(BackupdError):
    """A command that the policy runs inside a container failed, and that is to stop its backup."""


class AlreadyRunning(BackupdError):
    """Another process works on the same source; the message says which and since when."""


class SystemdRefused(BackupdError):
    """A program of this machine's systemd failed; the message has what it said."""


class Cancelled(BackupdError):
    """The work was told to stop before its end."""
