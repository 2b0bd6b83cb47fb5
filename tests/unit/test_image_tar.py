"""The check of a save: every engine's format passes, and whatever is wrong with one is named."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from backupd.errors import ArchiveBroken
from backupd.image_tar import ExpectedImage, ImageCheck
from tests.unit import image_tars
from tests.unit.image_tars import LAYERS, ImageTar, config_of, expected_of, layer, sha256

Make = Callable[[], ImageTar]
FORMATS: list[Make] = [
    image_tars.engine_20,
    image_tars.engine_20_sharing_a_layer,
    image_tars.podman,
    image_tars.oci_layout,
    image_tars.containerd,
    lambda: image_tars.containerd(is_index=True),
]
NAMES = ["20.10", "20.10 sharing", "podman", "oci", "containerd", "containerd index"]
every_format = pytest.mark.parametrize("make", FORMATS, ids=NAMES)


def check(data: bytes, expected: Sequence[ExpectedImage], size: int = 1000) -> ImageCheck:
    """The check after the whole tar; raises what it raises."""
    following = ImageCheck(expected)
    for start in range(0, len(data), size):
        following.feed(data[start : start + size])
    following.finish()
    return following


def refused(tar: ImageTar, expected: Sequence[ExpectedImage] | None = None) -> str:
    with pytest.raises(ArchiveBroken) as error:
        check(tar.build(), tar.expected if expected is None else expected)
    return str(error.value)


def config_name(tar: ImageTar) -> str:
    return str(manifest_of(tar)[0]["Config"])


def manifest_of(tar: ImageTar) -> list[dict[str, Any]]:
    document: list[dict[str, Any]] = json.loads(tar.files["manifest.json"])
    return document


@every_format
def test_an_image_as_each_engine_saves_it_passes(make: Make) -> None:
    tar = make()

    passed = check(tar.build(), tar.expected)

    assert (f"sha256:{sha256(tar.files[config_name(tar)])}",) == passed.config_digests


@every_format
def test_an_image_whose_tar_is_cut_at_any_block_is_refused(make: Make) -> None:
    tar = make()
    data = tar.build()
    whole = len(data.rstrip(b"\0"))

    for length in range(0, whole, 512):
        with pytest.raises(ArchiveBroken):
            check(data[:length], tar.expected)


@every_format
def test_a_missing_layer_is_named(make: Make) -> None:
    tar = make()
    name = manifest_of(tar)[0]["Layers"][1]
    del tar.files[name]

    assert f"the image archive lacks the layer {name}" == refused(tar)


@every_format
def test_a_damaged_layer_is_named(make: Make) -> None:
    tar = make()
    name = manifest_of(tar)[0]["Layers"][1]
    tar.files[name] = tar.files[name].replace(b"app", b"apq", 1)

    assert name in refused(tar)
    assert "damaged" in refused(tar)


@every_format
def test_a_missing_config_is_named(make: Make) -> None:
    tar = make()
    name = config_name(tar)
    del tar.files[name]

    assert f"the image archive lacks {name}" == refused(tar)


@every_format
def test_a_damaged_config_is_refused(make: Make) -> None:
    tar = make()
    tar.files[config_name(tar)] += b" "

    assert "does not match its name" in refused(tar)


@every_format
def test_a_missing_manifest_is_refused(make: Make) -> None:
    tar = make()
    del tar.files["manifest.json"]

    assert "the image archive lacks manifest.json" == refused(tar)


@pytest.mark.parametrize("nothing", [None, [], {}])
def test_a_manifest_of_nothing_is_refused(nothing: object) -> None:
    # Engines answer a save without names with HTTP 200 and `null`.
    tar = image_tars.engine_20()
    tar.rewrite("manifest.json", nothing)

    assert "the engine saved nothing" in refused(tar)


@pytest.mark.parametrize("document", [[1], [{}], [{"Config": 3}], [{"Config": "x.json"}], ["a"]])
def test_a_manifest_that_names_no_config_is_refused(document: object) -> None:
    tar = image_tars.engine_20()
    tar.rewrite("manifest.json", document)

    assert "names no config" in refused(tar)


def test_a_manifest_that_is_no_json_is_refused() -> None:
    tar = image_tars.engine_20()
    tar.files["manifest.json"] = b"[{"

    assert "manifest.json that is no JSON" in refused(tar)


def test_another_image_under_the_same_tag_is_refused() -> None:
    tar = image_tars.engine_20()
    other = expected_of(config_of(LAYERS, author="someone"), ["app:1"])

    assert "has its tag moved meanwhile?" in refused(tar, [other])


def test_an_image_that_was_not_asked_for_is_refused() -> None:
    tar = image_tars.engine_20()
    one, two = image_tars.engine_20(), image_tars.engine_20(["db:2"], [LAYERS[1]])
    tar.files = {f"two-{n}" if n.endswith("layer.tar") else n: d for n, d in two.files.items()}
    entry = manifest_of(two)[0]
    entry["Layers"] = [f"two-{name}" for name in entry["Layers"]]
    tar.files |= one.files
    tar.rewrite("manifest.json", [*manifest_of(one), entry])

    check(tar.build(), [*two.expected, *one.expected])
    assert "which was not asked for" in refused(tar, one.expected)
    assert "does not hold the image" in refused(image_tars.engine_20(), two.expected)


def test_two_references_to_one_image_are_one_image_with_two_tags() -> None:
    tar = image_tars.engine_20(["app:1", "app:2"])
    (image,) = tar.expected
    pair = [replace(image, references=(tag,)) for tag in ("app:1", "app:2")]

    assert 2 == len(check(tar.build(), pair).config_digests)


def test_other_layers_than_inspect_told_are_refused() -> None:
    tar = image_tars.engine_20()
    (image,) = tar.expected

    assert "other layers" in refused(tar, [replace(image, diff_ids=image.diff_ids[:1])])


def test_a_layer_left_out_of_the_manifest_is_refused() -> None:
    tar = image_tars.engine_20()
    entry = manifest_of(tar)[0]
    entry["Layers"].pop()
    tar.rewrite("manifest.json", [entry])

    assert "names 1 layers" in refused(tar)


@pytest.mark.parametrize(
    "tag", ["app:1", "docker.io/library/app:1", "localhost/app:1", "library/app:1"]
)
@pytest.mark.parametrize("reference", ["app:1", "docker.io/library/app:1", "localhost/app:1"])
def test_all_spellings_of_a_tag_are_one(tag: str, reference: str) -> None:
    tar = image_tars.podman(tags=[tag])
    (image,) = tar.expected

    check(tar.build(), [replace(image, references=(reference,))])


@pytest.mark.parametrize("tags", [(), ("app:2",), ("other/app:1",)])
def test_a_tag_that_is_not_in_the_archive_is_refused(tags: Sequence[str]) -> None:
    tar = image_tars.engine_20(tags)
    (image,) = tar.expected

    assert "does not name its image 'app:1'" in refused(
        tar, [replace(image, references=("app:1",))]
    )


def test_a_repository_without_a_tag_asked_for_any_of_its_tags() -> None:
    tar = image_tars.engine_20(["app:2"])
    (image,) = tar.expected

    check(tar.build(), [replace(image, references=("app",))])


def test_ids_and_digests_need_no_tag() -> None:
    tar = image_tars.engine_20(())
    (image,) = tar.expected
    references = (image.image_id, image.image_id[7:], f"app@sha256:{'a' * 64}")

    check(tar.build(), [replace(image, references=references)])


def test_a_compressed_layer_of_an_oci_layout_is_held_to_its_own_digest() -> None:
    packed = [gzip.compress(data, mtime=0) for data in LAYERS]
    tar = image_tars.oci_layout(blobs_of_layers=packed)
    check(tar.build(), tar.expected)

    tar.files[f"blobs/sha256/{sha256(packed[0])}"] = packed[0][:-1] + b"!"

    assert f"the content of blobs/sha256/{sha256(packed[0])}" in refused(tar)


def test_a_damaged_blob_that_no_image_uses_is_refused() -> None:
    tar = image_tars.oci_layout()
    tar.files[f"blobs/sha256/{'0' * 64}"] = b"attestation"

    assert "damaged blob" in refused(tar)


def test_an_index_that_leads_nowhere_is_refused() -> None:
    # The containerd image store loads by index.json, whatever manifest.json says.
    indexes: list[object] = [{"manifests": []}, {"manifests": [{"digest": "sha256:0"}]}, {}]
    for index in indexes:
        tar = image_tars.oci_layout()
        tar.rewrite("index.json", index)

        assert "index.json" in refused(tar)


def test_an_oci_layout_without_its_index_is_refused() -> None:
    tar = image_tars.oci_layout()
    del tar.files["index.json"]

    assert "lacks index.json" in refused(tar)


def test_an_image_without_layers_passes() -> None:
    config = config_of([])
    tar = ImageTar({f"{sha256(config)}.json": config}, [expected_of(config, [])])
    tar.rewrite("manifest.json", [{"Config": f"{sha256(config)}.json", "Layers": None}])

    check(tar.build(), tar.expected)


def test_links_in_a_circle_are_a_missing_layer() -> None:
    tar = image_tars.engine_20_sharing_a_layer()
    first, third = f"{0:064x}/layer.tar", f"{2:064x}/layer.tar"
    del tar.files[first]
    tar.links[first] = f"../{2:064x}/layer.tar"

    assert tar.links[third] == f"../{0:064x}/layer.tar"
    assert "lacks the layer" in refused(tar)


def test_layers_that_begin_like_json_do_not_crowd_out_the_config() -> None:
    # As large as what may be kept of documents, to the byte.
    layers = [layer("{{template}}", b"%d" % n).ljust(16 << 20, b"\0") for n in range(2)]
    tar = image_tars.oci_layout(layers=layers, blobs_of_layers=layers)
    names = sorted(tar.files, key=lambda name: len(tar.files[name]), reverse=True)
    tar.files = {name: tar.files[name] for name in names}

    check(tar.build(), tar.expected, 1 << 20)


def test_a_document_that_would_fill_memory_is_refused() -> None:
    tar = image_tars.engine_20()
    tar.files["manifest.json"] = b" " * (17 << 20) + tar.files["manifest.json"]

    with pytest.raises(ArchiveBroken, match="far too large"):
        check(tar.build(), tar.expected, 1 << 20)


def test_an_error_of_the_engine_inside_the_tar_is_quoted() -> None:
    tar = image_tars.containerd()
    half = tar.build()[:3000]
    error = b'{"errorDetail":{"message":"unexpected digest"},"error":"unexpected digest"}\n'

    with pytest.raises(ArchiveBroken, match="the engine says: unexpected digest"):
        check(half + error, tar.expected)
