"""From a container's record to an image that runs as the container did.

`docker import` cannot give everything back: SHELL, and on engine 20.10 STOPSIGNAL, are refused as
changes, and values with newlines or `=` in a label's name cannot be written as an instruction at
all (measured on engines 20.10 and 26). An image config can hold every one of them exactly, so the
default way back loads one; `changes` is the best that `docker import` can do. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from backupd.errors import DamagedBackup
from backupd.foreign_json import read_json
from backupd.volume_access import disowned

_FROM_CONTAINER = (
    "User",
    "ExposedPorts",
    "Env",
    "Entrypoint",
    "Cmd",
    "Volumes",
    "WorkingDir",
    "Labels",
    "StopSignal",
)
_FROM_EITHER = ("Healthcheck", "Shell", "OnBuild")
"""A container's inspect has no Shell and a null OnBuild; Podman's lacks Healthcheck as well."""

_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "armv6l": "arm",
    "i686": "386",
}
"""`uname -m`, as an engine tells its own, in the words of images; others are called alike."""


@dataclass(frozen=True, slots=True)
class Record:
    """The record of inspect, read back."""

    container: Mapping[str, Any]
    image: Mapping[str, Any]
    machine: str = ""
    """The architecture of the engine's machine, in the kernel's words."""
    networks: Mapping[str, Any] = field(default_factory=dict)
    """Inspects of the networks that it was attached to, by name; records may be older than this."""
    volumes: Mapping[str, Any] = field(default_factory=dict)
    """Inspects of the volumes that it mounted, by name."""
    lenders: Mapping[str, str] = field(default_factory=dict)
    """Names of the containers that it borrowed a network or processes from, by id."""

    @property
    def architecture(self) -> str:
        """The image's architecture as Go and Docker name it, else that of the engine's machine."""
        found = self.image.get("Architecture") or self.machine
        return str(_ARCHITECTURES.get(found, found) or "amd64")

    def config(self) -> dict[str, Any]:
        """The `config` of an image that runs as the container did; absent keys stay absent."""
        ran = self.container.get("Config") or {}
        built = self.image.get("Config") or {}
        config = {name: ran[name] for name in _FROM_CONTAINER if ran.get(name)}
        for name in _FROM_EITHER:
            value = ran.get(name) or built.get(name)
            if value:
                config[name] = value
        return config


def read_record(data: bytes) -> Record:
    """The record behind the stored bytes. Raises DamagedBackup for what is none."""
    try:
        record = read_json(data)
        container, image = record["container"], record["image"]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedBackup("cannot read the record of inspect: it is not one of ours") from error
    if not isinstance(container, dict) or not isinstance(image, dict | None):
        raise DamagedBackup("cannot read the record of inspect: it is not one of ours")
    around = {part: record.get(part) or {} for part in ("networks", "volumes", "lenders")}
    if not all(isinstance(part, dict) for part in around.values()):
        raise DamagedBackup("cannot read the record of inspect: it is not one of ours")
    for part in ("networks", "volumes"):
        around[part] = {name: _disowned(described) for name, described in around[part].items()}
    container = {**container, "Config": _disowned(container.get("Config"))}
    return Record(container, image or {}, str(record.get("machine") or ""), **around)


def _disowned(described: Any) -> Any:
    return disowned(described) if isinstance(described, dict) else described


@contextmanager
def _understood() -> Iterator[None]:
    """Use a record in the block: whoever can write to the store can write anything into one."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DamagedBackup(
            "cannot understand the record of inspect: no engine describes a container so"
        ) from error


def image_config(record: Record, *, diff_id: str, taken_at: datetime, comment: str) -> bytes:
    """The config file of a one-layer image around an export (OCI image config, Docker's fields).

    Raises DamagedBackup for a record that cannot be understood.
    """
    with _understood():
        return _image_config(record, diff_id, taken_at, comment)


def _image_config(record: Record, diff_id: str, taken_at: datetime, comment: str) -> bytes:
    created = taken_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    config: dict[str, Any] = {
        "architecture": record.architecture,
        "os": record.image.get("Os") or record.container.get("Platform") or "linux",
        "created": created,
        "author": record.image.get("Author") or "",
        "config": record.config(),
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": created, "created_by": "backupd", "comment": comment}],
    }
    if record.image.get("Variant"):
        config["variant"] = record.image["Variant"]
    return json.dumps(config).encode()


def changes(record: Record) -> tuple[list[str], list[str]]:
    """The config as `docker import --change` instructions, and what those cannot carry.

    Quoting as measured on Docker: inside double quotes only backslash, quote and dollar need one.
    Raises DamagedBackup for a record that cannot be understood.
    """
    with _understood():
        return _changes(record)


def _changes(record: Record) -> tuple[list[str], list[str]]:
    config, given, lost = record.config(), list[str](), list[str]()
    for name in ("Cmd", "Entrypoint"):
        if name in config:
            given.append(f"{name.upper()} {json.dumps(config[name])}")
    if config.get("Volumes"):
        given.append(f"VOLUME {json.dumps(sorted(config['Volumes']))}")
    pairs = [("ENV", *entry.split("=", 1)) for entry in config.get("Env", ()) if "=" in entry]
    pairs += [("LABEL", key, value) for key, value in sorted(config.get("Labels", {}).items())]
    for instruction, key, value in pairs:
        if "\n" in value or not _plain_key(key):
            lost.append(f"{instruction} {key}")
        else:
            given.append(f'{instruction} {key}="{_escaped(value)}"')
    for name, instruction in (("User", "USER"), ("WorkingDir", "WORKDIR")):
        if name in config:
            given.append(f"{instruction} {_escaped(config[name])}")
    given += [f"EXPOSE {port}" for port in sorted(config.get("ExposedPorts", ()))]
    given += _healthcheck(config.get("Healthcheck"), lost)
    given += [f"ONBUILD {line}" for line in config.get("OnBuild", ())]
    lost += [name.upper() for name in ("Shell", "StopSignal") if name in config]
    # An engine takes each line for an instruction: of one with two, nobody knows the second.
    lost += [text.split()[0] for text in given if "\n" in text]
    return [text for text in given if "\n" not in text], lost


def _healthcheck(check: Mapping[str, Any] | None, lost: list[str]) -> Iterable[str]:
    test = (check or {}).get("Test") or []
    if not check or not test:
        return []
    if test[0] == "NONE":
        return ["HEALTHCHECK NONE"]
    options = [
        f"--{option}={check[name]}ns"
        for option, name in (
            ("interval", "Interval"),
            ("timeout", "Timeout"),
            ("start-period", "StartPeriod"),
        )
        if check.get(name)
    ]
    if check.get("Retries"):
        options.append(f"--retries={check['Retries']}")
    if check.get("StartInterval"):
        lost.append("HEALTHCHECK --start-interval")
    as_shell = test[0] == "CMD-SHELL" and "\n" not in test[-1]
    command = test[-1] if as_shell else json.dumps(_executed(test))
    return [" ".join(["HEALTHCHECK", *options, "CMD", command])]


def _executed(test: list[str]) -> list[str]:
    return test[1:] if test[0] == "CMD" else ["/bin/sh", "-c", test[-1]]


def _plain_key(key: str) -> bool:
    return bool(key) and not any(sign in key for sign in "=\n\r\t \"'\\$")


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
