"""What one more source costs: how many requests to the store, and how many calls of the engine."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import docker
import pytest

from tests.integration.command import Command
from tests.integration.conftest import WritePolicy
from tests.integration.trees import make_image, succeeded
from tests.servers.dockerd import Engine
from tests.servers.relay import Piece, Relay
from tests.servers.rootfs import base_image

FEW, MANY = 1, 4
NAME = "backupd-test-cost"


class Wires:
    """Counts what goes to the engine and to the store, by its sort."""

    def __init__(self, engine: str, store: str) -> None:
        self.counts: Counter[str] = Counter()
        self._stack = ExitStack()
        self.engine = self._stack.enter_context(Relay(engine, self._watch)).address
        self.store = self._stack.enter_context(Relay(store, self._watch)).address

    def close(self) -> None:
        self._stack.close()

    def _watch(self, piece: Piece) -> bool:
        if piece.is_head:
            self.counts[_sort(piece.request)] += 1
        return True


def _sort(request: str) -> str:
    """`PUT archive`, `GET manifest`, `engine GET images/json`: a request without its names."""
    method, path = request.split(" ", 1)
    if "list-type=2" in path:
        return "LIST"
    for mark, what in (
        ("/archives/.*record", "record"),
        ("/archives/", "archive"),
        ("/backups/", "manifest"),
        ("host.json", "host.json"),
    ):
        if re.search(mark, path):
            return f"{method} {what}"
    named = rf"{NAME}[^/?]*|(sha256:)?[0-9a-f]{{64}}"
    return "engine " + re.sub(named, "NAME", f"{method} {path.partition('?')[0]}")


@pytest.fixture
def wires(engine: Engine, bucket: dict[str, Any]) -> Iterator[Wires]:
    made = Wires(engine.host, bucket["endpoint"])
    yield made
    made.close()


def cost_of_one_more(
    backupd: Command, policy: WritePolicy, wires: Wires, bucket: dict[str, Any], kind: str
) -> tuple[Counter[str], Counter[str]]:
    """What one source more costs in a first run, and in a second one that finds it unchanged."""
    runs: dict[int, list[Counter[str]]] = {}
    for number in (FEW, MANY):
        names = [f"{NAME}-{one}" for one in range(number)]
        policy(
            {"nightly": {kind: names}},
            store={**bucket, "url": f"{bucket['url']}/{number}", "endpoint": wires.store},
            docker={"host": wires.engine},
        )
        runs[number] = []
        for _ in range(2):
            wires.counts.clear()
            succeeded(backupd("backup"))
            runs[number].append(wires.counts.copy())
    first, second = (_share(runs[MANY][run] - runs[FEW][run]) for run in (0, 1))
    return first, second


def _share(more: Counter[str]) -> Counter[str]:
    """What each of the further sources cost. Fails where they did not cost the same."""
    assert {0} == {count % (MANY - FEW) for count in more.values()}, more
    return Counter({sort: count // (MANY - FEW) for sort, count in more.items()})


def test_an_image_costs_two_puts_and_one_look_and_unchanged_no_archive(
    api: docker.APIClient,
    backupd: Command,
    policy: WritePolicy,
    wires: Wires,
    bucket: dict[str, Any],
) -> None:
    for number in range(MANY):
        make_image(api, f"{NAME}-{number}:latest", layers=[{"number": str(number).encode()}])

    first, second = cost_of_one_more(backupd, policy, wires, bucket, "images")

    inspected = {"engine GET /v1.41/images/NAME/json": 1}
    assert inspected | {
        "engine GET /v1.41/images/get": 1,
        "PUT archive": 1,
        "HEAD archive": 1,
        "PUT manifest": 1,
    } == _of_any_version(first)
    # The archive is looked at before its new manifest and after it.
    assert inspected | {"GET manifest": 1, "HEAD archive": 2, "PUT manifest": 1} == (
        _of_any_version(second)
    )


def test_a_container_costs_three_puts_and_one_look_each_time(
    api: docker.APIClient,
    backupd: Command,
    policy: WritePolicy,
    wires: Wires,
    bucket: dict[str, Any],
) -> None:
    for number in range(MANY):
        api.create_container(base_image(api), ["true"], name=f"{NAME}-{number}")

    costs = cost_of_one_more(backupd, policy, wires, bucket, "containers")

    for cost in costs:
        assert {
            "engine GET /v1.41/containers/NAME/json": 1,
            "engine GET /v1.41/images/NAME/json": 1,
            "engine GET /v1.41/networks/bridge": 1,
            "engine GET /v1.41/containers/NAME/export": 1,
            "PUT archive": 1,
            "HEAD archive": 1,
            "PUT record": 1,
            "PUT manifest": 1,
        } == _of_any_version(cost)


def _of_any_version(cost: Counter[str]) -> dict[str, int]:
    return {re.sub(r"/v\d+\.\d+/", "/v1.41/", sort): count for sort, count in cost.items()}
