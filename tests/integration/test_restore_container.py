"""`backupd restore container`: the files come back as they were, and the image runs as before."""

from __future__ import annotations

import tarfile
from datetime import datetime
from typing import Any

import docker

from tests.integration.command import Command, Result
from tests.integration.conftest import WritePolicy
from tests.integration.trees import (
    CAPABILITY,
    files_of,
    files_of_image,
    image_facts,
    image_ids,
    lose,
    output_of,
    run_inside,
    start_container,
    succeeded,
)
from tests.servers.dockerd import Engine
from tests.servers.rootfs import MTIME, Layer, build_image, file, folder

NAME = "backupd-test-shop"
IMAGE, RESTORED = "backupd-test-shop:1", "backupd-test-shop:restored"
FROM_CONTAINER = (
    *("Cmd", "Entrypoint", "Env", "WorkingDir", "User", "ExposedPorts", "Labels", "Volumes"),
    *("Healthcheck", "StopSignal"),
)
FROM_IMAGE = ("Shell", "OnBuild")
AWKWARD: dict[str, Any] = {
    "Entrypoint": ["/bin/sh", "-c"],
    "Cmd": ["echo \"$TWO\" '$HOME'; pwd; id -u; cat /etc/motd; echo $LINES"],
    "Env": [
        *("PATH=/bin", "TWO=two  words", 'QUOTED="$X" \\ \'', "LINES=a\nb", "EMPTY="),
        *("UNICODE=日本 ü", "EQUALS=a=b=c", "HASH=#no comment", "TAB=\t", "TRAILING=\\"),
    ],
    "Labels": {"key=sign": "line\nline", "quote": "'\"$`", "empty": "", "com.example.a b": "1"},
    "User": "65534:65534",
    "WorkingDir": "/var/with space",
    "ExposedPorts": {"53/udp": {}, "80/tcp": {}},
    "Volumes": {"/data": {}, "/with space": {}},
    "Healthcheck": {
        "Test": ["CMD-SHELL", 'test "$A" || exit 1'],
        "Interval": 5_000_000_000,
        "Timeout": 1_500_000_000,
        "Retries": 7,
    },
    "StopSignal": "SIGUSR1",
    "Shell": ["/bin/sh", "-e", "-c"],
    "OnBuild": ["RUN echo 'x y'", "ENV A=$B"],
}
AUTHOR = 'Jörg "J" O\'Neill <joerg@example.com>'


def special(kind: bytes, device: tuple[int, int] = (0, 0)) -> tarfile.TarInfo:
    header = folder(0o640, 7, 8)
    header.type = kind
    header.devmajor, header.devminor = device
    return header


def hard_link(target: str) -> tarfile.TarInfo:
    header = folder(0o600, 1000, 2000)
    header.type, header.linkname = tarfile.LNKTYPE, target
    return header


def capable() -> tuple[tarfile.TarInfo, bytes]:
    """A program that may listen on port 80: cap_net_bind_service+ep, as capabilities(7) has it."""
    header = folder(0o755)
    header.type = tarfile.REGTYPE
    value = bytes([1, 0, 0, 2, 0, 4, *[0] * 14])
    header.pax_headers = {CAPABILITY: value.decode("ascii")}
    return header, b"#!/bin/sh\n"


TREE: Layer = {
    "srv": folder(0o2775, 33, 44),
    "srv/hard-one": file(b"linked twice", mode=0o600, uid=1000, gid=2000),
    "srv/hard-two": hard_link("srv/hard-one"),
    "srv/symlink": "../etc/passwd",
    "srv/dangling": "no/such/target",
    "srv/fifo": special(tarfile.FIFOTYPE),
    "srv/character": special(tarfile.CHRTYPE, (1, 3)),
    "srv/block": special(tarfile.BLKTYPE, (7, 200)),
    "srv/setuid": file(b"#!/bin/sh\n", mode=0o4755),
    "srv/setgid": file(b"#!/bin/sh\n", mode=0o2711, gid=9),
    "srv/capable": capable(),
    "srv/sticky": folder(0o1777),
    "srv/largest-owner": file(b"", uid=4_294_967_294, gid=4_294_967_294),
    "srv/unreadable": file(b"secret", mode=0),
    "srv/empty": file(b""),
    "srv/" + "long-" * 40: file(b"name"),
    "/".join(["srv", *["deep-folder-name"] * 12, "file"]): file(b"path"),
    "srv/ünïcödé 日本": file(b"letters"),
    "srv/new\nline \"quoted\" 'name' $x": file(b"signs"),
    "srv/deleted": file(b"gone soon"),
}


