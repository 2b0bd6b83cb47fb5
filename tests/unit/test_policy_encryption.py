"""Encryption in a policy: for whom, which jobs, and that no private key is ever shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyrage import x25519

from backupd.config import Loaded, load
from backupd.errors import PolicyError

SECRET = "AGE-SECRET-KEY-16AXVAMJZ3ZMJ5RHKWTV4LXPQVCXSPA65PL40L0ASEGUJTVXP79USHP2X84"
KEY = str(x25519.Identity.from_str(SECRET).to_public())
OTHER = "age1qnxl24hs25z3qa2cxlu4xl9l74q9xn59mufahdcycs8dsxcec9mqh3tefg"
"""Made for these tests; not new ones each time, since they are parts of the tests' names."""

DEFAULTS = f"defaults: {{encryption: {{recipients: [{KEY}]}}}}\n"
JOB = "jobs:\n  nightly:\n    images: [app]\n"


def loaded(directory: Path, text: str, *, mode: int = 0o600) -> Loaded:
    path = directory / "config.yaml"
    path.write_text(text)
    path.chmod(mode)
    return load(path, environ={})


def refusal(directory: Path, text: str) -> str:
    with pytest.raises(PolicyError) as caught:
        loaded(directory, text)
    assert SECRET[20:] not in str(caught.value)
    return str(caught.value).replace(str(directory / "config.yaml"), "FILE")


def recipients(directory: Path, text: str) -> set[str]:
    policy = loaded(directory, text).policy
    return set(policy.recipients_of(policy.jobs["nightly"]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (JOB, set()),
        (DEFAULTS + JOB, {KEY}),
        (DEFAULTS + JOB + "    encryption: none\n", set()),
        (DEFAULTS + JOB + f"    encryption: {{recipients: [{OTHER}]}}\n", {OTHER}),
        (JOB + f"    encryption: {{recipients: [{OTHER}, {KEY}, {KEY}]}}\n", {KEY, OTHER}),
    ],
)
def test_a_job_encrypts_for_its_own_recipients_else_for_those_of_defaults(
    text: str, expected: set[str], tmp_path: Path
) -> None:
    assert expected == recipients(tmp_path, text)


def test_a_recipient_may_come_from_a_file_that_everyone_may_read(tmp_path: Path) -> None:
    public = tmp_path / "backups.pub"
    public.write_text(f"{KEY}\n")
    public.chmod(0o644)

    assert {KEY} == recipients(
        tmp_path, JOB + f'    encryption: {{recipients: ["${{file:{public}}}"]}}\n'
    )


def test_public_keys_are_no_secrets_that_the_file_must_hide(tmp_path: Path) -> None:
    assert () == loaded(tmp_path, DEFAULTS + JOB, mode=0o644).warnings


def test_require_encryption_refuses_each_job_that_would_store_in_the_clear(tmp_path: Path) -> None:
    required = "require_encryption: true\n"
    inherited = refusal(tmp_path, required + JOB)
    said_so = refusal(tmp_path, required + DEFAULTS + JOB + "    encryption: none\n")

    assert inherited.startswith("FILE:3: jobs.nightly: would store in the clear")
    assert said_so.startswith("FILE:6: jobs.nightly.encryption: would store in the clear")
    assert {KEY} == recipients(tmp_path, required + DEFAULTS + JOB)


@pytest.mark.parametrize(
    ("encryption", "words"),
    [
        (f"{{recipients: [{SECRET}]}}", "encryption.recipients[0]: the value is a private key"),
        (f"{{recipients: {SECRET}}}", "encryption.recipients: must be a list"),
        (f"{{{SECRET}: true}}", "is not a known key"),
        (f"[{SECRET}]", "encryption: must be a mapping"),
        (f"@{SECRET}", "has a value that begins with '@'"),
        (SECRET, "encryption: the value must be {recipients: [age1…]}, or none"),
        (f"{{recipients: [x{SECRET}]}}", "is a private key"),
        ("{recipients: [correct horse]}", "recipients[0]: the value is not a recipient"),
        ("{recipients: [age1…]}", "recipients[0]: the value is not a recipient"),
        ("{recipients: []}", "encryption: names no recipient"),
        ("{}", "encryption: needs 'recipients'"),
        (f"{{recipient: [{KEY}]}}", "did you mean 'recipients'?"),
    ],
)
def test_what_is_wrong_is_said_without_showing_it(
    encryption: str, words: str, tmp_path: Path
) -> None:
    said = refusal(tmp_path, JOB + f"    encryption: {encryption}\n")

    assert said.startswith("FILE:4: ")
    assert words in said
    assert "correct horse" not in said


def test_an_identity_is_a_secret(tmp_path: Path) -> None:
    key_file = tmp_path / "backups.key"
    key_file.write_text(f"# created by age-keygen\n{SECRET}\n")
    key_file.chmod(0o600)
    referred = f"identity: ${{file:{key_file}}}\n" + JOB

    policy = loaded(tmp_path, referred).policy
    literal = loaded(tmp_path, f"identity: {SECRET}\n" + JOB, mode=0o644)
    key_file.chmod(0o644)
    exposed = refusal(tmp_path, referred)

    assert policy.identity is not None
    assert SECRET in policy.identity.get_secret_value()
    assert SECRET not in repr(policy)
    assert ["a secret stands in a file"] == [
        "a secret stands in a file" for one in literal.warnings if "a secret stands" in one
    ]
    assert "everyone on this machine may read" in exposed


@pytest.mark.parametrize(
    ("identity", "words"),
    [
        (KEY, "holds a public key"),
        (SECRET[:-3], "no identity"),
        ("hunter2", "no identity"),
        (f"[{SECRET}]", "must be a text"),
    ],
)
def test_an_identity_that_opens_nothing_is_refused(
    identity: str, words: str, tmp_path: Path
) -> None:
    said = refusal(tmp_path, f"identity: {identity}\n" + JOB)

    assert said.startswith("FILE:1: identity: ")
    assert words in said
    assert "hunter2" not in said
