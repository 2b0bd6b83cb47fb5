"""A real Docker engine for the tests and the demo, thrown away afterwards.

As root each engine is our own `dockerd` inside its own network, mount and process namespaces: two
of them never meet (a second one in the same network namespace deletes the first one's bridge), and
killing the first process of the namespace ends containerd, the shims and all containers, and takes
every mount with it, so nothing is left to clean but files. Without root the engine that answers
already is used, and only what a test made may be touched there.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import docker
import docker.errors
import requests

GIVEN_ENGINE = "BACKUPD_TEST_DOCKER_HOST"
START_TIMEOUT_SECONDS = 90.0
_DEFAULT_HOST = "unix:///var/run/docker.sock"
_INSTALLING = Path(tempfile.gettempdir()) / "backupd-tests-install.lock"
"""Held by whoever installs packages: tests run in several processes."""
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CGROUPS = ("sys/fs/cgroup/", "sys/fs/cgroup/*/")
"""Where a group lies by version 2 of cgroups, and by version 1, which has a tree a controller."""
_NO_NETWORK = ("--bridge=none", "--iptables=false", "--ip6tables=false")


class EngineMissing(Exception):
    """No engine can be had here; the text says what would help."""


class Engine:
    """A Docker engine from `with` to its end: our own as root, else one that answers already.

    `given` names the environment variable whose address, where set, is used instead. `arguments`
    are handed to our own dockerd after those that keep it apart.

    Our own engine must be started by the main thread: it dies with the thread that started it, so
    that a killed test run leaves nothing behind.
    """

    def __init__(self, *arguments: str, given: str = GIVEN_ENGINE) -> None:
        self._arguments = arguments
        self._given = given
        self._process: subprocess.Popen[bytes] | None = None
        self._directory: Path | None = None
        self._clients: list[docker.APIClient] = []
        self.host = ""

    @classmethod
    def at(cls, host: str) -> Self:
        """The engine that answers at `host`, which is left running."""
        engine = cls()
        engine.host = host
        return engine

    def __enter__(self) -> Self:
        address = self.host or given_host(self._given)
        if address is not None:
            self.host = address
            return self
        self._directory = Path(tempfile.mkdtemp(prefix="backupd-engine-"))
        # Others may pass through: whether they may use the socket is the socket's own affair.
        self._directory.chmod(0o711)
        self.host = f"unix://{self._directory}/docker.sock"
        try:
            self._start()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for client in self._clients:
            client.close()
        if self.is_ours:
            self.kill()
            self._remove()

    @property
    def is_ours(self) -> bool:
        """Whether this engine was started here, so that anything may be done to it."""
        return self._directory is not None

    @property
    def data_root(self) -> Path:
        """Where our own engine keeps its images. Raises EngineMissing for a given engine."""
        return self._own_directory() / "data"

    @property
    def network(self) -> Path:
        """The network namespace of our own engine, which has nothing but a loopback device."""
        self._own_directory()
        assert self._process is not None, "not started"
        return Path(f"/proc/{self._process.pid}/ns/net")

    @property
    def log(self) -> str:
        """What our own engine wrote so far."""
        return (self._own_directory() / "log").read_text(errors="replace")

    def client(self) -> docker.APIClient:
        """A new connection, closed with the engine; long enough in patience for a slow machine."""
        client = docker.APIClient(base_url=self.host, version="auto", timeout=300)
        self._clients.append(client)
        return client

    def answers(self) -> bool:
        """Whether the engine can be talked to now."""
        return _answers(self.host)

    def kill(self) -> None:
        """End the engine as a power cut does: dockerd, containerd and all containers at once."""
        self._own_directory()
        if self._process is not None:
            # The child of `unshare` is the first process of the namespace and dies with it.
            self._process.kill()
            # By version 1 of cgroups a paused container would outlive even that.
            _thaw(self._own_directory().name)
            self._process.wait()
            self._process = None
        _wait_until(lambda: not _answers(self.host), "the killed engine still answers")

    def restart(self) -> None:
        """Kill the engine where it still runs, and start it again on the same data."""
        self.kill()
        self._start()

    def _start(self) -> None:
        directory = self._own_directory()
        # What a killed engine left: the process ids in there mean other processes now, and dockerd
        # would wait for a containerd that it takes to be running.
        shutil.rmtree(directory / "exec", ignore_errors=True)
        for name in ("pid", "docker.sock"):
            (directory / name).unlink(missing_ok=True)
        with (directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(directory, find_dockerd()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PATH": _search_path()},
                start_new_session=True,
            )
        self._wait_until_ready(self._process)

    def _command(self, directory: Path, dockerd: str) -> list[str]:
        apart = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
        return [
            *("setpriv", "--pdeathsig", "KILL", *apart, dockerd),
            *("--host", self.host),
            *("--data-root", str(directory / "data")),
            *("--exec-root", str(directory / "exec")),
            *("--pidfile", str(directory / "pid")),
            # Not systemd's: it knows nothing of processes in another namespace.
            *("--exec-opt", "native.cgroupdriver=cgroupfs"),
            *("--cgroup-parent", f"/{directory.name}"),
            *_NO_NETWORK,
            # No storage driver: dockerd takes overlay2, and vfs where the kernel refuses that.
            *self._arguments,
        ]

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        def ready() -> bool:
            if process.poll() is not None:
                raise EngineMissing(f"dockerd ended with {process.returncode}:\n{self._log_tail()}")
            return _answers(self.host)

        try:
            _wait_until(ready, "dockerd does not answer")
        except TimeoutError as error:
            raise EngineMissing(f"{error}:\n{self._log_tail()}") from error

    def _log_tail(self) -> str:
        return "\n".join(self.log.splitlines()[-15:])

    def _own_directory(self) -> Path:
        if self._directory is None:
            raise EngineMissing(
                f"the engine at {self.host} was not started by the tests, so they may not stop it "
                f"or look into its files; run them as root without {self._given}"
            )
        return self._directory

    def _remove(self) -> None:
        directory = self._own_directory()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        # Files and groups may still be held for a moment by processes that are being reaped.
        _wait_until(lambda: _removed(directory), f"{directory} cannot be removed")


def given_host(variable: str = GIVEN_ENGINE) -> str | None:
    """The address of the engine to use, None if one is to be started. Raises EngineMissing."""
    if address := os.environ.get(variable):
        return address
    if os.geteuid() == 0:
        return None
    if variable == GIVEN_ENGINE and (address := default_host()):
        return address
    raise EngineMissing(
        f"no Docker engine to use: {variable} is not set, and only root can start one; "
        "run as root, or set it to the address of an engine that you may use"
    )


def default_host() -> str | None:
    """Where the docker command would find an engine, if one answers there."""
    address = os.environ.get("DOCKER_HOST") or _DEFAULT_HOST
    return address if _answers(address) else None


def find_dockerd() -> str:
    """The path of dockerd, installed from the system's packages where it is missing (as root)."""
    found = shutil.which("dockerd", path=_search_path())
    if found is None:
        install_package("docker.io", "its Docker engine")
        found = shutil.which("dockerd", path=_search_path())
    if found is None:
        raise EngineMissing("no dockerd on this machine, even after installing docker.io")
    return found