def back_up(policy: WritePolicy, backupd: Command, selector: Any = NAME) -> Result:
    """Back the container up into a directory."""
    store = {"url": f"file://{backupd.directory}/store"}
    policy({"nightly": {"containers": [selector]}}, store=store)
    return succeeded(backupd("backup"))


def run_settings(config: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The named settings; what is not set counts as None, however an engine spells that."""
    return {name: config.get(name) or None for name in names}


def test_the_files_of_a_container_come_back_as_they_were(
    api: docker.APIClient, policy: WritePolicy, backupd: Command, bucket: dict[str, Any]
) -> None:
    build_image(api, IMAGE, layers=[TREE])
    start_container(api, NAME, IMAGE)
    run_inside(
        api,
        NAME,
        "rm /srv/deleted; echo more >> /srv/hard-one; mkfifo -m 600 /srv/pipe; chown 5:6 /srv/pipe;"
        "mknod /srv/null c 1 3; ln -s /srv /srv/self; ln /srv/setuid /srv/setuid-too",
    )
    policy({"nightly": {"containers": [NAME]}})
    before = files_of(api, NAME)
    succeeded(backupd("backup"))
    api.remove_container(NAME, force=True)
    succeeded(backupd("restore", "container", NAME, "--tag", RESTORED))

    assert before == files_of_image(api, RESTORED, NAME)


def test_the_tree_of_these_tests_has_what_is_hard_to_keep(api: docker.APIClient) -> None:
    build_image(api, IMAGE, layers=[TREE])
    files = files_of_image(api, IMAGE, NAME)

    assert "\x01\0\0\x02\0\x04" == files["srv/capable"].capability[:6]
    assert {tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.LNKTYPE} <= {
        found.kind for found in files.values()
    }
    assert (0o4755, (1000, 2000), MTIME) == (
        files["srv/setuid"].mode,
        files["srv/hard-one"].owner,
        files["srv/hard-one"].mtime,
    )
    assert set(TREE) <= set(files)


def test_the_configuration_of_a_container_comes_back_exactly(
    api: docker.APIClient, policy: WritePolicy, backupd: Command
) -> None:
    build_image(api, IMAGE, layers=[TREE], config=AWKWARD, author=AUTHOR)
    api.create_container(
        IMAGE, name=NAME, environment={"MORE": "$(of) `it`"}, labels={"run=by": "a\nperson"}
    )
    before = run_settings(api.inspect_container(NAME)["Config"], FROM_CONTAINER)
    back_up(policy, backupd)
    succeeded(backupd("restore", "container", NAME, "--tag", RESTORED))
    after = api.inspect_image(RESTORED)

    assert before == run_settings(after["Config"], FROM_CONTAINER)
    assert run_settings(AWKWARD, FROM_IMAGE) == run_settings(after["Config"], FROM_IMAGE)
    assert AUTHOR == after["Author"]


def test_a_restored_container_prints_what_it_printed_before(
    api: docker.APIClient, policy: WritePolicy, backupd: Command
) -> None:
    layers: list[Layer] = [{"etc/motd": b"hello\n", "var/with space": folder(0o755)}]
    build_image(api, IMAGE, layers=layers, config=AWKWARD)
    before = output_of(api, IMAGE, NAME)
    back_up(policy, backupd)
    succeeded(backupd("restore", "container", NAME, "--tag", RESTORED))

    assert "two  words $HOME\n/var/with space\n65534\nhello\na b\n" == before
    assert before == output_of(api, RESTORED, f"{NAME}-again")


def test_a_change_made_in_a_running_container_comes_back_on_a_second_engine(
    api: docker.APIClient,
    second_api: docker.APIClient,
    second_engine: Engine,
    policy: WritePolicy,
    backupd: Command,
) -> None:
    start_container(api, NAME, command=["sh", "-c", "cat /orders || sleep 1000"])
    run_inside(api, NAME, "echo paid > /orders")
    back_up(policy, backupd)
    second = ("--docker-host", second_engine.host)
    succeeded(backupd("restore", "container", NAME, "--tag", RESTORED, *second))

    assert "paid\n" == output_of(second_api, RESTORED, NAME)


def test_a_restored_container_gets_a_tag_that_no_image_in_use_has(
    api: docker.APIClient, policy: WritePolicy, backupd: Command
) -> None:
    start_container(api, NAME)
    back_up(policy, backupd)
    succeeded(backupd("restore", "container", NAME))
    (row,) = backupd("list", "--json").json
    taken_at = datetime.fromisoformat(row["taken_at"]).strftime("%Y%m%dT%H%M%S")
    tag = f"restored/{NAME}:{taken_at}-{row['taken_at'][-4:-1]}Z"

    assert (tag,) == image_facts(api, tag).tags


def test_a_tag_that_an_image_holds_is_taken_only_after_saying_so(
    api: docker.APIClient, policy: WritePolicy, backupd: Command
) -> None:
    holder = build_image(api, RESTORED, layers=[TREE])
    start_container(api, NAME)
    back_up(policy, backupd)
    result = succeeded(backupd("restore", "container", NAME, "--tag", RESTORED))

    assert (
        f"backupd: {RESTORED} names image {holder[:19]} now, which loses this name"
        in result.stderr.splitlines()
    )
    assert holder in image_ids(api)


def test_a_stopped_container_comes_back(
    api: docker.APIClient, policy: WritePolicy, backupd: Command
) -> None:
    start_container(api, NAME)
    run_inside(api, NAME, "echo paid > /orders")
    api.kill(NAME)
    api.wait(NAME)
    before = files_of(api, NAME)
    back_up(policy, backupd, {"name": NAME, "pause": True})
    succeeded(backupd("restore", "container", NAME, "--tag", RESTORED))

    assert before == files_of_image(api, RESTORED, f"{NAME}-again")


def test_a_container_comes_back_although_its_image_is_gone(
    api: docker.APIClient, policy: WritePolicy, backupd: Command
) -> None:
    image = build_image(api, IMAGE, layers=[{"etc/motd": b"hello\n"}], config=AWKWARD)
    api.create_container(IMAGE, name=NAME)
    before = run_settings(api.inspect_container(NAME)["Config"], FROM_CONTAINER)
    lose(api, IMAGE)
    result = back_up(policy, backupd)
    succeeded(backupd("restore", "container", NAME, "--tag", RESTORED))

    assert image not in image_ids(api)
    assert (
        f"backupd: warning: container {NAME}: its image {IMAGE} is gone from the engine: SHELL, "
        "ONBUILD and the author cannot be recorded"
    ) == result.stderr.splitlines()[-1]
    assert before == run_settings(api.inspect_image(RESTORED)["Config"], FROM_CONTAINER)


def test_mounts_that_an_export_lacks_are_named_at_backup_and_at_restore(
    api: docker.APIClient, policy: WritePolicy, backupd: Command
) -> None:
    volume = "backupd-test-orders"
    build_image(api, IMAGE)
    api.create_volume(volume)
    api.create_container(
        IMAGE,
        name=NAME,
        host_config=api.create_host_config(binds=[f"{volume}:/var/orders", "/tmp:/host:ro"]),  # noqa: S108
    )
    backup = back_up(policy, backupd)
    restore = succeeded(backupd("restore", "container", NAME, "--tag", RESTORED))

    assert {
        f"backupd: warning: container {NAME}: volume {volume} at /var/orders is not in the export",
        f"backupd: warning: container {NAME}: bind /tmp at /host is not in the export",
    } == set(backup.stderr.splitlines())
    assert {
        f"backupd: not in this backup: volume {volume} at /var/orders",
        "backupd: not in this backup: bind /tmp at /host",
    } <= set(restore.stderr.splitlines())
