"""What planning a prune of many backups costs: `python -m tests.benchmarks.prune_plan [BACKUPS]`.

A server in a process of its own holds the keys of so many hourly backups, each with an archive of
its own; the figures are those of the program alone: CPU seconds for listing and for planning, and
the largest resident memory of the whole process.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import SecretStr

from backupd.engine import Engine
from backupd.layout import Kind, archive_key, backup_key
from backupd.policy import DockerSpec, Policy, StoreSpec
from backupd.site import Site
from backupd.state import StateDir
from backupd.stores import Store, open_store
from backupd.verbs.prune_jobs import Listing, Order, plan_jobs

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOST, JOB = "web01", "nightly"
SOURCES = 50
POLICY = {
    "jobs": {
        JOB: {
            "images": ["*"],
            "timezone": "Europe/Berlin",
            "retention": {"keep_hourly": 48, "keep_daily": 14, "keep_weekly": 8},
        }
    }
}
SERVE = "--serve"


def serve(count: int) -> None:
    """Serve the keys until standard input ends; the first line out says where."""
    # Here, since the process that is measured must not load it.
    from tests.servers.odd_s3 import BUCKET, OddS3

    with OddS3() as server:
        for number in range(count):
            name = f"registry.example.com/team/app-{number % SOURCES}:latest"
            taken_at = NOW - timedelta(hours=number // SOURCES)
            archive_id = f"{number:016x}-0123456789ab"
            manifest = backup_key(
                HOST,
                JOB,
                Kind.IMAGE,
                name,
                taken_at=taken_at,
                archive_id=archive_id,
                size_bytes=123456789,
            )
            server.objects[manifest.key] = b""
            server.objects[archive_key(HOST, Kind.IMAGE, name, archive_id, ".zst")] = b"archive"
        print(f"{server.endpoint} {BUCKET}", flush=True)
        sys.stdin.read()


def measure(store: Store, count: int) -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as directory:
        engine = Engine(DockerSpec(), host="unix:///nowhere")
        site = Site(HOST, engine, store, StateDir(Path(directory)), lambda: NOW)
        begun = time.process_time()
        listing = Listing.of(site.catalog)
        listed = time.process_time()
        policy = Policy.model_validate(POLICY)
        order = Order([JOB], NOW)
        plans = plan_jobs(site, policy, site.catalog, listing, order, lambda *_: None)
        going = [backup for plan in plans for backup in plan.going(yes=True)]
        freed_bytes = listing.freed_bytes(going)
        planned = time.process_time()
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"backups         {count}, of which {len(going)} would go ({freed_bytes} bytes)")
    print(f"CPU to list     {listed - begun:.2f} s")
    print(f"CPU to plan     {planned - listed:.2f} s")
    print(f"largest memory  {peak_mib:.0f} MiB")


def main(count: int) -> None:
    """Start the server and measure against it."""
    command = [sys.executable, "-m", "tests.benchmarks.prune_plan", SERVE, str(count)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        endpoint, bucket = server.stdout.readline().split()
        spec = StoreSpec(
            url=f"s3://{bucket}",
            endpoint=endpoint,
            access_key=SecretStr("key"),
            secret_key=SecretStr("secret"),
        )
        measure(open_store(spec), count)
        server.communicate()


if __name__ == "__main__":
    if SERVE in sys.argv:
        serve(int(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
