"""A Debian 12 with systemd, and backupd installed in it as a person would: as a Docker image.

The file system comes from debootstrap and the packages of Python from pip, both fetched once and
kept below .cache/systemd; backupd itself is built anew each time. Inside, nothing is fetched.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import docker

from tests.servers.dockerd import EngineMissing, install_package
from tests.servers.rootfs import build_dockerfile

CHECKOUT = Path(__file__).parents[2]
CACHE = CHECKOUT / ".cache/systemd"
CACHE_VARIABLE = "BACKUPD_TEST_CACHE"
RELEASE = "bookworm"
"""Debian 12: systemd 252, the oldest that backupd's unit is made for."""
PYTHON = "3.11"
"""The Python of that release."""
PACKAGES = ("systemd", "systemd-sysv", "dbus", "python3", "python3-venv", "procps")
BASE = "backupd-test-debian:12"
IMAGE = "backupd-test-systemd:1"

DOCKERFILE = f"""\
FROM {BASE}
COPY wheels /wheels
RUN python3 -m venv /opt/backupd && \
    /opt/backupd/bin/pip install -q --no-index --find-links /wheels backupd && rm -r /wheels
"""


def build(api: docker.APIClient) -> str:
    """The image, on this engine; its backupd is that of the checkout."""
    archive = _debian()
    said = api.import_image_from_file(str(archive), repository="backupd-test-debian", tag="12")
    if "error" in said:
        raise RuntimeError(f"cannot import {archive}: {said}")
    wheels = [*_dependencies().iterdir(), _wheel_of_checkout()]
    files = {f"wheels/{wheel.name}": wheel.read_bytes() for wheel in wheels}
    build_dockerfile(api, IMAGE, DOCKERFILE, files)
    return IMAGE


def _cache() -> Path:
    folder = Path(os.environ.get(CACHE_VARIABLE) or CACHE)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _debian() -> Path:
    """The tar of a minimal Debian with systemd, made on first use."""
    archive = _cache() / f"{RELEASE}-{platform.machine()}.tar"
    if archive.exists():
        return archive
    if os.geteuid() != 0:
        raise EngineMissing("only root can make the file system to boot; run this as root")
    if shutil.which("debootstrap") is None:
        install_package("debootstrap", "a Debian to boot")
    with tempfile.TemporaryDirectory(prefix="backupd-debian-") as directory:
        root = Path(directory) / "root"
        include = f"--include={','.join(PACKAGES)}"
        _run("debootstrap", "--variant=minbase", include, RELEASE, str(root))
        shutil.rmtree(root / "var/cache/apt", ignore_errors=True)
        partial = archive.with_suffix(".partial")
        _run("tar", "-C", str(root), "-cf", str(partial), ".")
        partial.replace(archive)
    return archive


def _dependencies() -> Path:
    """The folder with all packages that backupd needs, for that Python, fetched on first use."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    needed: list[str] = project["dependencies"]
    mark = hashlib.sha256("\n".join([PYTHON, *needed]).encode()).hexdigest()[:12]
    folder = _cache() / f"wheels-{platform.machine()}-{mark}"
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        machine = platform.machine()
        tags = [f"manylinux_2_28_{machine}", f"manylinux2014_{machine}", "any"]
        _pip(
            *("download", "--only-binary=:all:", "--dest", str(partial)),
            *("--python-version", PYTHON, "--implementation", "cp"),
            *(part for tag in tags for part in ("--platform", tag)),
            *needed,
        )
        partial.replace(folder)
    return folder


def _wheel_of_checkout() -> Path:
    with tempfile.TemporaryDirectory(prefix="backupd-wheel-") as directory:
        _pip("wheel", "--no-deps", "--wheel-dir", directory, str(CHECKOUT))
        (wheel,) = Path(directory).iterdir()
        kept = _cache() / "wheel"
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir()
        return Path(shutil.copy(wheel, kept))


def _pip(*arguments: str) -> None:
    _run(sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments)


def _run(*command: str) -> None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = (done.stdout + done.stderr)[-2000:]
        raise RuntimeError(f"{' '.join(command[:4])} … ended with {done.returncode}:\n{said}")
