"""Archives that somebody else wrote: whole or said to be broken, and never too much for memory."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
from collections.abc import Callable, Iterable, Iterator

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from backupd.codec import LARGEST_PIECE_BYTES, decompressed, sniffed
from backupd.engine_words import engine_words
from backupd.errors import ArchiveBroken, DamagedBackup, UsageError
from backupd.image_tar import ImageCheck, renamed, retagged
from backupd.tar import LARGEST_EXTENSION_BYTES, TarWalk
from backupd.tar_header import BLOCK_BYTES, END_OF_TAR, with_checksum
from backupd.tar_move import moved
from tests.unit import image_tars
from tests.unit.fuzzing import fuzzed, spoiled
from tests.unit.image_tars import ImageTar

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "zstd": lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data),
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "none": bytes,
}
IMAGES: tuple[Callable[[], ImageTar], ...] = (
    image_tars.engine_20,
    image_tars.engine_20_sharing_a_layer,
    image_tars.podman,
    image_tars.oci_layout,
    image_tars.containerd,
)
DOCUMENTS = ("manifest.json", "index.json", "repositories")


def volume_tar(form: int) -> bytes:
    """As an engine gives the files of a volume: directories, files, links, long names."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, kind, target in (
            ("./", tarfile.DIRTYPE, ""),
            ("./file", tarfile.REGTYPE, ""),
            ("./" + "long" * 60, tarfile.REGTYPE, ""),
            ("./link", tarfile.SYMTYPE, "../elsewhere"),
            ("./hard", tarfile.LNKTYPE, "./file"),
            ("./\u00e9\u202e\x1b[31m", tarfile.REGTYPE, ""),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.uid = kind, target, 2_100_000_000
            content = b"content" * 100 if kind == tarfile.REGTYPE else b""
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


VOLUMES = tuple(volume_tar(form) for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT))
IMAGE_TARS = tuple(make().build() for make in IMAGES)


class Stored:
    """Bytes that a failing test does not print: they can be had again."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __repr__(self) -> str:
        return f"<{len(self.data)} bytes>"


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> Stored:
    """`whole` with bytes changed, cut out, doubled, or with headers changed and summed up anew."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        if not data:
            break
        place = draw(st.integers(0, len(data) - 1))
        length = draw(st.sampled_from([1, 1, 2, 12, 100, BLOCK_BYTES, 3 * BLOCK_BYTES]))
        action = draw(st.sampled_from(["change", "cut", "double", "end", "field", "field"]))
        if action == "change":
            data[place : place + length] = draw(st.binary(min_size=1, max_size=length))
        elif action == "cut":
            del data[place : place + length]
        elif action == "double":
            data[place:place] = data[place : place + length]
        elif action == "end":
            del data[place:]
        else:
            _spoil_field(draw, data, place - place % BLOCK_BYTES)
    return Stored(bytes(data))


def possibly_damaged(whole: bytes) -> st.SearchStrategy[Stored]:
    return st.one_of(st.just(Stored(whole)), damaged(whole))


_FIELDS = ((0, 100), (100, 8), (124, 12), (136, 12), (156, 1), (157, 100), (257, 8), (345, 155),
           (482, 1))  # fmt: skip


def _spoil_field(draw: st.DrawFn, data: bytearray, block: int) -> None:
    """Change a header's field as somebody would who knows how to make a header's checksum."""
    start, length = draw(st.sampled_from(_FIELDS))
    value = draw(
        st.sampled_from(
            [
                *(b"./../../etc/passwd\0", b"/etc/passwd\0", b"manifest.json\0", b"\0"),
                *(b"77777777777\0", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"-1\0", b"9999\0"),
                *(b"x", b"g", b"L", b"K", b"S", b"1", b"2", b"3", b"5", b"7", b"\x80", b"ustar  "),
            ]
        )
    )[:length]
    if block + BLOCK_BYTES <= len(data):
        data[block + start : block + start + len(value)] = value
        data[block : block + BLOCK_BYTES] = with_checksum(data[block : block + BLOCK_BYTES])


