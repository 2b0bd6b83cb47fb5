"""The real command for the tests: `python -m backupd` as a subprocess.

Its environment is its own; nothing of the person who runs the tests reaches it: no AWS keys, no
home directory, no DOCKER_HOST.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import yaml

import backupd

NOBODY = 65534
_CAPABILITY = "-all,+dac_read_search"
QUICK = "tests.integration.quick"
"""As `module`: the same command with short waits for a store that does not answer."""

AS_NOBODY = (
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    # The interpreter may lie below a directory that only root may enter, so this nobody may read
    # everything; as anybody, it may write nothing that is not open to all, sockets included.
    *(f"--inh-caps={_CAPABILITY}", f"--ambient-caps={_CAPABILITY}"),
)
"""What to put before a command so that another user runs it (as root only)."""


_INTERRUPTIBLE = ("env", "--default-signal=INT")
"""A shell lets what it starts in the background ignore Ctrl-C, and children inherit that: so would
the command, when somebody runs the tests so."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended, and what it said."""

    code: int
    output: bytes
    stderr: str

    @property
    def stdout(self) -> str:
        """Standard output as text."""
        return self.output.decode()

    @property
    def json(self) -> Any:
        """Standard output as the JSON that `--json` promises."""
        return json.loads(self.output)


@dataclass(frozen=True)
class Command:
    """`backupd`, with one directory for its policy, its state and its home."""

    directory: Path
    environment: dict[str, str] = field(default_factory=dict)
    """Variables that every call gets besides the usual few; a test may add to it."""
    module: str = "backupd"
    """What is run as `python -m`."""

    @property
    def config(self) -> Path:
        """The policy file that the command reads unless `--config` names another."""
        return self.directory / "config.yaml"

    @property
    def state_dir(self) -> Path:
        """Where the command keeps its locks and its journal."""
        return self.directory / "state"

    def write(self, policy: Mapping[str, Any] | str) -> Path:
        """Write the policy (as a mapping, or literally) and return its path."""
        text = policy if isinstance(policy, str) else yaml.safe_dump(dict(policy), sort_keys=False)
        self.config.write_text(text)
        self.config.chmod(0o600)  # it may hold keys
        return self.config

    def __call__(
        self,
        *arguments: str | Path,
        stdin: bytes = b"",
        before: Sequence[str] = (),
        timeout_seconds: float = 180,
    ) -> Result:
        """Run to the end. `before` goes before the command, such as AS_NOBODY."""
        done = subprocess.run(
            [*before, *self._command(arguments)],
            input=stdin,
            capture_output=True,
            env=self._environment(),
            cwd=self.directory,
            timeout=timeout_seconds,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr.decode(errors="replace"))

    def start(
        self,
        *arguments: str | Path,
        before: Sequence[str] = (),
        errors: int | IO[bytes] = subprocess.PIPE,
    ) -> subprocess.Popen[bytes]:
        """Start it and come back at once; the caller waits for it or ends it."""
        return subprocess.Popen(
            [*before, *_INTERRUPTIBLE, *self._command(arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=self._environment(),
            cwd=self.directory,
        )

    def _command(self, arguments: Sequence[str | Path]) -> list[str]:
        return [sys.executable, "-m", self.module, *map(str, arguments)]

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "LANG": "C.UTF-8",
            # The code under test, also where it is not installed.
            "PYTHONPATH": str(Path(backupd.__file__).parents[1]),
            "BACKUPD_CONFIG": str(self.config),
            # No look at the cloud provider's address for keys: nothing answers there.
            "AWS_EC2_METADATA_DISABLED": "true",
            **self.environment,
        }
