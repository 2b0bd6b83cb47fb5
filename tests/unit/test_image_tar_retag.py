"""Archives under other tags: the same bytes but for the documents that hold the tags."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backupd.errors import ArchiveBroken, DamagedBackup, UsageError
from backupd.image_tar import ImageCheck, renamed, retagged
from backupd.tar import TarWalk
from tests.unit import image_tars
from tests.unit.image_tars import ImageTar, files_of

FORMATS: list[Callable[[], ImageTar]] = [
    image_tars.engine_20,
    image_tars.engine_20_sharing_a_layer,
    image_tars.podman,
    image_tars.oci_layout,
    lambda: image_tars.containerd(is_index=True),
]
every_format = pytest.mark.parametrize("make", FORMATS)
DOCUMENTS = {"manifest.json", "index.json", "repositories"}


def in_chunks(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def retag(tar: ImageTar, references: Sequence[str], size: int = 700) -> bytes:
    return b"".join(retagged(in_chunks(tar.build(), size), references))


@every_format
@pytest.mark.parametrize("references", [["new:2"], ["a:1", "a:2", "reg.example:5000/x/b:3"], []])
def test_a_retagged_archive_passes_the_check_under_its_new_tags(
    make: Callable[[], ImageTar], references: Sequence[str]
) -> None:
    tar = make()
    check = ImageCheck([replace(tar.expected[0], references=tuple(references))])

    check.feed(retag(tar, references))
    check.finish()

    assert 1 == len(check.config_digests)


@every_format
def test_everything_but_the_documents_goes_through_byte_for_byte(
    make: Callable[[], ImageTar],
) -> None:
    tar = make()
    before, after = files_of(tar.build()), files_of(retag(tar, ["new:2"]))

    assert before.keys() == after.keys()
    for name in before.keys() - DOCUMENTS:
        assert before[name] == after[name]
    with tarfile.open(fileobj=io.BytesIO(retag(tar, ["new:2"]))) as result:
        assert tar.links == {m.name: m.linkname for m in result if m.issym()}


@given(sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=30))
def test_where_chunks_are_cut_makes_no_difference(sizes: list[int]) -> None:
    data = image_tars.oci_layout().build()
    chunks: list[bytes] = []
    position = 0
    while position < len(data):
        chunks.append(data[position : position + sizes[len(chunks) % len(sizes)]])
        position += len(chunks[-1])

    assert b"".join(retagged([data], ["new:2"])) == b"".join(retagged(chunks, ["new:2"]))


@every_format
@pytest.mark.parametrize("size", [1, 700])
def test_no_piece_is_empty(make: Callable[[], ImageTar], size: int) -> None:
    # In a chunked request an empty piece is the end of the body.
    assert all(retagged(in_chunks(make().build(), size), ["new:2"]))


def test_the_manifest_holds_just_the_new_tags_as_docker_spells_them() -> None:
    files = files_of(retag(image_tars.engine_20(), ["docker.io/library/new:2", "other"]))

    (entry,) = json.loads(files["manifest.json"])
    assert ["new:2", "other:latest"] == entry["RepoTags"]


def test_the_legacy_document_keeps_the_id_of_the_top_layer() -> None:
    files = files_of(retag(image_tars.engine_20(), ["reg:5000/new:2", "reg:5000/new:3", "x:1"]))

    top = f"{1:064x}"
    expected = {"reg:5000/new": {"2": top, "3": top}, "x": {"1": top}}
    assert expected == json.loads(files["repositories"])


def test_the_index_has_a_descriptor_for_each_tag() -> None:
    tar = image_tars.oci_layout()
    before = json.loads(tar.files["index.json"])["manifests"][0]
    files = files_of(retag(tar, ["new:2", "team/new:3", "reg.example/a:4"]))

    after = json.loads(files["index.json"])["manifests"]

    assert {before["digest"]} == {entry["digest"] for entry in after}
    assert [
        ("docker.io/library/new:2", "2"),
        ("docker.io/team/new:3", "3"),
        ("reg.example/a:4", "4"),
    ] == [
        (
            entry["annotations"]["io.containerd.image.name"],
            entry["annotations"]["org.opencontainers.image.ref.name"],
        )
        for entry in after
    ]


def test_without_tags_the_index_names_nothing() -> None:
    files = files_of(retag(image_tars.oci_layout(), []))

    (entry,) = json.loads(files["index.json"])["manifests"]
    assert {} == entry["annotations"]
    assert json.loads(files["manifest.json"])[0]["RepoTags"] is None


def test_several_tags_before_become_one_after() -> None:
    files = files_of(retag(image_tars.oci_layout(tags=["a:1", "b:2"]), ["new:2"]))

    assert 1 == len(json.loads(files["index.json"])["manifests"])


def test_an_archive_of_several_images_is_refused_before_its_end() -> None:
    tar = image_tars.engine_20()
    (entry,) = json.loads(tar.files["manifest.json"])
    tar.rewrite("manifest.json", [entry, entry])
    out: list[bytes] = []

    with pytest.raises(UsageError, match="it holds 2 images, not one"):
        out.extend(retagged([tar.build()], ["new:2"]))

    assert "manifest.json" not in files_of(b"".join(out) + bytes(1024))


@pytest.mark.parametrize("document", [b"null", b"[1]", b"{", b"{}"])
def test_a_manifest_that_no_engine_writes_is_refused(document: bytes) -> None:
    tar = image_tars.engine_20()
    tar.files["manifest.json"] = document

    with pytest.raises(DamagedBackup, match=r"manifest\.json"):
        retag(tar, ["new:2"])


def test_a_cut_archive_never_gets_an_end() -> None:
    data = image_tars.oci_layout().build()
    whole = len(data.rstrip(b"\0"))
    for length in range(0, whole, 256):
        out: list[bytes] = []
        with pytest.raises(DamagedBackup):
            out.extend(retagged([data[:length]], ["new:2"]))

        walk = TarWalk()
        walk.feed(b"".join(out))
        with pytest.raises(ArchiveBroken):
            walk.finish()


@every_format
def test_names_are_changed_one_by_one_and_none_stays_that_has_no_other(
    make: Callable[[], ImageTar],
) -> None:
    tar, asked = make(), []

    def rename(name: str) -> str | None:
        asked.append(name)
        return "scratch/x:1" if len(set(asked)) == 1 else None

    data = b"".join(renamed(in_chunks(tar.build(), 700), rename))
    check = ImageCheck([replace(tar.expected[0], references=("scratch/x:1",))])
    check.feed(data)
    check.finish()
    documents = [files_of(data).get(name, b"") for name in sorted(DOCUMENTS)]

    assert asked
    assert not [name for name in set(asked) if any(name.encode() in text for text in documents)]
