"""What the selectors of a job find on a real engine: one policy with a job for each, run once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.command import Command
from tests.integration.conftest import leaving_no_trace
from tests.integration.trees import succeeded
from tests.servers.dockerd import Engine
from tests.servers.rootfs import Layer, build_image

WEB, DATABASE, CACHE = "backupd-test-web:1.4", "backupd-test-db:2", "backupd-test-cache:latest"
REGISTRY = "registry.example.com:5000/backupd-test/web:v1.2"
CONTAINERS = {
    "backupd-test-web": {"backup": "true"},
    "backupd-test-db": {"backup": "1"},
    "backupd-test-dx": {"backups": "true"},
}

IMAGES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "glob": ({"images": ["backupd-test-*:1.*"]}, {WEB}),
    "no-tag": ({"images": ["backupd-test-cache"]}, {CACHE}),
    "long-name": ({"images": [f"docker.io/library/{CACHE}"]}, {CACHE}),
    "registry": ({"images": [REGISTRY]}, {REGISTRY}),
    "registry-glob": ({"images": ["registry.example.com:5000/*/*:v1.*"]}, {REGISTRY}),
    "label": ({"images": [{"label": "backup"}]}, {WEB, DATABASE, REGISTRY}),
    "label-value": ({"images": [{"label": "backup=true"}]}, {WEB, REGISTRY}),
    "in-use": ({"images": [{"in_use": True}]}, {CACHE}),
    "exclude": ({"images": ["backupd-test-*"], "exclude": ["*:2", "*-cache"]}, {WEB}),
    "exclude-spares-names": (
        {"images": [DATABASE, "backupd-test-*"], "exclude": ["*-db:*"]},
        {WEB, DATABASE, CACHE},
    ),
}
CONTAINER_JOBS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "glob-of-containers": (
        {"containers": ["backupd-test-d?"]},
        {"backupd-test-db", "backupd-test-dx"},
    ),
    "label-of-containers": (
        {"containers": [{"label": "backup"}]},
        {"backupd-test-web", "backupd-test-db"},
    ),
    "label-value-of-containers": ({"containers": [{"label": "backup=1"}]}, {"backupd-test-db"}),
    "name-with-slash": ({"containers": ["/backupd-test-web"]}, {"backupd-test-web"}),
    "exclude-of-containers": (
        {"containers": ["backupd-test-*"], "exclude": ["*-d?"]},
        {"backupd-test-web"},
    ),
}
JOBS = IMAGES | CONTAINER_JOBS


@pytest.fixture(scope="module")
def backed_up(
    engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, set[str]]]:
    """Job → the names of what its run backed up."""
    backupd = Command(tmp_path_factory.mktemp("select"))
    layer: Layer = {"etc/motd": b"labelled\n"}
    with leaving_no_trace(engine) as api:
        build_image(api, WEB, REGISTRY, layers=[layer], config={"Labels": {"backup": "true"}})
        build_image(api, DATABASE, layers=[layer], config={"Labels": {"backup": "sometimes"}})
        build_image(api, CACHE, layers=[layer], config={"Labels": {"backups": "true"}})
        for name, labels in CONTAINERS.items():
            api.create_container(CACHE, name=name, labels=labels)
        backupd.write(
            {
                "host": "testhost",
                "state_dir": str(backupd.state_dir),
                "docker": {"host": engine.host},
                "store": {"url": f"file://{backupd.directory}/store"},
                "jobs": {name: job for name, (job, _) in JOBS.items()},
            }
        )
        rows = succeeded(backupd("backup", "--json")).json
        yield {name: {row["name"] for row in rows if row["job"] == name} for name in JOBS}


@pytest.mark.parametrize("job", JOBS)
def test_a_job_backs_up_what_its_selectors_find(job: str, backed_up: dict[str, set[str]]) -> None:
    _, expected = JOBS[job]

    assert expected == backed_up[job]
