"""Volumes and directories of the host: backed up, lost, and brought back as they were."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import docker
import pytest

from tests.integration.aftermath import kept, names_listed, the_sentence
from tests.integration.command import Command
from tests.integration.conftest import WritePolicy
from tests.integration.trees import CAPABILITY, succeeded
from tests.integration.volumes import files_in, fill, helpers, looking_at, make_volume, start_with
from tests.servers.dockerd import Engine
from tests.servers.rootfs import Entry, base_image, file, folder

NAME, NEW = "backupd-test-volume", "backupd-test-volume-new"
USER = "backupd-test-volume-user"
LABELS = {"backup": "true", "text": "a \"b\" $c 'd'"}
CAPABILITIES = "\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0"


def header(kind: bytes, *, target: str = "", mode: int = 0o644, uid: int = 0) -> tarfile.TarInfo:
    made = tarfile.TarInfo()
    made.type, made.linkname, made.mode, made.uid, made.mtime = kind, target, mode, uid, 1234567890
    return made


def device() -> tarfile.TarInfo:
    made = header(tarfile.CHRTYPE)
    made.devmajor, made.devminor = 1, 7
    return made


def capable() -> Entry:
    made = header(tarfile.REGTYPE, mode=0o755)
    made.pax_headers = {CAPABILITY: CAPABILITIES}
    return made, b"program"


AWKWARD: dict[str, Entry] = {
    "./": folder(0o1770, 999, 998),
    "./empty": folder(0o2755, 5, 6),
    "./file": file(b"content", mode=0o640, uid=70_000, gid=3_000_000),
    "./huge owner": header(tarfile.REGTYPE, uid=4294967294),
    "./program": file(b"#!", mode=0o6755),
    "./capable": capable(),
    "./hard link": header(tarfile.LNKTYPE, target="v/file"),
    "./soft link": "../../etc/passwd",
    "./pipe": header(tarfile.FIFOTYPE, mode=0o600, uid=7),
    "./null": device(),
    "./bytes \udcff\udcfe\n\ttab": b"not UTF-8",
    "./.wh.file": b"no whiteout here",
    "./..data": b"dots",
    f"./{'long' * 60}/{'name' * 60}": b"a path of more than 255 signs",
    "./zeros": bytes(3 << 20),
    **{f"./many/{n // 100}/{n}": str(n).encode() for n in range(2000)},
}


@pytest.fixture
def store(tmp_path: Path, policy: WritePolicy) -> Path:
    root = tmp_path / "store"
    policy({"nightly": {"volumes": [NAME]}}, store={"url": f"file://{root}"})
    return root


def test_a_volume_comes_back_with_every_file_owner_mode_and_label(
    api: docker.APIClient, policy: WritePolicy, backupd: Command
) -> None:
    make_volume(api, NAME, AWKWARD, labels=LABELS)
    before, told = files_in(api, NAME), api.inspect_volume(NAME)
    policy({"nightly": {"volumes": [NAME]}})
    succeeded(backupd("backup"))
    api.remove_volume(NAME)
    succeeded(backupd("restore", "volume", NAME))
    after = api.inspect_volume(NAME)

    assert before == files_in(api, NAME)
    assert len(AWKWARD) <= len(before)
    assert (told["Labels"], told["Options"], told["Driver"]) == (
        after["Labels"],
        after["Options"],
        after["Driver"],
    )
    assert [] == helpers(api)


def test_a_volume_comes_back_on_another_engine_from_another_hosts_backup(
    api: docker.APIClient,
    second_api: docker.APIClient,
    second_engine: Engine,
    policy: WritePolicy,
    bucket: dict[str, str],
    backupd: Command,
) -> None:
    make_volume(api, NAME, {"./file": b"content"})
    policy({"nightly": {"volumes": ["backupd-test-vol*"]}}, store=bucket)
    succeeded(backupd("backup"))
    policy({"nightly": {"volumes": [NAME]}}, host="another", store=bucket)
    there = ("--host", "testhost", "--docker-host", second_engine.host)
    succeeded(backupd("restore", "volume", NAME, *there))

    assert files_in(api, NAME) == files_in(second_api, NAME)
    assert [] == helpers(second_api)


def test_the_archive_of_a_volume_is_a_plain_tar_of_its_files(
    api: docker.APIClient, backupd: Command, store: Path
) -> None:
    make_volume(api, NAME, {"./": folder(0o700), "./file": b"content"})
    succeeded(backupd("backup"))
    succeeded(backupd("restore", "volume", NAME, "--output", "out.tar"))
    with tarfile.open(backupd.directory / "out.tar") as tar:
        found = {member.name: member.mode & 0o7777 for member in tar}

    assert {".": 0o700, "./file": 0o644} == found


def test_volumes_are_selected_by_name_pattern_label_and_with_their_container(
    api: docker.APIClient, tmp_path: Path, policy: WritePolicy, backupd: Command
) -> None:
    one, two, three, four = (f"{NAME}-{n}" for n in ("one", "two", "three", "cache"))
    for name in (one, two):
        make_volume(api, name)
    make_volume(api, three, labels=LABELS)
    place = tmp_path / "srv"
    place.mkdir()
    start_with(api, USER, "sleep 1000", [four, two, str(place)], stop_signal="SIGKILL")
    by_mount = {
        "name": USER,
        "with_volumes": True,
        "bind_mounts": [str(place), "/nowhere"],
    }
    policy(
        {
            "a": {"volumes": [one, "backupd-test-nothing"]},
            "b": {"volumes": [f"{NAME}-*"], "exclude": ["*cache"]},
            "c": {"volumes": [{"label": "backup=true"}]},
            "d": {"containers": [by_mount]},
        },
        store={"url": f"file://{tmp_path}/store"},
    )
    told = backupd("check", "--json").json
    found = {(each["job"], each["kind"], each["name"]) for each in told["sources"]}
    missing = {(each["name"], each["where"]) for each in told["missing"]}

    assert {
        *(("a", "volume", one), ("c", "volume", three)),
        *(("b", "volume", name) for name in (one, two, three)),
        *(("d", "volume", name) for name in (two, four, str(place))),
        ("d", "container", USER),
    } == found
    assert {
        ("backupd-test-nothing", "jobs.a.volumes[1]"),
        ("/nowhere", "jobs.d.containers[0].bind_mounts[1]"),
    } == missing


def test_a_directory_of_the_host_is_backed_up_and_comes_back_into_an_empty_one(
    api: docker.APIClient, tmp_path: Path, policy: WritePolicy, backupd: Command
) -> None:
    place = tmp_path / "srv"
    place.mkdir(mode=0o711)
    (place / "file").write_text("content")
    container = looking_at(api, str(place))
    name = api.inspect_container(container)["Name"].lstrip("/")
    policy(
        {"nightly": {"containers": [{"name": name, "bind_mounts": [str(place)]}]}},
        store={"url": f"file://{tmp_path}/store"},
    )
    succeeded(backupd("backup"))
    refused = the_sentence(backupd("restore", "volume", str(place)))
    (place / "file").unlink()
    place.chmod(0o777)
    succeeded(backupd("restore", "volume", str(place)))

    assert "it is not empty" in refused
    assert ("content", 0o711) == ((place / "file").read_text(), place.stat().st_mode & 0o777)


@pytest.mark.parametrize("options", [(), ("--replace",)])
def test_a_volume_that_a_stopped_container_mounts_is_never_touched(
    options: tuple[str, ...], api: docker.APIClient, backupd: Command, store: Path
) -> None:
    make_volume(api, NAME, {"./file": b"first"})
    succeeded(backupd("backup"))
    container = looking_at(api, NAME)
    user = api.inspect_container(container)["Name"].lstrip("/")
    result = backupd("restore", "volume", NAME, *options)

    assert 2 == result.code
    assert f"container {user} mounts it; restore beside it with --to NEW" in the_sentence(result)


def test_a_volume_with_files_is_replaced_only_when_asked_to(
    api: docker.APIClient, backupd: Command, store: Path
) -> None:
    make_volume(api, NAME, {"./file": b"first"})
    before = files_in(api, NAME)
    succeeded(backupd("backup"))
    fill(api, NAME, {"./file": b"second", "./more": b""})
    changed = files_in(api, NAME)
    refused = backupd("restore", "volume", NAME)
    untouched = files_in(api, NAME)
    succeeded(backupd("restore", "volume", NAME, "--replace"))

    assert (2, True) == (refused.code, "it is not empty" in the_sentence(refused))
    assert changed == untouched
    assert before == files_in(api, NAME)


def test_a_damaged_backup_neither_replaces_a_volume_nor_leaves_one_behind(
    api: docker.APIClient, backupd: Command, store: Path
) -> None:
    make_volume(api, NAME, {"./file": b"first"})
    before, volumes = files_in(api, NAME), len(api.volumes()["Volumes"])
    succeeded(backupd("backup"))
    (archive,) = store.glob("*/archives/volume/*/*.tar.zst")
    data = archive.read_bytes()
    archive.write_bytes(data[:-5] + bytes([data[-5] ^ 1]) + data[-4:])
    replacing = backupd("restore", "volume", NAME, "--replace")
    beside = backupd("restore", "volume", NAME, "--to", NEW)

    assert (6, 6) == (replacing.code, beside.code)
    assert (before, volumes) == (files_in(api, NAME), len(api.volumes()["Volumes"]))
    assert [] == helpers(api)


def forge(store: Path) -> None:
    """Let the only archive, which is not compressed, hold a file elsewhere; its manifest agrees."""
    (archive,) = store.glob("*/archives/volume/*/*.tar")
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("etc/passwd"))
    data = made.getvalue()[:512].ljust(archive.stat().st_size, b"\0")
    archive.write_bytes(data)
    (manifest,) = store.glob("*/backups/*/volume/*/*.json")
    told = json.loads(manifest.read_bytes())
    told["archive"]["sha256"] = told["archive"]["stored_sha256"] = hashlib.sha256(data).hexdigest()
    manifest.write_text(json.dumps(told))


def test_a_forged_backup_replaces_nothing_though_all_its_checksums_are_right(
    api: docker.APIClient, backupd: Command, policy: WritePolicy, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    sections = {"store": {"url": f"file://{store}"}, "compression": "none"}
    policy({"nightly": {"volumes": [NAME]}}, **sections)
    make_volume(api, NAME, {"./file": b"first"})
    before = files_in(api, NAME)
    succeeded(backupd("backup"))
    forge(store)
    result = backupd("restore", "volume", NAME, "--replace")

    assert (6, True) == (result.code, "which does not begin with './'" in result.stderr)
    assert before == files_in(api, NAME)
    assert [] == helpers(api)


def test_an_empty_volume_of_another_make_is_filled_and_keeps_its_own_labels(
    api: docker.APIClient, backupd: Command, store: Path
) -> None:
    make_volume(api, NAME, {"./file": b"first"}, labels=LABELS)
    succeeded(backupd("backup"))
    make_volume(api, NEW, labels={"mine": "yes"})
    succeeded(backupd("restore", "volume", NAME, "--to", NEW))

    assert files_in(api, NAME) == files_in(api, NEW)
    assert {"mine": "yes"} == api.inspect_volume(NEW)["Labels"]


def test_a_fresh_volume_that_shows_old_files_is_refused(
    api: docker.APIClient, tmp_path: Path, backupd: Command, store: Path
) -> None:
    place = tmp_path / "drive"
    place.mkdir()
    (place / "file").write_text("content")
    options = {"type": "none", "o": "bind", "device": str(place)}
    make_volume(api, NAME, driver_opts=options)
    succeeded(backupd("backup"))
    (place / "file").write_text("newer")
    beside = succeeded(backupd("restore", "volume", NAME, "--to", NEW))
    api.remove_volume(NAME)
    result = backupd("restore", "volume", NAME)
    names = [volume["Name"] for volume in api.volumes()["Volumes"]]

    assert "it becomes a plain volume of this machine" in beside.stderr
    assert None is api.inspect_volume(NEW)["Options"]
    assert {"./file"} < files_in(api, NEW).keys()
    assert (2, True) == (result.code, "it is not empty" in result.stderr)
    assert ("newer", False) == ((place / "file").read_text(), NAME in names)


def test_a_missing_volume_fails_its_job_and_is_not_made_by_the_backup(
    api: docker.APIClient, backupd: Command, store: Path
) -> None:
    result = backupd("backup")

    assert (1, [], []) == (result.code, kept(store), names_listed(backupd))
    assert NAME not in [volume["Name"] for volume in api.volumes()["Volumes"] or ()]


@pytest.mark.parametrize("target", [f"../containers/{USER}", "", ".."])
def test_a_target_that_is_no_volumes_name_is_refused_and_nothing_is_touched(
    target: str, api: docker.APIClient, store: Path, backupd: Command
) -> None:
    make_volume(api, NAME, {"./file": b"old"})
    succeeded(backupd("backup"))
    fill(api, NAME, {"./new": b"newer than the backup"})
    api.create_container(base_image(api), ["true"], name=USER)
    result = backupd("restore", "volume", NAME, "--to", target, "--replace")

    assert 2 == result.code
    assert "is not a volume's name" in result.stderr
    assert {"./file", "./new"} <= files_in(api, NAME).keys()
    assert [USER] == [one["Names"][0][1:] for one in api.containers(all=True)]


def test_no_error_tells_the_password_of_a_volumes_driver(
    api: docker.APIClient, store: Path, backupd: Command
) -> None:
    options = {"type": "cifs", "device": "//127.0.0.1/x", "o": "username=u,password=HUNTER2"}
    api.create_volume(NAME, driver="local", driver_opts=options)
    result = backupd("backup")

    assert 1 == result.code
    assert f"volume {NAME}" in result.stderr
    assert "HUNTER2" not in result.stderr + result.stdout
