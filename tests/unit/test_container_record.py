"""What a record and an engine can say against a container, and how the plan tells it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from backupd.age_keys import Identities
from backupd.catalog import Catalog
from backupd.container_plan import Plan
from backupd.errors import DamagedBackup, NotRestorable
from backupd.manifest import Manifest
from backupd.policy import Trial
from backupd.site import Site
from backupd.stores.directory import DirectoryStore
from backupd.verbs.drill_container import drill_container
from backupd.verbs.drill_scratch import Scratch
from backupd.verbs.records import container_record, described_volume
from backupd.verbs.recreate_from import ImageSource, Stored
from backupd.verbs.recreate_plan import Part, Prepared, Wish, prepare
from backupd.volume_access import LEASE_LABEL, OWNER_LABEL
from tests.unit.test_container_plan import VOLUME, in_app_container, ran

MANIFEST = Path(__file__).parent / "manifests" / "v1-container.json"
NO_ENGINE = cast(Site, SimpleNamespace(engine=None, identities=Identities()))
"""A record that makes no sense is told before the engine is asked for anything."""


def stored(directory: Path, record: dict[str, Any] | None = None) -> Stored:
    """A container's backup with this record."""
    manifest, data = json.loads(MANIFEST.read_text()), json.dumps(record).encode()
    manifest["record"]["sha256"] = hashlib.sha256(data).hexdigest()
    store = DirectoryStore(directory / "store")
    store.put_bytes(manifest["record"]["key"], data)
    return Stored(Catalog(store, manifest["host"]), Manifest.model_validate(manifest))


def part(directory: Path, **planned: Any) -> Part:
    refusal = planned.pop("refusal", "")
    plan = Plan("web", {"HostConfig": {}}, **planned)
    return Part(stored(directory), ran(), ImageSource("web:1", "here"), plan, refusal)


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in ran().container.items() if name != key}


@pytest.mark.parametrize(
    "container",
    [
        without("Id"),
        without("Name"),
        ran(host={"Devices": [{}]}).container,
        ran(host={"Binds": [7]}).container,
        ran(config={"Labels": ["a"]}).container,
        ran(mounts=[{"Type": "volume", "Name": "data"}]).container,
        in_app_container(IPAMConfig={"IPv4Address": "10.7.0.999"}),
        ran(host={"privileged": True}).container,
        ran(config={"hostConfig": {"Privileged": True}}).container,
    ],
)
def test_a_record_that_makes_no_sense_is_a_damaged_backup(
    container: dict[str, Any], tmp_path: Path
) -> None:
    network = {"Name": "app", "IPAM": {"Config": [{"Subnet": "10.7.0.0/24"}]}}
    record = {"container": container, "image": None, "networks": {"app": network}}
    chosen = stored(tmp_path, record)

    with pytest.raises(DamagedBackup, match=r"of how container .* ran cannot be understood"):
        prepare(NO_ENGINE, [chosen], Wish())


@pytest.mark.parametrize(
    "container",
    [
        without("Id"),
        {**without("Config"), "Config": None},
        ran(mounts=[{"Type": "volume", "Name": "data"}]).container,
        ran(host={"DeviceRequests": 7}).container,
        ran(config={"Healthcheck": {"Interval": "soon"}}).container,
        ran(host={"privileged": True}).container,
        ran(config={"hostConfig": {"Privileged": True}}).container,
        ran(host={"Mounts": [{"Type": "tmpfs", "type": "bind", "Source": "/"}]}).container,
    ],
)
def test_a_drill_of_a_record_that_makes_no_sense_finds_a_damaged_backup_and_makes_nothing(
    container: dict[str, Any], tmp_path: Path
) -> None:
    chosen = stored(tmp_path, {"container": container, "image": None})
    scratch = Scratch("me", "1-a", False, print)

    with pytest.raises(DamagedBackup, match=r"record .*(cannot be understood|does not tell)"):
        drill_container(NO_ENGINE, chosen, [], Trial(), scratch, print)
    assert [] == scratch.made


@pytest.mark.parametrize(
    "record",
    [
        b"7",
        b"[",
        b'{"volume": [1]}',
        b'{"volume": {"Driver": 7}}',
        b'{"volume": {"Options": ["device"]}}',
        b'{"volume": {"Labels": {"a": {}}}}',
    ],
)
def test_a_volumes_record_that_makes_no_sense_is_a_damaged_backup(
    record: bytes, tmp_path: Path
) -> None:
    with pytest.raises(DamagedBackup, match="cannot be understood"):
        described_volume(stored(tmp_path).manifest, record)


def test_nothing_that_is_made_again_claims_to_be_a_helper_which_the_next_run_would_sweep(
    tmp_path: Path,
) -> None:
    forged = {"Labels": {"mine": "yes", OWNER_LABEL: "this machine", LEASE_LABEL: "1-dead"}}
    container = ran(config=forged).container
    around = {"networks": {"app": forged}, "volumes": {"data": forged}}
    data = json.dumps({"container": container, "image": None, **around}).encode()
    manifest = stored(tmp_path).manifest

    record = container_record(manifest, data)
    volume = described_volume(manifest, json.dumps({"volume": forged}).encode())

    assert [{"mine": "yes"}] * 4 == [
        record.container["Config"]["Labels"],
        record.networks["app"]["Labels"],
        record.volumes["data"]["Labels"],
        volume["Labels"],
    ]


def test_a_directorys_backup_describes_no_volume(tmp_path: Path) -> None:
    assert {} == described_volume(stored(tmp_path).manifest, None)


def test_what_the_engine_refuses_stops_the_best_effort_too(tmp_path: Path) -> None:
    sentence = "the engine says: Range of CPUs is from 0.01 to 2.00"
    prepared = Prepared((part(tmp_path, lacks=("network app: gone",), refusal=sentence),))

    assert ["web: network app: gone", f"web: {sentence}"] == prepared.lacks
    with pytest.raises(NotRestorable) as refused:
        prepared.require(best_effort=True)
    assert [f"  web: {sentence}"] == str(refused.value).splitlines()[1:]


def test_what_is_only_lacking_does_not_stop_the_best_effort(tmp_path: Path) -> None:
    prepared = Prepared((part(tmp_path, lacks=("network app: gone",)),))
    prepared.require(best_effort=True)

    with pytest.raises(NotRestorable, match="network app: gone"):
        prepared.require(best_effort=False)


def test_the_plan_tells_where_files_lie_and_what_reaches_the_host(tmp_path: Path) -> None:
    one = part(
        tmp_path,
        volumes=("stored",),
        empty_volumes={
            "far": {**VOLUME, "Options": {"device": ":/export", "o": "password=secret"}},
            "memory": {**VOLUME, "Options": {"device": "tmpfs", "type": "tmpfs"}},
            "data": VOLUME,
        },
        rights=("capability SYS_ADMIN: added",),
    )
    volumes, devices = {"stored": stored(tmp_path)}, {"stored": "/srv/data"}
    told = Prepared((one,), volumes, devices=devices).told(start=True)

    assert told[2].startswith("  volume stored: restored from backup ")
    assert told[2].endswith("; its files lie at /srv/data")
    assert [
        "  volume far: made; its files lie at :/export",
        "  volume memory: made, empty",
        "  volume data: made, empty",
        "  capability SYS_ADMIN: added",
    ] == told[3:7]
