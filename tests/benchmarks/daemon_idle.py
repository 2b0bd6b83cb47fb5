"""What a daemon with many jobs costs while nothing is due: its start, its memory, its CPU.

    python -m tests.benchmarks.daemon_idle [--jobs 2000] [--seconds 60] [--python PROGRAM]

The real `backupd daemon` as a process of its own, with a real engine and a real S3 server, and with
what the service's unit puts into its environment. Started is when it says READY=1 to a service
manager, which is this program; settled is when it has told its status to the store, and all that it
does from then on is wait. Run it as root (for an engine of its own) or with
BACKUPD_TEST_DOCKER_HOST; exit code 1 says that a target was missed.

`--python` is the interpreter that runs the daemon: that of a venv with nothing but backupd's own
dependencies gives the figures that a server sees.
"""

from __future__ import annotations

import argparse
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import yaml

from backupd.layout import status_key
from tests.servers.dockerd import Engine
from tests.servers.seaweedfs import FULL, SeaweedFS

UNIT = Path(__file__).parents[2] / "systemd/backupd.service"
HOST, BUCKET = "bench", "bench"
START_TARGET_SECONDS, MEMORY_TARGET_MIB, CPU_TARGET_SECONDS = 3.0, 80.0, 0.6
"""The CPU target is for one minute: a hundredth of one core."""
PATIENCE_SECONDS = 120.0
SETTLE_SECONDS = 3.0
VERSIONS = """
import platform, importlib.metadata as metadata
names = "apscheduler", "cronsim", "pydantic", "pyyaml", "boto3", "docker", "paramiko"
found = {each.metadata["Name"].lower(): each.version for each in metadata.distributions()}
print("Python", platform.python_version(), *(f"{n} {found.get(n, 'absent')}" for n in names))
"""


@dataclass(frozen=True)
class Figures:
    """What was measured of one daemon."""

    start_seconds: float
    """From exec to READY=1."""
    start_cpu_seconds: float
    settled_seconds: float
    """From exec until the store has its status."""
    minute_cpu_seconds: float
    """What one minute of waiting costs."""
    memory_mib: float
    """Resident at the end of the idle time."""
    peak_mib: float
    threads: int


def policy(jobs: int, directory: Path, engine: Engine, server: SeaweedFS) -> dict[str, object]:
    """Jobs that run every day, none within five hours from now."""
    first_hour = datetime.now(UTC).hour + 6
    return {
        "host": HOST,
        "state_dir": str(directory / "state"),
        "docker": {"host": engine.host},
        "store": {
            "url": f"s3://{BUCKET}",
            "endpoint": server.endpoint,
            "access_key": FULL.access_key,
            "secret_key": FULL.secret_key,
        },
        "jobs": {
            f"job-{number:04}": {
                "schedule": f"{number % 60} {(first_hour + number % 12) % 24} * * *",
                "images": [f"registry.example.com/team/app-{number}:*"],
                "containers": [{"name": f"app-{number}", "pause": True}],
                "jitter": "30m",
                "retention": {"keep_daily": 7, "keep_weekly": 4},
            }
            for number in range(jobs)
        },
    }


