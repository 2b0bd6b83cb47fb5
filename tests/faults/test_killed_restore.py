"""A restore that is killed in the middle leaves nothing half on the engine."""

from __future__ import annotations

import re
from collections import Counter

import docker
import pytest

from tests.faults.conftest import Write
from tests.faults.gate import Gate, Moment
from tests.faults.scene import IMAGE, MIB, OTHER_IMAGE, PLAIN, Scene
from tests.integration.aftermath import images, journal
from tests.integration.command import Command
from tests.integration.trees import image_ids, lose, succeeded
from tests.servers.faulty_engine import IMPORT, LOAD
from tests.servers.relay import Piece
from tests.servers.rootfs import layer_tar

MESSAGE = "backupd-test-faults: half"
AGAIN = "backupd-test-faults:again"
VIA_IMPORT = (*("restore", "container", PLAIN, "--via", "import"), "--tag", AGAIN)
VIA_LOAD = ("restore", "container", PLAIN, "--tag", AGAIN)


def sent(request: str, at_byte: int) -> Moment:
    """The moment at which so much of the request's body was sent."""
    done = Counter[str]()

    def is_here(piece: Piece, _: Counter[str]) -> bool:
        if piece.is_answer or re.fullmatch(request, piece.request) is None:
            return False
        done["bytes"] += len(piece.data)
        return done["bytes"] > at_byte

    return is_here


@pytest.mark.parametrize(
    ("arguments", "request_"),
    [(("restore", "image", OTHER_IMAGE), LOAD), (VIA_LOAD, LOAD), (VIA_IMPORT, IMPORT)],
    ids=["image", "container", "import"],
)
def test_a_killed_restore_leaves_no_image_and_can_be_done_again(
    arguments: tuple[str, ...],
    request_: str,
    scene: Scene,
    gate: Gate,
    write: Write,
    api: docker.APIClient,
    backupd: Command,
) -> None:
    write([OTHER_IMAGE], [PLAIN])
    succeeded(backupd("backup"))
    lose(api, OTHER_IMAGE)
    before = images(api)
    gate.close(sent(request_, 4 * MIB))
    with backupd.start(*arguments) as process:
        gate.kill(process)
    gate.open()
    succeeded(backupd("backup", "nothing"))

    assert (before, []) == (images(api), journal(backupd))
    succeeded(backupd(*arguments))
    succeeded(backupd("restore", "image", OTHER_IMAGE))


def test_half_an_import_that_an_engine_keeps_is_removed_once_its_restore_is_dead(
    scene: Scene, gate: Gate, write: Write, api: docker.APIClient, backupd: Command
) -> None:
    write([IMAGE], [PLAIN])
    succeeded(backupd("backup"))
    gate.close(sent(IMPORT, 4 * MIB))
    with backupd.start(*VIA_IMPORT, "--message", MESSAGE) as process:
        assert gate.is_reached()
        persons = imported(api, "a person's own")
        half = imported(api, MESSAGE)
        succeeded(backupd("backup", "nothing"))
        meanwhile = {persons, half} <= image_ids(api)
        gate.kill(process)
    gate.open()
    result = succeeded(backupd("backup", "nothing"))
    left = image_ids(api) & {persons, half}
    lose(api, persons)

    assert meanwhile
    assert f"removed image {half[:19]}: half of an import by a restore that died" in result.stderr
    assert ({persons}, []) == (left, journal(backupd))


def imported(api: docker.APIClient, message: str) -> str:
    """The id of an image without a name, of an import with this message.

    So an engine with the containerd image store keeps one that was broken off.
    """
    address = f"{api.base_url}/v{api.api_version}/images/create"
    tar_bytes = layer_tar({"file": message.encode()})
    answer = api.post(address, params={"fromSrc": "-", "message": message}, data=tar_bytes)
    return str(answer.json()["status"])
