"""The arrows of docs/architecture.md, read from the imports themselves."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "backupd"
LAYERS = (
    # Pure: values and decisions.
    {"__init__", "errors", "layout", "manifest", "policy", "schedule", "duration", "foreign_json"}
    | {"age_keys", "engine_answers", "redaction"}
    | {"retention", "timeline", "grouping", "prune_guard", "forecast", "proof", "anomaly"}
    | {"stop_order", "timetable", "run_record", "drill_plan", "shortage"}
    | {"object_lock", "bucket_facts", "rights", "abilities"}
    | {"container_body", "container_plan", "container_networks", "container_rights"},
    # Bytes: pure too, but streaming.
    {"tar", "tar_header", "tar_move", "image_tar", "engine_words"}
    | {"codec", "zstd_frames", "stream", "age"},
    # Edges: each wraps one outside thing.
    {
        "engine",
        "engine_link",
        "stores",
        "sources",
        "config",
        "state",
        "machine_lock",
        "named_lately",
        "journal",
        "catalog",
        "site",
        "pace",
    }
    | {"engine_link", "journal_file", "half_imports", "late_import"}
    | {"engine_exec", "turns", "history", "history_file", "volume_access", "engine_create"}
    | {"leftovers", "core_dumps", "shipped", "systemd", "descriptors"},
    {"verbs"},
    {"daemon", "telling", "log", "text"},
    {"cli", "__main__"},
)
ONLY_IMPORTER = {
    "docker": {"engine_link.py"},
    "boto3": {"stores"},
    "botocore": {"stores"},
    "s3transfer": {"stores"},
    "yaml": {"config"},
    "cronsim": {"schedule.py"},
    "pyrage": {"age.py", "age_keys.py"},
    "zstandard": {"codec.py", "zstd_frames.py"},
    "apprise": {"telling"},
    "apscheduler": {"daemon"},
    "prometheus_client": {"telling"},
    "click": {"cli"},
    "rich": {"cli", "text.py"},
}
IMPURE = {"os", "socket", "subprocess", "requests", "time", "random", "secrets", "shutil"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(path: Path) -> str:
    """The first step below the package: a file or a folder."""
    return path.relative_to(PACKAGE).parts[0]


def layer(name: str) -> int:
    matching = [index for index, names in enumerate(LAYERS) if name in names]
    assert matching, f"backupd/{name} stands in no layer: add it to this test and to the docs"
    return matching[0]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows_go_one_way(path: Path) -> None:
    here = layer(room(path).removesuffix(".py"))

    for name in imports(path):
        if name.startswith("backupd.") and name != "backupd.__version__":
            there = layer(name.split(".")[1])
            assert there <= here, f"{path.name} reaches up to {name}"


@pytest.mark.parametrize("library", sorted(ONLY_IMPORTER))
def test_each_library_is_imported_in_one_place(library: str) -> None:
    importers = {
        room(path)
        for path in modules()
        if any(name.split(".")[0] == library for name in imports(path))
    }

    assert importers <= ONLY_IMPORTER[library]
    assert importers, f"{library} is a dependency that nothing uses"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_core_reaches_for_nothing_outside(path: Path) -> None:
    if layer(room(path).removesuffix(".py")) > 0:
        return

    assert not IMPURE & {name.split(".")[0] for name in imports(path)}


HEAVY = {"apscheduler", "boto3", "docker", "pydantic", "requests", "yaml", "zstandard"} | {
    # Small ones count where the whole takes 70 ms.
    *("rich", "logging", "json", "socket", "zoneinfo", "pathlib", "subprocess"),
    *("backupd.layout", "backupd.policy", "backupd.verbs", "backupd.cli.backup"),
}


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_what_needs_no_verb_imports_none_and_nothing_heavy(option: str) -> None:
    script = (
        "import sys; from backupd.cli.main import cli; "
        f"cli(['{option}'], standalone_mode=False); print(*sys.modules, file=sys.stderr)"
    )
    bare = "import sys, click; print(*sys.modules, file=sys.stderr)"
    ours, without = (
        subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
        for text in (script, bare)
    )

    assert "backupd" in ours.stdout
    assert set() == (set(ours.stderr.split()) - set(without.stderr.split())) & HEAVY


def test_the_help_of_a_verb_imports_no_other_verb() -> None:
    script = (
        "import sys; from backupd.cli.main import cli; "
        "cli(['list', '--help'], standalone_mode=False); print(*sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())

    assert "backupd.cli.list" in loaded
    assert set() == loaded & {"backupd.cli.backup", "boto3", "docker", "pydantic", "yaml"}


def test_the_scheduler_loads_no_coroutines_and_no_pools_of_processes() -> None:
    vain = "'asyncio', 'multiprocessing', 'concurrent.futures.process'"
    script = (
        f"import sys, backupd.daemon.scheduler; print(*{{{vain}}} & sys.modules.keys()); "
        "import asyncio, multiprocessing, concurrent.futures.process; "
        "print(asyncio.run.__name__, multiprocessing.Process.__name__, "
        "concurrent.futures.process.ProcessPoolExecutor.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert ["", "run Process ProcessPoolExecutor"] == done.stdout.splitlines(), done.stderr


def test_paramiko_is_not_loaded_before_it_is_used() -> None:
    script = (
        "import sys, backupd.engine, docker.transport; "
        "print(docker.transport.SSHHTTPAdapter.__name__, 'paramiko' in sys.modules); "
        "print(docker.transport.sshconn.paramiko.SSHClient.__name__, 'paramiko' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert ["SSHHTTPAdapter False", "SSHClient True"] == done.stdout.splitlines(), done.stderr
