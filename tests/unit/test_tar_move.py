"""A tar of `./…` becomes one of `v/…`, and nothing else of it changes."""

from __future__ import annotations

import io
import tarfile
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backupd.errors import DamagedBackup
from backupd.tar_header import with_checksum
from backupd.tar_move import moved

LONG = "/".join(["long" * 20] * 5)


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.mode, made.uid = kind, target, 0o4750, 70_000
    return made


def tar_of(*members: tarfile.TarInfo, form: int) -> bytes:
    buffer = io.BytesIO()
    options = {"errors": "surrogateescape", "format": form}
    with tarfile.open(fileobj=buffer, mode="w", **options) as tar:  # type: ignore[call-overload]
        for each in members:
            content = each.name.encode("utf-8", "surrogateescape") * 40 if each.isreg() else b""
            each.size = len(content)
            tar.addfile(each, io.BytesIO(content))
    return buffer.getvalue()


def through(data: bytes, cuts: list[int]) -> bytes:
    places = [0, *sorted(cut % len(data) for cut in cuts), len(data)]
    chunks = [data[a:b] for a, b in pairwise(places)]
    return b"".join(moved(chunks, b"v", "backup x"))


def awkward(top: str) -> list[tarfile.TarInfo]:
    return [
        member(f"{top}/", tarfile.DIRTYPE),
        member(f"{top}/file"),
        member(f"{top}/same", tarfile.LNKTYPE, f"{top}/file"),
        member(f"{top}/soft", tarfile.SYMTYPE, "./file"),
        member(f"{top}/far", tarfile.SYMTYPE, f"../../{LONG}"),
        member(f"{top}/{LONG}/file"),
        member(f"{top}/{LONG}/same", tarfile.LNKTYPE, f"{top}/{LONG}/file"),
        member(f"{top}/bytes \udcff"),
        member(f"{top}/{'folder/' * 15}{'n' * 90}"),
        member(f"{top}/pipe", tarfile.FIFOTYPE),
    ]


def facts(data: bytes) -> list[tuple[str, str, int, int, bytes]]:
    """Name, target, mode, owner and content of every member."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        contents = [tar.extractfile(each) if each.isreg() else None for each in tar]
        return [
            (each.name, each.linkname, each.mode, each.uid, file.read() if file else b"")
            for each, file in zip(tar.getmembers(), contents, strict=True)
        ]


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@given(cuts=st.lists(st.integers(min_value=0, max_value=1 << 20), max_size=20))
def test_every_name_and_hard_link_moves_and_nothing_else(form: int, cuts: list[int]) -> None:
    members = awkward(".")
    data = tar_of(*members, form=form)
    kinds = [each.type for each in members]
    expected = [
        (f"v{name[1:]}", f"v{target[1:]}" if kind == tarfile.LNKTYPE else target, *others)
        for kind, (name, target, *others) in zip(kinds, facts(data), strict=True)
    ]

    assert expected == facts(through(data, cuts))


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("name", ["./..", "./../file", f"./{'a' * 90}/../../{'b' * 60}"])
@pytest.mark.parametrize("is_hard_link", [False, True])
def test_a_name_that_climbs_out_of_the_folder_is_refused(
    form: int, name: str, *, is_hard_link: bool
) -> None:
    climbing = member("./x", tarfile.LNKTYPE, name) if is_hard_link else member(name)
    if form == tarfile.USTAR_FORMAT and is_hard_link:
        climbing.linkname = "./../x"  # the field has no room for more

    with pytest.raises(DamagedBackup, match="climbs out of its folder"):
        through(tar_of(member("./"), climbing, form=form), [])


def test_a_prefix_where_gnu_has_times_is_refused() -> None:
    block = bytearray(member("./etc/passwd").tobuf(tarfile.GNU_FORMAT))
    block[345:357] = b"../../../".ljust(12, b"\0")

    with pytest.raises(DamagedBackup, match="malformed number"):
        through(with_checksum(block) + bytes(1024), [])


@pytest.mark.parametrize("name", ["file", "/etc/passwd", ".hidden"])
def test_a_name_outside_of_the_folder_is_refused(name: str) -> None:
    data = tar_of(member("./"), member(name), form=tarfile.PAX_FORMAT)

    with pytest.raises(DamagedBackup, match=r"backup x is damaged: .* begin with '\./'"):
        through(data, [])


def test_a_block_that_is_no_header_is_refused() -> None:
    with pytest.raises(DamagedBackup, match="no header where one belongs"):
        through(b"x" * 1024, [])
