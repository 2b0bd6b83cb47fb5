"""Which containers are down together, and in which order they are stopped."""

from __future__ import annotations

from typing import Any

import pytest

from backupd.stop_order import Stopping, dependencies, groups


def stopping(name: str, *needs: str, order: int = 0) -> Stopping:
    return Stopping(name, order, frozenset(needs))


@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([stopping("a"), stopping("b")], [["a"], ["b"]], id="strangers"),
        pytest.param(
            [stopping("db"), stopping("app", "db")], [["app", "db"]], id="one-needs-other"
        ),
        pytest.param([stopping("app", "db")], [["app"]], id="what-it-needs-is-not-stopped"),
        pytest.param(
            [stopping("db"), stopping("web", "app"), stopping("app", "db"), stopping("x")],
            [["web", "app", "db"], ["x"]],
            id="chain-beside-a-stranger",
        ),
        pytest.param(
            [stopping("db"), stopping("b", "db"), stopping("a", "db")],
            [["b", "a", "db"]],
            id="equals-in-the-order-of-the-policy",
        ),
        pytest.param(
            [stopping("db", order=2), stopping("x"), stopping("app", order=1)],
            [["app", "db"], ["x"]],
            id="numbers-make-a-group",
        ),
        pytest.param(
            [stopping("db", order=1), stopping("app", "db", order=2)],
            [["db", "app"]],
            id="numbers-win-over-dependencies",
        ),
        pytest.param(
            [stopping("db", order=5), stopping("app", "db", order=5)],
            [["app", "db"]],
            id="dependencies-decide-between-equal-numbers",
        ),
        pytest.param(
            [stopping("db", order=-1), stopping("app", order=1), stopping("web", "app")],
            [["db", "web", "app"]],
            id="a-number-and-a-dependency-link-three",
        ),
        pytest.param([stopping("a", "b"), stopping("b", "a")], [["a", "b"]], id="circle"),
        pytest.param([stopping("a", "a")], [["a"]], id="needs-itself"),
    ],
)
def test_containers_that_are_linked_stop_together_dependants_first(
    containers: list[Stopping], expected: list[list[str]]
) -> None:
    assert expected == groups(containers)


def service(project: str, name: str, depends_on: str | None = None) -> dict[str, Any]:
    labels = {"com.docker.compose.project": project, "com.docker.compose.service": name}
    labels |= {} if depends_on is None else {"com.docker.compose.depends_on": depends_on}
    return {"Id": f"{project}/{name}", "Names": [f"/{project}-{name}-1"], "Labels": labels}


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (None, set()),
        ("", set()),
        ("db", {"shop/db"}),
        ("db:service_started:false", {"shop/db"}),
        ("db:service_healthy:true,cache:service_started:false", {"shop/db", "shop/cache"}),
        ("db,cache", {"shop/db", "shop/cache"}),
        ("gone:service_started:false", set()),
        ("app", set()),
    ],
)
def test_compose_tells_what_a_container_needs_in_its_own_project(
    label: str | None, expected: set[str]
) -> None:
    engine = [
        service("shop", "app", label),
        service("shop", "db"),
        service("shop", "cache"),
        service("wiki", "db"),
    ]

    assert expected == dependencies(engine)["shop/app"]


@pytest.mark.parametrize("mode", ["container:vpn", "container:id-of-vpn"])
def test_a_container_in_the_network_of_another_needs_that_one(mode: str) -> None:
    engine = [
        {"Id": "id-of-vpn", "Names": ["/vpn"], "HostConfig": {"NetworkMode": "bridge"}},
        {"Id": "id-of-app", "Names": ["/app"], "HostConfig": {"NetworkMode": mode}},
    ]

    assert {"id-of-vpn": set(), "id-of-app": {"id-of-vpn"}} == dependencies(engine)


def test_a_project_alone_makes_no_dependency() -> None:
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.depends_on": "db"}
    engine: list[dict[str, Any]] = [
        {"Id": "1", "Names": ["/a"], "Labels": labels},
        {"Id": "2", "Names": ["/db"]},
    ]

    assert {"1": set(), "2": set()} == dependencies(engine)
