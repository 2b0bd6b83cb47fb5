"""The tar walk: what it tells of a whole tar, and that it takes nothing else for one."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backupd.errors import ArchiveBroken
from backupd.tar import Member, Sink, TarWalk
from backupd.tar_header import END_OF_TAR, member_header

FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
CUT_FREELY = st.lists(st.integers(1, 2000), min_size=1, max_size=40)


class Seen:
    """A visitor that keeps everything it is told."""

    def __init__(self) -> None:
        self.members: list[Member] = []
        self.contents: list[bytes] = []
        self._content = b""

    def member(self, member: Member) -> Sink | None:
        self.members.append(member)
        self._content = b""
        return self._take

    def end(self) -> None:
        self.contents.append(self._content)

    def _take(self, piece: memoryview) -> None:
        self._content += piece


def walk(chunks: Iterable[bytes]) -> Seen:
    seen = Seen()
    tar = TarWalk(seen)
    for chunk in chunks:
        tar.feed(chunk)
    tar.finish()
    assert tar.members == len(seen.members)
    return seen


def refused(*chunks: bytes) -> str:
    with pytest.raises(ArchiveBroken) as error:
        walk(chunks)
    return str(error.value)


def mixed_tar(tar_format: int) -> bytes:
    """One of everything: long names, names that are no UTF-8, links, a directory, a pipe."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tar_format) as tar:
        for number, name in enumerate(
            ("plain", "d" * 80 + "/" + "n" * 90, "umlaut-ä", "bytes-\udcff", "five-hundred-12")
        ):
            info = tarfile.TarInfo(name)
            info.size = 512 if name.startswith("five") else number * 300
            tar.addfile(info, io.BytesIO(bytes([65 + number]) * info.size))
        for name, kind, target in (
            ("folder", tarfile.DIRTYPE, ""),
            ("symlink", tarfile.SYMTYPE, "t" * 99),
            ("hard", tarfile.LNKTYPE, "plain"),
            ("pipe", tarfile.FIFOTYPE, ""),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info)
    return out.getvalue()


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """`data` in chunks of these sizes, over and over."""
    chunks: list[bytes] = []
    position = 0
    while position < len(data):
        size = sizes[len(chunks) % len(sizes)]
        chunks.append(data[position : position + size])
        position += size
    return chunks


def with_checksum(block: bytes) -> bytes:
    """A header block whose checksum is put right."""
    blank = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(blank) + block[156:]


@pytest.mark.parametrize("tar_format", FORMATS)
def test_the_walk_tells_the_names_and_contents_that_tarfile_reads(tar_format: int) -> None:
    data = mixed_tar(tar_format)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        theirs = [
            (
                info.name,
                info.linkname,
                tar.extractfile(info).read() if info.isreg() else b"",  # type: ignore[union-attr]
            )
            for info in tar
        ]

    seen = walk([data])

    ours = zip(seen.members, seen.contents, strict=True)
    assert theirs == [(m.name.rstrip("/"), m.link_target, content) for m, content in ours]


@given(tar_format=st.sampled_from(FORMATS), sizes=CUT_FREELY)
def test_where_chunks_are_cut_makes_no_difference(tar_format: int, sizes: list[int]) -> None:
    data = mixed_tar(tar_format)
    whole = walk([data])

    seen = walk(cut(data, sizes))

    assert (whole.members, whole.contents) == (seen.members, seen.contents)


@pytest.mark.parametrize("tar_format", FORMATS)
def test_a_tar_cut_anywhere_before_its_end_is_refused(tar_format: int) -> None:
    data = mixed_tar(tar_format)
    end = len(data.rstrip(b"\0"))
    end += -end % 512 + 1024

    for length in range(end):
        assert refused(data[:length])
    walk([data[:end]])


def test_a_cut_at_a_member_boundary_is_refused_where_tarfile_sees_an_end() -> None:
    data = mixed_tar(tarfile.GNU_FORMAT)[:512]
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == ["plain"]

    assert refused(data) == (
        "the tar stops after 1 members, the last of them 'plain', without the two zero blocks that "
        "end a tar"
    )


def test_a_cut_inside_a_file_names_the_file() -> None:
    data = member_header("var/log/big", 5000) + b"x" * 4000

    assert (
        refused(data) == "the tar is cut inside the content of 'var/log/big', 1000 bytes too early"
    )


def test_an_empty_stream_is_no_tar() -> None:
    assert "without the two zero blocks" in refused()


def test_an_empty_tar_is_whole() -> None:
    assert walk([END_OF_TAR]).members == []


def test_one_zero_block_is_no_end() -> None:
    data = member_header("a", 0) + bytes(512)

    assert "without the two zero blocks" in refused(data)
    assert "data behind an end" in refused(data + member_header("b", 0) + END_OF_TAR)


def test_zeros_after_the_end_are_padding_and_anything_else_is_refused() -> None:
    walk([END_OF_TAR + bytes(9001)])

    assert "goes on after its end" in refused(END_OF_TAR + bytes(9001) + b"x")
    assert "goes on after its end" in refused(END_OF_TAR, bytes(600), bytes(600) + b"x")


def test_zero_blocks_off_the_block_boundary_are_no_end() -> None:
    assert refused(member_header("a", 0) + b"x" + END_OF_TAR + bytes(511))


def test_a_header_with_a_wrong_checksum_is_refused() -> None:
    header = bytearray(member_header("a", 0))
    header[0] ^= 1

    assert "has no header where one belongs, after 0 members" in refused(bytes(header) + END_OF_TAR)


