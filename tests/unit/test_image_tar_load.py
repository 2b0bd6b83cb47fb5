"""The tar made around one layer: readable by any engine, and never closed around a wrong layer."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from itertools import islice

import pytest

from backupd.errors import DamagedBackup
from backupd.image_tar import ImageCheck, loadable
from backupd.tar import Member, Sink, TarWalk
from tests.unit.image_tars import config_of, expected_of, files_of, layer, sha256

LAYER = layer("etc/motd", b"hello" * 300)
CONFIG = config_of([LAYER], config={"Env": ['A=$ "quoted"\nnext']})
DIFF_ID = f"sha256:{sha256(LAYER)}"


def pieces(data: bytes) -> list[bytes]:
    return [data[start : start + 999] for start in range(0, len(data), 999)]


@pytest.mark.parametrize("reference", ["web:restored", None])
def test_the_tar_passes_the_check_of_a_save(reference: str | None) -> None:
    data = b"".join(loadable(CONFIG, reference, pieces(LAYER), len(LAYER), DIFF_ID))
    check = ImageCheck([expected_of(CONFIG, [reference] if reference else [])])

    check.feed(data)
    check.finish()

    (entry,) = json.loads(files_of(data)["manifest.json"])
    assert entry["RepoTags"] == ([reference] if reference else None)


def test_tarfile_reads_config_and_layer_as_they_were() -> None:
    files = files_of(b"".join(loadable(CONFIG, "a:1", pieces(LAYER), len(LAYER), DIFF_ID)))

    assert CONFIG == files[f"{sha256(CONFIG)}.json"]
    assert LAYER == files[f"{sha256(LAYER)}/layer.tar"]


def test_the_layer_comes_last_so_that_its_end_decides() -> None:
    data = b"".join(loadable(CONFIG, "a:1", pieces(LAYER), len(LAYER), DIFF_ID))

    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert f"{sha256(LAYER)}/layer.tar" == tar.getnames()[-1]


@pytest.mark.parametrize("stated", [len(LAYER) + 1, len(LAYER) - 1, len(LAYER) + 512, 0])
def test_a_layer_of_another_size_leaves_the_tar_open(stated: int) -> None:
    out: list[bytes] = []
    with pytest.raises(DamagedBackup, match=f"not {stated}"):
        out.extend(loadable(CONFIG, "a:1", pieces(LAYER), stated, DIFF_ID))

    assert sum(map(len, out)) <= 4 * 1024 + stated


def test_an_error_of_the_layer_leaves_the_tar_open() -> None:
    def breaking() -> Iterator[bytes]:
        yield LAYER
        raise DamagedBackup("its digest differs")

    out: list[bytes] = []
    with pytest.raises(DamagedBackup, match="its digest differs"):
        out.extend(loadable(CONFIG, "a:1", breaking(), len(LAYER), DIFF_ID))

    assert b"".join(out).endswith(LAYER)


def test_no_piece_is_empty() -> None:
    assert all(loadable(CONFIG, "a:1", [b"", LAYER, b""], len(LAYER), DIFF_ID))


def test_a_layer_above_8_gib_has_its_size_in_the_header() -> None:
    size_bytes = (9 << 30) + 3
    head = next(islice(loadable(CONFIG, None, [], size_bytes, DIFF_ID), 1))
    sizes: list[int] = []

    class Sizes:
        def member(self, member: Member) -> Sink | None:
            sizes.append(member.size_bytes)
            return None

        def end(self) -> None: ...

    TarWalk(Sizes()).feed(head)

    assert size_bytes == sizes[-1]
    with tarfile.open(fileobj=io.BytesIO(head)) as tar:
        assert size_bytes == next(member for member in tar if "layer.tar" in member.name).size