def pieces_of(data: bytes, size_bytes: int) -> Iterator[bytes]:
    for start in range(0, len(data), size_bytes):
        yield data[start : start + size_bytes]


def drained(chunks: Iterable[bytes]) -> int:
    """How many bytes come, none of the pieces empty or too large."""
    total = 0
    for chunk in chunks:
        assert 0 < len(chunk) <= LARGEST_PIECE_BYTES
        total += len(chunk)
    return total


sizes = st.sampled_from([1, 7, 511, 512, 513, 4096, 1 << 20])


@pytest.mark.parametrize("method", sorted(PACKERS))
@fuzzed(100)
@given(data=st.data())
def test_compressed_bytes_come_back_or_are_said_to_be_damaged(
    method: str, data: st.DataObject
) -> None:
    stored = data.draw(damaged(PACKERS[method](VOLUMES[0]))).data

    try:
        drained(decompressed(pieces_of(stored, data.draw(sizes)), method))
    except DamagedBackup as error:
        words = str(error)
    else:
        words = ""

    assert len(words) < 300


@fuzzed(200)
@given(st.binary(max_size=600), st.sampled_from([b"", b"\x28\xb5\x2f\xfd", b"\x1f\x8b\x08", b"BZh9",
       b"\xfd7zXZ\0", b"\x50\x2a\x4d\x18"]), sizes)  # fmt: skip
def test_garbage_is_never_taken_for_an_archive(data: bytes, magic: bytes, size_bytes: int) -> None:
    with pytest.raises(DamagedBackup):
        drained(sniffed(pieces_of(magic + data, size_bytes))[1])


@fuzzed(300)
@given(st.sampled_from([*VOLUMES, *IMAGE_TARS]).flatmap(damaged), sizes)
def test_a_tar_is_whole_or_said_to_be_broken(tar: Stored, size_bytes: int) -> None:
    walk = TarWalk()

    try:
        for piece in pieces_of(tar.data, size_bytes):
            walk.feed(piece)
        walk.finish()
    except ArchiveBroken as error:
        words = str(error)
    else:
        words = "none"

    assert words


@fuzzed(300)
@given(st.sampled_from(VOLUMES).flatmap(damaged), sizes)
def test_a_volumes_tar_stays_within_its_folder_or_is_said_to_be_damaged(
    tar: Stored, size_bytes: int
) -> None:
    try:
        result = b"".join(moved(pieces_of(tar.data, size_bytes), b"v", "backup x"))
    except DamagedBackup:
        return

    assert len(result) <= len(tar.data)
    try:
        with tarfile.open(fileobj=io.BytesIO(_without_gnu_times(result)), mode="r:") as read:
            names = [(one.name, one.linkname if one.islnk() else "v") for one in read]
    except (tarfile.TarError, OSError, ValueError, OverflowError, RecursionError):
        return  # cut, or what only tarfile refuses
    for name in [name for pair in names for name in pair]:
        assert "v" == name.split("/")[0]
        assert ".." not in name.split("/")


def _without_gnu_times(tar: bytes) -> bytes:
    """The same for `tarfile`, which takes GNU's times for a part of the name; engines do not."""
    data = bytearray(tar)
    for block in range(0, len(data), BLOCK_BYTES):
        if data[block + 257 : block + 265] == b"ustar  \0":
            data[block + 345 : block + 369] = bytes(24)
            data[block : block + BLOCK_BYTES] = with_checksum(data[block : block + BLOCK_BYTES])
    return bytes(data)


