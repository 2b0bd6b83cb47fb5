"""What tests of the service begin with: backupd installed, a policy, keys only root may read."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import yaml

from tests.servers.rootfs import BASE
from tests.servers.seaweedfs import FULL, SeaweedFS
from tests.systemd.machine import UNIT, Machine

DOCKER_GROUP = 4242
"""The number of group docker in the machines, and the owner of our own engine's socket."""
JOB = "nightly"
POLICY = "/etc/backupd/config.yaml"
DROP_INS = f"/etc/systemd/system/{UNIT}.service.d"

_CREDENTIALS = """\
[Service]
LoadCredential=s3-access:/etc/backupd/s3.access
LoadCredential=s3-secret:/etc/backupd/s3.secret
"""
_buckets = (f"backupd-machine-{number}" for number in itertools.count(1))


@dataclass(frozen=True)
class Scene:
    """A machine with backupd installed, and the bucket that its policy names."""

    machine: Machine
    s3: SeaweedFS
    bucket: str
    policy: dict[str, Any] = field(default_factory=dict)
    """The policy as written; `write` writes it again after a change."""

    @classmethod
    def make(cls, machine: Machine, s3: SeaweedFS, *, socket_group: int) -> Scene:
        """Install backupd as its documentation says, and write policy and credentials."""
        bucket = next(_buckets)
        s3.make_bucket(bucket)
        machine.run("groupadd", "-o", "-g", str(socket_group), "docker")
        machine.run("/opt/backupd/bin/backupd", "install")
        machine.write("/etc/backupd/s3.access", FULL.access_key, mode=0o600)
        machine.write("/etc/backupd/s3.secret", FULL.secret_key, mode=0o600)
        machine.write(f"{DROP_INS}/credentials.conf", _CREDENTIALS)
        machine.systemctl("daemon-reload")
        store = {
            "url": f"s3://{bucket}/docker",
            "endpoint": s3.endpoint,
            "access_key": "${credential:s3-access}",
            "secret_key": "${credential:s3-secret}",
        }
        job = {"schedule": "0 3 * * *", "images": [BASE]}
        scene = cls(machine, s3, bucket, {"host": "m", "store": store, "jobs": {JOB: job}})
        scene.write()
        return scene

    def write(self) -> None:
        """Write the policy into the file that is there, which keeps its owner and mode."""
        self.write_text(yaml.safe_dump(self.policy, sort_keys=False))

    def write_text(self, text: str) -> None:
        """Write this text into the policy's file."""
        self.machine.write("/root/policy", text)
        self.machine.shell(f"cat /root/policy > {POLICY}")

    def drop_in(self, text: str) -> None:
        """Change the unit as an administrator does."""
        self.machine.write(f"{DROP_INS}/test.conf", text)
        self.machine.systemctl("daemon-reload")

    def start(self) -> None:
        """`systemctl start`, which comes back when the daemon says that it is ready."""
        self.machine.systemctl("start", UNIT)

    def manifests(self) -> list[str]:
        """The keys of all backups in the bucket."""
        listed = self.s3.client().list_objects_v2(Bucket=self.bucket, Prefix="docker/m/backups/")
        return [each["Key"] for each in listed.get("Contents", ())]
