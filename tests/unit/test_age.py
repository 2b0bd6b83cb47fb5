"""age as a part of the pipeline: nothing comes back that the key did not vouch for."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap

import pytest
from pyrage import x25519

from backupd.age import Encrypting, decrypted, encrypted
from backupd.age_keys import (
    Identities,
    PassphraseNeeded,
    check_recipient,
    identities_of,
    is_private,
)
from backupd.codec import compressor, decompressed
from backupd.errors import ArchiveBroken, DamagedBackup, NoKey
from backupd.stream import ArchiveReader, chunks_of
from backupd.tar import TarWalk
from tests.servers.age import ssh_key
from tests.unit.image_tars import tar_of
from tests.unit.test_stream import AnythingGoes, pieces

# Not a new one each time: it is part of the tests' names.
KEY = x25519.Identity.from_str(
    "AGE-SECRET-KEY-1ZC6SYHMMERYVUZF0A3TLYGR0DA6S0J2WR2CN4EFTKEWTTNE63QLS36AUXA"
)
OTHER = x25519.Identity.generate()
MINE, OTHERS = Identities((KEY,)), Identities((OTHER,))
PUBLIC, OTHER_PUBLIC = str(KEY.to_public()), str(OTHER.to_public())
NOISE = os.urandom(300_000)
TAR = tar_of({"noise": NOISE, "text": b"again " * 50_000})


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    yield
    assert [] == [one.name for one in threading.enumerate() if one.name == "age"]


def sealed(plain: bytes = NOISE, *recipients: str) -> bytes:
    return encrypted(plain, recipients or [PUBLIC])[0]


def opened(stored: bytes, identities: Identities = MINE, *, size: int = 10_000) -> bytes:
    return b"".join(decrypted(pieces(stored, size), identities))


@pytest.mark.parametrize("method", ["zstd", "gzip", "none"])
def test_an_archive_comes_back_and_its_reader_tells_the_stored_digest(method: str) -> None:
    coder = Encrypting(compressor(method, 3), [PUBLIC])
    reader = ArchiveReader(pieces(TAR), TarWalk(), coder)
    stored = b"".join(chunks_of(reader, 1 << 16))
    coder.close()
    compressed = decrypted([stored], MINE, header_sha256=coder.header_sha256)

    assert TAR == b"".join(decompressed(compressed, method))
    assert hashlib.sha256(stored).hexdigest() == reader.stored_sha256
    assert hashlib.sha256(TAR).hexdigest() == reader.sha256
    assert len(stored) == reader.stored_bytes


@pytest.mark.parametrize("size", [0, 1, 8191, 65_535, 65_536, 65_537, 1 << 20])
def test_any_size_comes_back(size: int) -> None:
    plain = os.urandom(size)
    coder = Encrypting(compressor("none", 0), [PUBLIC])
    stored = b"".join([*map(coder.compress, pieces(plain)), coder.flush()])
    coder.close()

    assert plain == opened(stored)


def test_each_of_several_recipients_opens_it_alone() -> None:
    stored = sealed(NOISE, PUBLIC, OTHER_PUBLIC)

    assert [NOISE, NOISE] == [opened(stored, one) for one in (MINE, OTHERS)]


class Broken(AnythingGoes):
    """A check that finds out at the end."""

    def finish(self) -> None:
        raise ArchiveBroken("it is cut")


@pytest.mark.parametrize("size", [100, 1 << 20])
def test_before_the_check_passed_nothing_comes_out_that_opens_to_its_end(size: int) -> None:
    coder = Encrypting(compressor("none", 0), [PUBLIC])
    reader, came = ArchiveReader(pieces(os.urandom(size)), Broken(), coder), io.BytesIO()
    with pytest.raises(ArchiveBroken, match="it is cut"):
        came.writelines(chunks_of(reader, 1000))
    coder.close()

    with pytest.raises(DamagedBackup):
        opened(came.getvalue())


def test_an_error_of_the_source_comes_out_unchanged_on_both_ways() -> None:
    error = ArchiveBroken("the engine broke off")

    def broken(data: bytes) -> Iterator[bytes]:
        yield data
        raise error

    coder = Encrypting(compressor("none", 0), [PUBLIC])
    with pytest.raises(ArchiveBroken) as out:
        list(chunks_of(ArchiveReader(broken(NOISE), AnythingGoes(), coder), 1000))
    coder.close()
    with pytest.raises(ArchiveBroken) as back:
        list(decrypted(broken(sealed()[:200_000]), MINE))

    assert (error, error) == (out.value, back.value)


def test_who_stops_reading_leaves_no_thread() -> None:
    stream = decrypted(pieces(sealed(), 100_000), MINE)
    next(stream)
    stream.close()


@pytest.mark.parametrize(
    ("identities", "words"), [(OTHERS, "none of the given"), (Identities(), "no identity is given")]
)
def test_without_its_key_it_is_refused_before_a_byte_comes(
    identities: Identities, words: str
) -> None:
    with pytest.raises(NoKey, match=words):
        decrypted([sealed()], identities)


@pytest.mark.parametrize("place", [25, 60, 150_000, -1])
def test_a_changed_bit_is_damage_and_never_another_key(place: int) -> None:
    stored, header = encrypted(NOISE, [PUBLIC])
    changed = bytearray(stored)
    changed[place] ^= 1

    with pytest.raises(DamagedBackup):
        b"".join(decrypted([bytes(changed)], MINE, header_sha256=header))


@pytest.mark.parametrize("end", [0, 10, 100, 250, 65_536, 200_000, -1])
def test_a_cut_is_damage(end: int) -> None:
    with pytest.raises(DamagedBackup):
        opened(sealed()[:end])


def test_what_follows_is_damage() -> None:
    with pytest.raises(DamagedBackup):
        opened(sealed() + b"x")


def test_a_header_without_end_is_not_read_for_ever() -> None:
    def endless() -> Iterator[bytes]:
        yield b"age-encryption.org/v1\n"
        while True:
            yield bytes(1 << 16)

    with pytest.raises(DamagedBackup, match="whole header"):
        decrypted(endless(), MINE)


def test_an_ssh_key_encrypts_and_opens(tmp_path: Path) -> None:
    for kind in ("ed25519", "rsa"):
        pair = ssh_key(tmp_path / kind, kind)
        recipient = check_recipient(pair.public)

        assert NOISE == opened(sealed(NOISE, recipient), identities_of(pair.path.read_bytes()))
        assert 1 == recipient.count(" ")  # without the comment


def test_an_ssh_key_that_is_too_short_or_has_a_passphrase_is_refused(tmp_path: Path) -> None:
    short = ssh_key(tmp_path / "short", "rsa", bits=1024)
    locked = ssh_key(tmp_path / "locked", passphrase="hunter2")

    with pytest.raises(ValueError, match="less than 2048 bits"):
        check_recipient(short.public)
    with pytest.raises(ValueError, match="with a passphrase"):
        identities_of(locked.path.read_bytes())


@pytest.mark.parametrize(
    "text",
    [str(KEY), str(KEY).lower(), f"# {KEY}", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1r"],
)
def test_a_private_key_is_no_recipient_and_is_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="is a private key") as refusal:
        check_recipient(text)

    assert is_private(text)
    assert text[20:40] not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not a recipient"),
        ("correct horse battery staple", "is not a recipient"),
        ("age1xyz", "is not a recipient"),
        (PUBLIC[:-1] + ("q" if PUBLIC[-1] != "q" else "p"), "is not a recipient"),
        ("age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t", "plugin"),
        ("ssh-ed25519 AAAA", "not a whole public key of ssh"),
        ("ssh-ed25519", "not a whole public key of ssh"),
        ("ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAA", "is not a recipient"),
    ],
)
def test_what_is_no_recipient_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_recipient(text)


def test_a_file_of_several_identities_with_comments_is_read() -> None:
    content = f"# created: today\n# public key: {PUBLIC}\n{KEY}\n\n{OTHER}\r\n".encode()

    found = identities_of(content)

    assert 2 == len(found.keys)
    assert NOISE == opened(sealed(NOISE, OTHER_PUBLIC), found)
    assert str(KEY) not in repr(found)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"# nothing\n", "holds no identity"),
        (PUBLIC.encode(), "holds a public key"),
        (b"AGE-SECRET-KEY-1NOTREALLY", "no identity"),
        (b"AGE-PLUGIN-YUBIKEY-1XYZ", "plugin"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\nxx\n-----END OPENSSH PRIVATE KEY-----", "ssh"),
        (b"\xff\xfe\x00", "no identity"),
    ],
)
def test_what_is_no_file_of_identities_is_refused_in_words(content: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refusal:
        identities_of(content)

    assert "NOTREALLY" not in str(refusal.value)


PROTECTED = (
    "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNjcnlwdCBhemRQcm4vek5Qd25KTXZz"
    "MWdIemNBIDQKLzhDVVVZcTkwUjloODZBeDcxVFhuakZlOVJmcm1LK05BTHlnUm9K"
    "TzJ1YwotLS0gZ2hTUHpkQnB2eXMxZ2xmTFMyOVE4K2JGTWd5d3pEQmZGbUlLZk1m"
    "ZzhJQQpYnP6qILzQt5UJByn0N0ySqeh/gKX/Ut+JtOGgxiX+m+RdSwfIx12Bvhc+"
    "pBSqwfAqCBVSQq2/WGXJucxdxLpeog1HHeOzJt3S6gS31OAJdgU8nSnBji3B7U0K"
    "I91FaiNTB6D4osDN8FzL"
)
"""`KEY` under the passphrase `hunter2`, with scrypt at its least work: what the library makes takes
a second, and on a machine that has become busy meanwhile it refuses to open it again."""


@pytest.mark.parametrize("armored", [False, True])
def test_a_passphrase_opens_a_protected_file_of_identities(armored: bool) -> None:
    content = b64decode(PROTECTED)
    if armored:
        frame = "-----{} AGE ENCRYPTED FILE-----"
        lines = [frame.format("BEGIN"), *wrap(PROTECTED, 64), frame.format("END")]
        content = "\n".join(lines).encode() + b"\n"

    assert NOISE == opened(sealed(), identities_of(content, passphrase=lambda: "hunter2"))
    with pytest.raises(PassphraseNeeded, match="nobody is there"):
        identities_of(content)
    with pytest.raises(ValueError, match="does not open with this passphrase"):
        identities_of(content, passphrase=lambda: "hunter3")
