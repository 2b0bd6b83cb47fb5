"""A certificate authority of one test run, made by the `openssl` program."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
_LEAF = """\
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = IP:127.0.0.1, DNS:localhost
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: the authority to trust, and the certificate and key of 127.0.0.1."""

    authority: Path
    certificate: Path
    key: Path


def make_certificates(directory: Path) -> Certificates:
    """A new authority and a certificate for 127.0.0.1 and localhost, valid for a month."""
    authority, authority_key = directory / "authority.pem", directory / "authority.key"
    certificate, key = directory / "server.pem", directory / "server.key"
    request, extensions = directory / "server.csr", directory / "server.ext"
    extensions.write_text(_LEAF)
    _openssl(
        *("req", "-x509", *_KEY, "-days", "30", "-subj", "/CN=backupd test authority"),
        *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        *("-keyout", authority_key, "-out", authority),
    )
    _openssl("req", *_KEY, "-subj", "/CN=127.0.0.1", "-keyout", key, "-out", request)
    _openssl(
        *("x509", "-req", "-in", request, "-days", "30", "-extfile", extensions),
        *("-CA", authority, "-CAkey", authority_key, "-CAcreateserial", "-out", certificate),
    )
    return Certificates(authority, certificate, key)


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