def measure(command: list[str], directory: Path, server: SeaweedFS, idle_seconds: float) -> Figures:
    """Start the daemon, let it settle and idle, and stop it."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(directory / "notify"))
    listener.settimeout(0.5)
    environ = {**os.environ, **of_the_unit(), "NOTIFY_SOCKET": str(directory / "notify")}
    begun = time.monotonic()
    with listener, subprocess.Popen(command, env=environ, stderr=subprocess.PIPE) as daemon:
        try:
            wait_for_ready(listener, daemon)
            start_seconds, start_cpu = time.monotonic() - begun, cpu_seconds(daemon.pid)
            wait_for_status(server)
            settled_seconds = time.monotonic() - begun
            time.sleep(SETTLE_SECONDS)  # the threads that made ready end
            idle_cpu, idle_from = cpu_seconds(daemon.pid), time.monotonic()
            time.sleep(idle_seconds)
            share = (cpu_seconds(daemon.pid) - idle_cpu) / (time.monotonic() - idle_from)
            lines = Path(f"/proc/{daemon.pid}/status").read_text().splitlines()
            status = dict(line.split(":", 1) for line in lines)
            return Figures(
                start_seconds=start_seconds,
                start_cpu_seconds=start_cpu,
                settled_seconds=settled_seconds,
                minute_cpu_seconds=share * 60,
                memory_mib=int(status["VmRSS"].split()[0]) / 1024,
                peak_mib=int(status["VmHWM"].split()[0]) / 1024,
                threads=int(status["Threads"]),
            )
        finally:
            listener.close()
            daemon.terminate()
            _, said = daemon.communicate()
            if daemon.returncode:
                sys.stderr.buffer.write(said)


def of_the_unit() -> dict[str, str]:
    """What `Environment=` of the service's unit sets."""
    lines = UNIT.read_text().splitlines()
    words = [line.partition("=")[2].split() for line in lines if line.startswith("Environment=")]
    return dict(word.split("=", 1) for each in words for word in each)


def wait_for_ready(listener: socket.socket, daemon: subprocess.Popen[bytes]) -> None:
    """Return when the daemon says READY=1 (sd_notify(3)). Raises RuntimeError if it ended."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and daemon.poll() is None:
        try:
            if "READY=1" in listener.recv(65536).decode().splitlines():
                return
        except TimeoutError:
            continue
    raise RuntimeError("the daemon did not become ready")


def wait_for_status(server: SeaweedFS) -> None:
    """Return when the daemon has told its status: then its first work is done."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    wanted = {"Bucket": BUCKET, "Prefix": status_key(HOST)}
    while not server.client().list_objects_v2(**wanted)["KeyCount"]:  # type: ignore[arg-type]
        if time.monotonic() > deadline:
            raise RuntimeError("the daemon did not tell its status")
        time.sleep(0.05)


def cpu_seconds(pid: int) -> float:
    """User and system time of the process so far: fields 14 and 15 of proc_pid_stat(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def report(figures: Figures) -> bool:
    """Print the table; whether every target was met."""
    judged = [
        ("start, exec to READY=1", figures.start_seconds, START_TARGET_SECONDS, "s"),
        ("resident memory at rest", figures.memory_mib, MEMORY_TARGET_MIB, "MiB"),
        ("CPU in an idle minute", figures.minute_cpu_seconds, CPU_TARGET_SECONDS, "s"),
    ]
    for name, figure, target, unit in judged:
        verdict = "" if figure < target else "   MISSED"
        print(f"{name:<26}{figure:>8.2f} {unit:<5}target: below {target:g}{verdict}")
    print(f"{'CPU of the start':<26}{figures.start_cpu_seconds:>8.2f} s")
    print(f"{'exec to first status.json':<26}{figures.settled_seconds:>8.2f} s")
    print(f"{'largest memory':<26}{figures.peak_mib:>8.2f} MiB")
    print(f"{'threads at rest':<26}{figures.threads:>8}")
    return all(figure < target for _, figure, target, _ in judged)


def main() -> None:
    """Measure once and say how it went."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.daemon_idle")
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long it idles")
    parser.add_argument("--python", default=sys.executable, help="runs the daemon")
    chosen = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{chosen.jobs} jobs; {os.cpu_count()} cores, load {load:.1f}; {platform.platform()}")
    subprocess.run([chosen.python, "-c", VERSIONS], check=True)
    with Engine() as engine, SeaweedFS() as server, tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        server.make_bucket(BUCKET)
        file = directory / "config.yaml"
        file.write_text(yaml.safe_dump(policy(chosen.jobs, directory, engine, server)))
        file.chmod(0o600)
        command = [chosen.python, "-m", "backupd", "daemon", "--config", str(file)]
        figures = measure(command, directory, server, chosen.seconds)
    sys.exit(0 if report(figures) else 1)


if __name__ == "__main__":
    main()
