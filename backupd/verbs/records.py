"""Records of inspect, read back for use.

Whoever can write to the store can write anything into one. What cannot be understood is a damaged
backup, found before an engine is asked for anything; and so is a record whose keys an engine would
read otherwise than backupd does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from backupd.container_body import Inspect, Ran
from backupd.container_plan import Seen, plan
from backupd.container_rights import disguised
from backupd.errors import DamagedBackup
from backupd.foreign_json import read_json
from backupd.layout import Kind
from backupd.manifest import Manifest
from backupd.sources.container_image import Record, read_record
from backupd.stop_order import dependencies
from backupd.volume_access import disowned


@contextmanager
def understood(manifest: Manifest) -> Iterator[None]:
    """Read the backup's record in the block: what makes no sense there raises DamagedBackup."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        whose = f"{manifest.kind} {manifest.name}"
        what = f"how {whose} ran" if manifest.kind is Kind.CONTAINER else whose
        raise DamagedBackup(
            f"backup {manifest.id}: the record of {what} cannot be understood"
        ) from error


def container_record(manifest: Manifest, data: bytes) -> Record:
    """The record of a container's backup, which tells how it ran. Raises DamagedBackup."""
    with understood(manifest):
        record = read_record(data)
    if not all(isinstance(record.container.get(key), Mapping) for key in ("Config", "HostConfig")):
        raise DamagedBackup(f"backup {manifest.id}: its record does not tell how it ran")
    return record


def ran_of(manifest: Manifest, record: Record) -> Ran:
    """The record, which can be read as far as that can be told without an engine.

    Raises DamagedBackup.
    """
    ran = Ran(record.container, record.networks, record.volumes, record.lenders)
    with understood(manifest):
        if disguised(ran.container):
            raise ValueError("keys that are spelled to be overlooked")
        plan(ran, Seen(), name=ran.name, image="", backed_up=())
        dependencies([summary_of(ran)])
    return ran


def summary_of(ran: Ran) -> Inspect:
    """The container as the engine's listing would tell of it."""
    return {
        "Id": ran.container["Id"],
        "Names": [f"/{ran.name}"],
        "Labels": (ran.container.get("Config") or {}).get("Labels") or {},
        "HostConfig": {"NetworkMode": ran.mode},
    }


def described_volume(manifest: Manifest, data: bytes | None) -> dict[str, Any]:
    """What inspect told of a volume; nothing for a directory of the host. Raises DamagedBackup."""
    with understood(manifest):
        described = disowned(read_json(data or b"{}").get("volume") or {})
        texts = (described.get("Options") or {}, described.get("Labels") or {})
        for key, value in [pair for part in texts for pair in part.items()]:
            if not isinstance(value, str):
                raise TypeError(f"{key} is no text")
        if not isinstance(described.get("Driver") or "", str):
            raise TypeError("its driver is no text")
    return described