@fuzzed(150)
@given(st.data(), st.sampled_from(IMAGES), sizes)
def test_an_image_is_the_one_asked_for_or_said_to_be_broken(
    data: st.DataObject, make: Callable[[], ImageTar], size_bytes: int
) -> None:
    image = make()
    _spoil_documents(data, image)
    tar = data.draw(possibly_damaged(image.build())).data
    check = ImageCheck(make().expected)

    try:
        for piece in pieces_of(tar, size_bytes):
            check.feed(piece)
        check.finish()
    except ArchiveBroken:
        return

    assert len(check.config_digests) == len(image.expected)


@fuzzed(150)
@given(st.data(), st.sampled_from(IMAGES), sizes, st.booleans())
def test_an_image_gets_another_tag_or_is_said_to_be_damaged(
    data: st.DataObject, make: Callable[[], ImageTar], size_bytes: int, by_rule: bool
) -> None:
    image = make()
    _spoil_documents(data, image)
    tar = data.draw(possibly_damaged(image.build())).data
    chunks = pieces_of(tar, size_bytes)

    try:
        result = b"".join(
            renamed(chunks, lambda tag: f"x/{tag}"[:40])
            if by_rule
            else retagged(chunks, ["other:2"])
        )
    except (DamagedBackup, UsageError):
        return

    assert result.endswith(END_OF_TAR)


def _spoil_documents(data: st.DataObject, image: ImageTar) -> None:
    for name in DOCUMENTS:
        if name in image.files and data.draw(st.booleans()):
            document = data.draw(spoiled(image.document(name)))
            image.files[name] = json.dumps(document).encode()


_WORDS = (
    *(b'{"error":', b'{"errorDetail":{"message":', b"[" * 3000, b'"\x1b[31m', b"}", b'"x"', b"\0"),
    *(b"\xff", b"}}"),
)


@fuzzed(200)
@given(st.lists(st.sampled_from(_WORDS), max_size=8))
def test_an_engines_last_words_are_one_printable_line(parts: list[bytes]) -> None:
    words = engine_words(b"".join(parts))

    assert words is None or (words.isprintable() and len(words) <= 300)


def _endless(header: tarfile.TarInfo, served: list[int]) -> Iterator[bytes]:
    """A header that claims far more than anybody needs, and content as long as it is asked for."""
    block = header.tobuf(tarfile.GNU_FORMAT)
    yield block
    while served[0] < 1 << 30:
        served[0] += 1 << 20
        yield bytes(1 << 20)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.parametrize("user", ["walk", "move", "retag"])
def test_an_extended_header_without_end_is_refused_before_it_fills_the_memory(
    kind: bytes, user: str
) -> None:
    header = tarfile.TarInfo("long")
    header.type, header.size = kind, 1 << 40
    served = [0]

    with pytest.raises((ArchiveBroken, DamagedBackup), match="more than 1 MiB"):
        _use(_endless(header, served), user)

    assert served[0] <= 4 << 20


@pytest.mark.parametrize("user", ["walk", "move", "retag"])
def test_extended_headers_without_a_member_are_refused_before_they_fill_the_memory(
    user: str,
) -> None:
    served = [0]

    def headers() -> Iterator[bytes]:
        header = tarfile.TarInfo("long")
        header.type, header.size = tarfile.GNUTYPE_LONGNAME, LARGEST_EXTENSION_BYTES
        while served[0] < 64 << 20:
            served[0] += LARGEST_EXTENSION_BYTES
            yield header.tobuf(tarfile.GNU_FORMAT) + b"./" + b"a" * (LARGEST_EXTENSION_BYTES - 2)

    with pytest.raises((ArchiveBroken, DamagedBackup), match="too many extended headers"):
        _use(headers(), user)

    assert served[0] <= 20 << 20


def _use(chunks: Iterator[bytes], user: str) -> None:
    if user == "move":
        for _ in moved(chunks, b"v", "backup x"):
            pass
    elif user == "retag":
        for _ in retagged(chunks, ["other:2"]):
            pass
    else:
        walk = TarWalk()
        for chunk in chunks:
            walk.feed(chunk)
        walk.finish()