def install_package(package: str, what_for: str) -> None:
    """Install a package of the system, as root. Raises EngineMissing where that is not possible."""
    if shutil.which("apt-get") is None:
        raise EngineMissing(f"this machine lacks {what_for}, and has no apt-get to install it")
    print(f"installing {package}, for {what_for}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "PATH": _search_path()}
    commands: list[Sequence[str]] = [
        ("apt-get", "update", "-q"),
        ("apt-get", "install", "-q", "-y", "--no-install-recommends", package),
    ]
    with _INSTALLING.open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # apt-get gives up where another one is at work
        for command in commands:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                env=environment,
                check=False,
            )
            if done.returncode != 0:
                told = f"{done.stdout[-800:]}{done.stderr}"
                raise EngineMissing(f"{' '.join(command)} failed:\n{told}")


def _search_path() -> str:
    # Root's PATH has no sbin after a plain `su`.
    return f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}"


def _answers(host: str) -> bool:
    if host.startswith("unix://"):
        return _answers_at(host.removeprefix("unix://"))
    try:
        client = docker.APIClient(base_url=host, timeout=5)
    except docker.errors.DockerException:
        return False
    try:
        return bool(client.ping())
    except (docker.errors.DockerException, requests.exceptions.RequestException):
        return False
    finally:
        client.close()


def _answers_at(path: str) -> bool:
    # By hand: docker-py leaves a socket open when it cannot connect, and pytest sees it.
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        try:
            connection.connect(path)
            connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            return b" 200 " in connection.recv(100)
        except OSError:
            return False


def _thaw(group: str) -> None:
    for pattern in _CGROUPS:
        for state in Path("/").glob(f"{pattern}{group}/*/freezer.state"):
            with suppress(OSError):
                state.write_text("THAWED")


def _removed(directory: Path) -> bool:
    shutil.rmtree(directory, ignore_errors=True)
    groups = [found for pattern in _CGROUPS for found in Path("/").glob(pattern + directory.name)]
    for group in groups:
        for folder in sorted(group.glob("**/"), reverse=True):
            with suppress(OSError):
                folder.rmdir()
    return not directory.exists() and not any(group.exists() for group in groups)


def _wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} after {START_TIMEOUT_SECONDS:.0f} seconds")
        time.sleep(0.05)
