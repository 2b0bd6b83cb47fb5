"""The engine, the S3 server and the command of the tests of the whole command, and a gate before
both servers, at which a process is held to be killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.faults.counts import DONE, CountedCommand
from tests.faults.gate import Gate
from tests.faults.scene import MIB, Scene, policy_of
from tests.integration.conftest import (
    WritePolicy,
    api,
    bucket,
    engine,
    leaving_no_trace,
    policy,
    s3,
)
from tests.servers.dockerd import Engine
from tests.servers.faulty_engine import FaultyEngine
from tests.servers.faulty_store import FaultyStore
from tests.servers.relay import Relay
from tests.servers.seaweedfs import SeaweedFS

__all__ = ["api", "bucket", "engine", "policy", "s3"]

Write = Callable[[list[str], list[str]], Path]
"""Writes a policy with these images and containers."""


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let a worker hand its counts to the process that tells them."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["counts"] = asdict(DONE)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Add the counts of a worker; one that died hands over none."""
    DONE.add(getattr(node, "workeroutput", {}).get("counts", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell what was done to backupd, and what it lost."""
    terminalreporter.write_line(str(DONE))


@pytest.fixture
def backupd(tmp_path: Path) -> CountedCommand:
    """The command, with policy, state and home below `tmp_path`."""
    return CountedCommand(tmp_path)


@pytest.fixture(scope="module")
def scene(engine: Engine) -> Iterator[Scene]:
    """Images and running containers; each archive takes a few parts to upload."""
    with leaving_no_trace(engine) as client:
        made = Scene(client, 6 * MIB)
        made.make()
        yield made


@pytest.fixture
def gate() -> Gate:
    """Open until a test closes it."""
    return Gate()


@pytest.fixture
def to_engine(engine: Engine) -> Iterator[FaultyEngine]:
    """The way to the engine, with the faults that a test adds."""
    with FaultyEngine(engine.host) as proxy:
        yield proxy
    DONE.faults += proxy.struck


@pytest.fixture
def to_store(s3: SeaweedFS) -> Iterator[FaultyStore]:
    """The way to the store, with the faults that a test adds."""
    with FaultyStore(s3.endpoint) as proxy:
        yield proxy
    DONE.faults += proxy.struck


@pytest.fixture
def write(
    gate: Gate, engine: Engine, s3: SeaweedFS, bucket: dict[str, Any], policy: WritePolicy
) -> Iterator[Write]:
    """Writes policies whose engine and store are behind the gate."""
    with ExitStack() as stack:
        to_engine = stack.enter_context(Relay(engine.host, gate.watch))
        to_store = stack.enter_context(Relay(s3.endpoint, gate.watch))
        stack.callback(gate.open)

        def write(images: list[str], containers: list[str]) -> Path:
            return policy(
                policy_of(images, containers),
                store={**bucket, "endpoint": to_store.address, "part_size": "5MiB"},
                docker={"host": to_engine.address},
                compression="none",
                reuse_max_age="1s",
            )

        yield write
