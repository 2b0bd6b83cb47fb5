"""What a restored container's image must carry, and what `docker import` cannot."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from backupd.errors import DamagedBackup
from backupd.policy import AS_IT_IS
from backupd.sources.container import container_facts, is_live, record_of
from backupd.sources.container_image import Record, changes, image_config, read_record

AWKWARD = 'two words "quoted" $HOME ${x:-y} back\\slash'
TAKEN_AT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
DIFF_ID = "sha256:" + "a" * 64


def record(config: dict[str, Any], image_config: dict[str, Any] | None = None) -> Record:
    image = {"Config": image_config or {}, "Os": "linux", "Architecture": "arm64", "Author": "me"}
    return Record({"Config": config}, image)


def config_of(one: Record) -> Any:
    return json.loads(image_config(one, diff_id=DIFF_ID, taken_at=TAKEN_AT, comment="why"))


def test_everything_that_an_export_loses_stands_in_the_config() -> None:
    ran = {
        "User": "app:app",
        "ExposedPorts": {"80/tcp": {}},
        "Env": [f"A={AWKWARD}", "B=line\nline"],
        "Entrypoint": ["/bin/sh", "-c"],
        "Cmd": ["exec sleep 1"],
        "Volumes": {"/data": {}},
        "WorkingDir": "/srv/my app",
        "Labels": {"a=b": "c=d", "e": AWKWARD},
        "StopSignal": "SIGINT",
        "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 5_000_000_000},
    }

    assert config_of(record(ran))["config"] == ran


def test_what_only_the_image_knows_comes_from_its_inspect() -> None:
    made = config_of(record({"OnBuild": None}, {"Shell": ["/bin/ash"], "OnBuild": ["RUN true"]}))

    assert made["config"] == {"Shell": ["/bin/ash"], "OnBuild": ["RUN true"]}
    assert (made["architecture"], made["os"], made["author"]) == ("arm64", "linux", "me")


def test_the_config_names_the_export_as_its_only_layer() -> None:
    made = config_of(record({}))

    assert made["rootfs"] == {"type": "layers", "diff_ids": [DIFF_ID]}
    assert [entry["comment"] for entry in made["history"]] == ["why"]


def test_a_record_without_its_image_still_makes_a_config() -> None:
    one = read_record(record_of({"Config": {"Cmd": ["sh"]}}, None, "aarch64"))

    assert config_of(one)["config"] == {"Cmd": ["sh"]}
    assert config_of(one)["architecture"] == "arm64"


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"container": 1, "image": null}', b"\xff"])
def test_a_record_that_is_none_is_called_damaged(data: bytes) -> None:
    with pytest.raises(DamagedBackup, match="record of inspect"):
        read_record(data)


def test_changes_quote_what_docker_would_expand() -> None:
    given, lost = changes(record({"Env": [f"A={AWKWARD}"], "User": "$me"}))

    assert given == [
        r'ENV A="two words \"quoted\" \$HOME \${x:-y} back\\slash"',
        r"USER \$me",
    ]
    assert lost == []


def test_changes_report_what_an_instruction_cannot_carry() -> None:
    config = {
        "Env": ["OK=1", "TWO=line\nCMD evil"],
        "Labels": {"a=b": "c"},
        "Shell": ["/bin/ash"],
        "StopSignal": "SIGINT",
    }

    given, lost = changes(record(config))

    assert given == ['ENV OK="1"']
    assert lost == ["ENV TWO", "LABEL a=b", "SHELL", "STOPSIGNAL"]


def test_changes_write_lists_as_json() -> None:
    given, _ = changes(
        record({"Cmd": ["a b", '"'], "Entrypoint": ["/x"], "Volumes": {"/b": {}, "/a": {}}})
    )

    assert given == [r'CMD ["a b", "\""]', 'ENTRYPOINT ["/x"]', 'VOLUME ["/a", "/b"]']


@pytest.mark.parametrize(
    ("check", "instruction"),
    [
        ({"Test": ["NONE"]}, "HEALTHCHECK NONE"),
        ({"Test": ["CMD", "/ok", "a b"]}, 'HEALTHCHECK CMD ["/ok", "a b"]'),
        (
            {"Test": ["CMD-SHELL", "curl $URL"], "Retries": 3, "Timeout": 2_000_000_000},
            "HEALTHCHECK --timeout=2000000000ns --retries=3 CMD curl $URL",
        ),
    ],
)
def test_changes_carry_a_health_check(check: dict[str, Any], instruction: str) -> None:
    given, _ = changes(record({"Healthcheck": check}))

    assert given == [instruction]


def inspect(**state: Any) -> dict[str, Any]:
    return {
        "Id": "f" * 64,
        "Name": "/web",
        "Image": "sha256:" + "b" * 64,
        "Config": {"Image": "app:1", "Env": ["SECRET=hush"]},
        "State": {"Status": "running", **state},
        "Mounts": [{"Type": "volume", "Name": "data", "Source": "/x", "Destination": "/data"}],
    }


def test_the_manifests_part_of_a_container_holds_no_environment() -> None:
    facts = container_facts(inspect(), AS_IT_IS)

    assert "hush" not in facts.model_dump_json()
    assert [(m.type, m.source, m.destination) for m in facts.mounts] == [
        ("volume", "data", "/data")
    ]


@pytest.mark.parametrize(
    ("state", "live"),
    [
        ({}, True),
        ({"Status": "exited"}, False),
        ({"Status": "created"}, False),
        ({"Status": "paused", "Paused": True}, False),
        ({"Status": "restarting"}, True),
    ],
)
def test_only_a_container_that_may_write_is_worth_a_pause(
    state: dict[str, Any], live: bool
) -> None:
    assert is_live(inspect(**state)) is live
