"""References: values that the policy file does not hold, and that no message shows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from backupd.config import Loaded, load, renewed
from backupd.config.secrets import SECRET_KEYS
from backupd.errors import PolicyError


def write(directory: Path, access_key: str, secret_key: str, *, mode: int = 0o640) -> Path:
    """A policy whose store has these keys, in lines 3 and 4."""
    path = directory / "config.yaml"
    path.write_text(
        "store:\n"
        "  url: s3://my-backups\n"
        f"  access_key: {access_key}\n"
        f"  secret_key: {secret_key}\n"
        "jobs: {nightly: {images: [nginx]}}\n"
    )
    path.chmod(mode)
    return path


def keys_of(loaded: Loaded) -> tuple[str, str]:
    store = loaded.policy.store
    assert store.access_key is not None
    assert store.secret_key is not None
    return store.access_key.get_secret_value(), store.secret_key.get_secret_value()


def refusal(path: Path, **environ: str) -> str:
    with pytest.raises(PolicyError) as error:
        load(path, environ=environ)
    return str(error.value)


def test_the_secret_keys_are_those_of_the_models() -> None:
    assert {"access_key", "secret_key", "session_token"} == SECRET_KEYS


def test_references_give_what_the_environment_files_and_credentials_hold(tmp_path: Path) -> None:
    secret = tmp_path / "s3.secret"
    secret.write_text("s3cr3t\n")
    secret.chmod(0o640)
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "zone").write_text("Europe/Berlin\r\n")
    path = write(tmp_path, "${env:S3_KEY}", f"${{file:{secret}}}")
    path.write_text(path.read_text() + "timezone: ${credential:zone}\n")

    loaded = load(path, environ={"S3_KEY": "AKIA", "CREDENTIALS_DIRECTORY": str(credentials)})

    assert (("AKIA", "s3cr3t"), "Europe/Berlin", ()) == (
        keys_of(loaded),
        loaded.policy.timezone,
        loaded.warnings,
    )


def test_a_reference_may_be_an_entry_of_a_list(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("jobs: {nightly: {images: ['${env:IMAGE}']}}\n")

    loaded = load(path, environ={"IMAGE": "app:2"})

    assert loaded == load_text(tmp_path, "jobs: {nightly: {images: ['app:2']}}\n")


def load_text(directory: Path, text: str) -> Loaded:
    path = directory / "other.yaml"
    path.write_text(text)
    return load(path, environ={})


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("${env:NOPE}", "${env:NOPE} names a variable that is not set"),
        ("${env:EMPTY}", "${env:EMPTY} names a variable that is empty"),
        ("${file:/no/such/file}", "${file:/no/such/file} names a file that does not exist"),
        ("${file:s3.secret}", "${file:s3.secret} needs a full path"),
        ("${file:/etc}", "${file:/etc} names something that is not a file"),
        ("${file:/dev/zero}", "${file:/dev/zero} names something that is not a file"),
        ("${credential:s3}", "add LoadCredential=s3:… to the unit"),
        ("${file:}", "is not a reference; write ${env:NAME}"),
        ("${vault:s3}", "is not a reference; write ${env:NAME}"),
        ("a${env:EMPTY}", "is not a reference; write ${env:NAME}"),
        ("${env:EMPTY}${env:EMPTY}", "is not a reference; write ${env:NAME}"),
    ],
)
def test_a_reference_that_gives_nothing_is_named(
    tmp_path: Path, reference: str, words: str
) -> None:
    found = refusal(write(tmp_path, "a", reference), EMPTY="")

    assert (True, True, 1) == (
        ":4: store.secret_key: " in found,
        words in found,
        len(found.splitlines()),
    )


def test_a_credential_is_a_name_and_no_path(tmp_path: Path) -> None:
    found = refusal(write(tmp_path, "a", "${credential:../x}"), CREDENTIALS_DIRECTORY="/run/x")

    assert "has a path where the name of a credential belongs" in found


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\xff\xfes3cr3t", "is not text in UTF-8"),
        (b"s3cr3t" * 20_000, "more than 64 KiB"),
        (b"s3cr3t\ns3cr3t\n", "is empty, or has a space, a line break"),
    ],
)
def test_a_file_that_holds_no_secret_is_refused_unseen(
    tmp_path: Path, content: bytes, words: str
) -> None:
    secret = tmp_path / "s3.secret"
    secret.write_bytes(content)
    secret.chmod(0o600)

    found = refusal(write(tmp_path, "a", f"${{file:{secret}}}"))

    assert (True, False) == (words in found, "s3cr3t" in found.replace(str(secret), ""))


def test_a_secret_that_everyone_may_read_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "s3.secret"
    secret.write_text("s3cr3t\n")
    secret.chmod(0o644)

    found = refusal(write(tmp_path, "a", f"${{file:{secret}}}"))

    assert f"run: chmod o= '{secret}'" in found


def test_a_file_that_holds_no_secret_may_be_read_by_everyone(tmp_path: Path) -> None:
    name = tmp_path / "hostname"
    name.write_text("web01\n")
    name.chmod(0o644)

    loaded = load_text(tmp_path, f"host: '${{file:{name}}}'\njobs: {{a: {{images: [b]}}}}\n")

    assert loaded.policy.host == "web01"


def test_a_pipe_for_a_secret_holds_nothing_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    found = refusal(write(tmp_path, "a", f"${{file:{tmp_path}/pipe}}"))

    assert "names something that is not a file" in found


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("timezone", "s3cr3t"),
        ("host", "s3cr3t/x"),
        ("docker", "s3cr3t"),
        ("state_dir", "s3cr3t"),
        ("reuse_max_age", "s3cr3t"),
        ("compression", "s3cr3t"),
        ("jobs", "s3cr3t"),
    ],
)
def test_what_a_reference_gives_is_not_repeated(tmp_path: Path, key: str, value: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"{key}: ${{env:VALUE}}\nx: 1\n")

    found = refusal(path, VALUE=value)

    assert (True, False) == (f":1: {key}: " in found, "s3cr3t" in found)


@pytest.mark.parametrize("key", ["url", "endpoint", "region", "sse", "part_size", "addressing"])
def test_what_a_reference_in_the_store_gives_is_not_repeated(tmp_path: Path, key: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"store: {{{key}: '${{env:VALUE}}'}}\njobs: {{a: {{images: [b]}}}}\n")

    found = refusal(path, VALUE="s3cr3t ://s3cr3t")

    assert (True, False) == (f"store.{key}: what ${{env:VALUE}} gives " in found, "s3cr3t" in found)


def test_a_secret_in_a_policy_that_everyone_may_read_is_warned_about(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, "${env:S3_KEY}", "s3cr3t", mode=0o644), environ={"S3_KEY": "a"})

    [warning] = loaded.warnings
    expected = (
        f"{tmp_path}/config.yaml:4: store.secret_key: a secret stands in a file that everyone"
    )
    assert (True, False) == (warning.startswith(expected), "s3cr3t" in warning)


def test_a_secret_that_a_comment_cuts_off_is_warned_about(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, "AKIA", "abc #def"), environ={})

    [warning] = loaded.warnings
    assert (True, ("AKIA", "abc")) == ("what follows ' #' is a comment" in warning, keys_of(loaded))


def test_keys_of_the_store_that_were_rotated_are_read_again(tmp_path: Path) -> None:
    secret = tmp_path / "s3.secret"
    secret.write_text("old\n")
    secret.chmod(0o640)
    loaded = load(write(tmp_path, "AKIA", f"${{file:{secret}}}"), environ={})

    secret.write_text("new\n")
    fresh = renewed(loaded, environ={})

    assert ("AKIA", "new") == keys_of(Loaded(fresh, ()))
    assert ("AKIA", "old") == keys_of(loaded)


def test_keys_that_cannot_be_read_again_stay_as_they_were(tmp_path: Path) -> None:
    secret = tmp_path / "s3.secret"
    secret.write_text("old\n")
    secret.chmod(0o640)
    loaded = load(write(tmp_path, "AKIA", f"${{file:{secret}}}"), environ={})

    secret.unlink()

    assert ("AKIA", "old") == keys_of(Loaded(renewed(loaded, environ={}), ()))