def test_a_checksum_over_signed_bytes_is_taken_as_old_tars_wrote_it() -> None:
    header = bytearray(member_header("caf\udce9", 0))
    signed = sum(header[:148]) + 256 + sum(header[156:]) - 256
    header[148:156] = b"%06o\0 " % signed

    assert [m.name for m in walk([bytes(header) + END_OF_TAR]).members] == ["caf\udce9"]


ERROR = (
    b'{"errorDetail":{"message":"read\\nfailed"},"error":"file integrity\\n\\u001b[31m failed"}\n'
)


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(member_header("a", 0), id="at a member boundary"),
        pytest.param(member_header("a", 9000) + b"x" * 777, id="inside a file"),
        pytest.param(member_header("a", 0) + END_OF_TAR, id="after the end"),
        pytest.param(member_header("a", 0) + END_OF_TAR + bytes(20_000), id="after the padding"),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_the_error_that_an_engine_wrote_into_the_tar_is_quoted(before: bytes, size: int) -> None:
    message = refused(*cut(before + ERROR, [size]))

    assert message.endswith("; the engine says: file integrity [31m failed")


def test_a_long_error_is_waited_for_and_quoted_in_part() -> None:
    error = b'{"message":"' + b"very " * 500 + b'long"}'

    message = refused(*cut(member_header("a", 0) + error, [600]))

    assert message.endswith("the engine says: " + ("very " * 60))


def test_json_of_a_backed_up_file_is_not_taken_for_the_engines_words() -> None:
    secret = b'{"message": "my password is 1234"}, and the file goes on'

    assert "1234" not in refused(member_header("chat.json", 9000) + secret)


def test_a_fault_is_raised_while_the_stream_still_runs() -> None:
    tar = TarWalk()
    tar.feed(b"garbage!" * 1000)

    with pytest.raises(ArchiveBroken, match="no header"):
        tar.feed(b"garbage!" * 1000)


def test_sizes_above_8_gib_are_read_in_base_256_and_from_pax() -> None:
    size_bytes = 9 << 30
    info = tarfile.TarInfo("big")
    info.size = size_bytes
    for tar_format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        seen = Seen()
        tar = TarWalk(seen)
        tar.feed(info.tobuf(tar_format))
        block = bytes(1 << 20)
        for _ in range(size_bytes >> 20):
            seen._content = b""
            tar.feed(block)
        tar.feed(END_OF_TAR)
        tar.finish()

        assert [("big", size_bytes)] == [(m.name, m.size_bytes) for m in seen.members]


def test_a_hard_link_or_directory_with_a_size_has_no_content() -> None:
    for kind in (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE):
        data = member_header("a", 700, kind=kind) + member_header("b", 0) + END_OF_TAR

        assert [0, 0] == [member.size_bytes for member in walk([data]).members]


def test_a_header_from_before_posix_is_read() -> None:
    header = bytearray(member_header("old/", 0))
    header[156:157] = b"\0"
    header[257:265] = bytes(8)

    (member,) = walk([with_checksum(bytes(header)) + END_OF_TAR]).members

    assert ("old/", "5") == (member.name, member.kind)


def test_an_old_gnu_sparse_file_with_a_long_map_is_passed_over() -> None:
    header = bytearray(member_header("holes", 1000, kind=b"S"))
    header[482] = 1
    maps = bytes(504) + b"\1" + bytes(7) + bytes(512)
    content = b"x" * 1000 + bytes(24)
    data = with_checksum(bytes(header)) + maps + content + member_header("next", 0) + END_OF_TAR

    seen = walk(cut(data, [100]))

    assert ["holes", "next"] == [m.name for m in seen.members]
    assert b"x" * 1000 == seen.contents[0]


def test_an_extended_header_that_would_fill_memory_is_refused() -> None:
    for kind in (b"x", b"g", b"L", b"K"):
        assert "more than 1 MiB" in refused(member_header("big", (1 << 20) + 1, kind=kind))


def test_an_extended_header_without_its_member_is_refused() -> None:
    data = member_header("x", 12, kind=b"x") + b"12 path=abc\n" + bytes(500)

    assert "an extended header of no member" in refused(data + END_OF_TAR)
    assert "in the middle of a block" in refused(data)


@pytest.mark.parametrize("records", [b"99 path=a\n", b"nonsense", b"11 size=-5\n", b"7 path\n"])
def test_a_malformed_extended_header_is_refused(records: bytes) -> None:
    padding = bytes(-len(records) % 512)
    data = member_header("x", len(records), kind=b"x") + records + padding

    assert "malformed" in refused(data + member_header("a", 0) + END_OF_TAR)


def test_a_global_header_is_no_member() -> None:
    data = member_header("g", 12, kind=b"g") + b"12 path=abc\n" + bytes(500)

    assert ["a"] == [m.name for m in walk([data + member_header("a", 0) + END_OF_TAR]).members]


def test_content_is_handed_on_without_being_copied() -> None:
    chunk = member_header("a", 512) + b"x" * 512 + END_OF_TAR
    owners: list[object] = []

    class Owners(Seen):
        def member(self, member: Member) -> Sink | None:
            return lambda piece: owners.append(piece.obj)

    tar = TarWalk(Owners())
    tar.feed(chunk)

    assert owners[0] is chunk


def test_a_failing_sink_stops_the_walk() -> None:
    class Full(Seen):
        def member(self, member: Member) -> Sink | None:
            def sink(piece: memoryview) -> None:
                raise OSError("disk full")

            return sink

    with pytest.raises(OSError, match="disk full"):
        TarWalk(Full()).feed(member_header("a", 1) + b"x")
