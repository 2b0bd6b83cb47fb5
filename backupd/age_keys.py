"""age's keys: recipients, which are public, and identities, which open what was encrypted for them.

Recipients stand in the policy and in manifests; a host that only backs up has nothing else.
Parsing is pyrage's own (https://age-encryption.org/v1, and OpenSSH's formats of keys). No message
repeats what was given: people paste a private key where the public one belongs. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrage import ssh, x25519

    Key = x25519.Identity | ssh.Identity
    Recipient = x25519.Recipient | ssh.Recipient

AGE_MAGIC = b"age-encryption.org/v1"
"""How every age file begins, a passphrase-protected file of identities among them."""

_ARMOUR = b"-----BEGIN AGE ENCRYPTED FILE-----"
_PRIVATE = re.compile(r"AGE-SECRET-KEY-|AGE-PLUGIN-|PRIVATE KEY", re.IGNORECASE)
_SSH_KINDS = frozenset({"ssh-ed25519", "ssh-rsa"})
_NO_RECIPIENT = (
    "is not a recipient; write age1… (age-keygen -y prints it), ssh-ed25519 … or ssh-rsa …"
)


def is_private(text: str) -> bool:
    """Whether a private key stands in the text, so that it must not be repeated."""
    return bool(_PRIVATE.search(text))


def check_recipient(text: str) -> str:
    """The recipient as it is compared and stored: an ssh key without its comment.

    Raises ValueError with the end of a sentence, which never shows it.
    """
    if is_private(text):
        raise ValueError(
            "is a private key, which belongs to no policy and on no machine that is backed up; "
            "write the public one here (age-keygen -y prints it), and take this one away"
        )
    recipient = " ".join(text.split()[:2])
    recipient_of(recipient)
    return recipient


def recipient_of(text: str) -> Recipient:
    """The recipient, to encrypt for. Raises ValueError, which never shows it."""
    from pyrage import RecipientError, ssh, x25519

    kind = text.partition(" ")[0]
    try:
        if kind in _SSH_KINDS:
            return ssh.Recipient.from_str(text)
        return x25519.Recipient.from_str(text)
    except RecipientError as error:
        if "TooSmall" in str(error):
            cause = "is an RSA key of less than 2048 bits; use a longer one, or age1…"
        elif kind in _SSH_KINDS:
            cause = "is not a whole public key of ssh; copy the one line of its .pub file"
        elif re.fullmatch(r"age1[a-z0-9]{0,20}1[a-z0-9]+", text):
            cause = (
                "is for a plugin of age, or not whole; backupd encrypts for age1… as age-keygen "
                "prints it, ssh-ed25519 … and ssh-rsa …"
            )
        else:
            cause = _NO_RECIPIENT
        raise ValueError(cause) from None


class PassphraseNeeded(ValueError):
    """The identities are protected by a passphrase, and nobody is there to give it."""


@dataclass(frozen=True, slots=True, repr=False)
class Identities:
    """Private keys. Which of them opens what is found by trying; none of them is ever shown."""

    keys: tuple[Key, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.keys)

    def __add__(self, other: Identities) -> Identities:
        return Identities(self.keys + other.keys)

    def __repr__(self) -> str:
        return f"Identities(<{len(self.keys)} keys>)"


def identities_of(content: bytes, *, passphrase: Callable[[], str] | None = None) -> Identities:
    """What a file of identities holds, as age takes it: its own keys, one a line, or one of ssh.

    `passphrase` is asked where `age -p` protected the file; without it PassphraseNeeded is raised.
    Raises ValueError with the end of a sentence, which never shows what was given.
    """
    content = content.strip(b"\r\n\t ") if not content.startswith(AGE_MAGIC) else content
    if content.startswith((AGE_MAGIC, _ARMOUR)):
        return identities_of(_unprotected(content, passphrase))
    if content.startswith(b"-----BEGIN "):
        return Identities((_ssh_key(content),))
    lines = [line.strip() for line in content.decode("utf-8", "replace").splitlines()]
    keys = tuple(_age_key(line) for line in lines if line and not line.startswith("#"))
    if not keys:
        raise ValueError("holds no identity; it must have a line AGE-SECRET-KEY-1…")
    return Identities(keys)


def _unprotected(content: bytes, passphrase: Callable[[], str] | None) -> bytes:
    from pyrage import DecryptError
    from pyrage import passphrase as protected

    if passphrase is None:
        raise PassphraseNeeded("is protected by a passphrase, and nobody is there to type it")
    given = passphrase()
    try:
        inner = protected.decrypt(content, given)
    except DecryptError as error:
        if "Decryption failed" in str(error):
            raise ValueError("does not open with this passphrase") from None
        raise ValueError(
            f"is no file of identities that a passphrase protects ({str(error).lower()})"
        ) from None
    if inner.startswith((AGE_MAGIC, _ARMOUR)):
        raise ValueError("is protected twice; take one passphrase off with: age -d")
    return inner


def _ssh_key(content: bytes) -> Key:
    from pyrage import IdentityError, ssh

    try:
        return ssh.Identity.from_buffer(content + b"\n")
    except IdentityError as error:
        cause = "is not a private key of ssh that can decrypt: only ed25519 and rsa ones can"
        if "decrypted first" in str(error) or "Encrypted" in str(error):
            cause = (
                "is a private key of ssh with a passphrase, which cannot be used here; copy it, "
                "take the passphrase off the copy (ssh-keygen -p -f COPY), and remove it afterwards"
            )
        raise ValueError(cause) from None


def _age_key(line: str) -> Key:
    from pyrage import IdentityError, x25519

    if line.startswith(("age1", "ssh-")):
        raise ValueError(
            "holds a public key, which opens nothing; give the file that age-keygen wrote"
        )
    if line.startswith("AGE-PLUGIN-"):
        raise ValueError(
            "holds the identity of a plugin, which backupd cannot use; decrypt by hand with age"
        )
    try:
        return x25519.Identity.from_str(line)
    except IdentityError:
        raise ValueError(
            "has a line that is no identity; each must be AGE-SECRET-KEY-1… or begin with #"
        ) from None
