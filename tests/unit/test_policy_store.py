"""The store's part of the policy: addresses, keys and what goes together."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from backupd.policy import Policy, StoreSpec


def words_of(error: pytest.ExceptionInfo[ValidationError]) -> str:
    return "; ".join(one["msg"] for one in error.value.errors())


@pytest.mark.parametrize(
    ("url", "bucket", "prefix"),
    [
        ("s3://my-backups", "my-backups", ""),
        ("s3://my-backups/", "my-backups", ""),
        ("s3://my-backups/docker", "my-backups", "docker"),
        ("s3://my-backups/docker/web/", "my-backups", "docker/web"),
        ("s3://a.b-c.9/x y", "a.b-c.9", "x y"),
    ],
)
def test_a_bucket_is_named_with_a_prefix_or_without(url: str, bucket: str, prefix: str) -> None:
    store = StoreSpec(url=url)

    assert ("s3", bucket, prefix) == (store.scheme, store.bucket, store.prefix)


def test_a_bucket_has_no_path() -> None:
    with pytest.raises(ValueError, match="has no path"):
        _ = StoreSpec(url="s3://my-backups").path


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://", "names no bucket"),
        ("s3:///docker", "names no bucket"),
        ("s3://ab", "3 to 63"),
        ("s3://" + "a" * 64, "3 to 63"),
        ("s3://My-Backups", "lower-case"),
        ("s3://my_backups", "lower-case"),
        ("s3://-backups", "letter or digit at both ends"),
        ("s3://my..backups", "single dots"),
        ("s3://10.0.0.1/docker", "under 'endpoint'"),
        ("s3://my-backups//docker", "empty part"),
        ("s3://my-backups/a//b", "empty part"),
        ("s3://my-backups/docker//", "empty part"),
        ("s3://my-backups/../docker", "'..'"),
        ("s3://my-backups/a\\b", "backslash"),
        ("s3://my-backups/a\x00b", "control character"),
        ("s3://my-backups/" + "é" * 101, "200 bytes"),
        ("https://s3.example.com/my-backups", "under 'endpoint'"),
        ("/var/lib/backupd", "write s3://bucket/prefix or file:///path"),
        ("s3:/my-backups", "write s3://bucket/prefix or file:///path"),
        ("file://var/lib", "three slashes"),
        ("file:///", "root directory"),
        ("file:////", "root directory"),
        ("file:///a/../b", "'..'"),
        ("file:///a/%2e%2e/b", "'..'"),
    ],
)
def test_an_address_that_names_no_store_says_what_to_write(url: str, words: str) -> None:
    with pytest.raises(ValidationError) as error:
        StoreSpec(url=url)

    assert words in words_of(error)


@pytest.mark.parametrize(
    ("endpoint", "kept"),
    [
        ("https://s3.example.com/", "https://s3.example.com"),
        ("http://127.0.0.1:8333", "http://127.0.0.1:8333"),
        ("https://x.example.com/storage/v1/s3", "https://x.example.com/storage/v1/s3"),
        ("http://[::1]:8333", "http://[::1]:8333"),
    ],
)
def test_an_endpoint_is_an_address_of_a_server(endpoint: str, kept: str) -> None:
    assert kept == StoreSpec(url="s3://my-backups", endpoint=endpoint).endpoint


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("s3.example.com", "needs a scheme"),
        ("s3.example.com:9000", "needs a scheme"),
        ("https://", "is not the address of a server"),
        ("https://host:99999", "is not the address of a server"),
        ("https://[::1", "is not the address of a server"),
        ("https://ho st", "is not the address of a server"),
        ("https://host/?x=1", "'?' or '#'"),
        ("https://AKIA:s3cr3t@host", "under 'access_key'"),
    ],
)
def test_an_endpoint_that_is_none_says_what_to_write(endpoint: str, words: str) -> None:
    with pytest.raises(ValidationError) as error:
        StoreSpec(url="s3://my-backups", endpoint=endpoint)

    assert words in words_of(error)
    assert "s3cr3t" not in str(error.value)


def test_a_directory_takes_no_keys_of_a_bucket() -> None:
    with pytest.raises(ValidationError) as error:
        StoreSpec.model_validate({"endpoint": "https://s3.example.com", "uploads": 3})

    assert "'endpoint', 'uploads': only for a bucket" in words_of(error)


@pytest.mark.parametrize("key", ["access_key", "secret_key"])
def test_one_key_without_the_other_is_refused(key: str) -> None:
    with pytest.raises(ValidationError) as error:
        StoreSpec.model_validate({"url": "s3://my-backups", key: "s3cr3t"})

    assert "give both, or neither" in words_of(error)
    assert "s3cr3t" not in str(error.value)


def test_a_session_token_needs_its_keys() -> None:
    with pytest.raises(ValidationError) as error:
        StoreSpec.model_validate({"url": "s3://my-backups", "session_token": "s3cr3t"})

    assert "'session_token' needs" in words_of(error)


@pytest.mark.parametrize("secret", ["", "a b", "a\nb", "ä"])
def test_a_key_that_no_request_could_carry_is_refused_unseen(secret: str) -> None:
    with pytest.raises(ValidationError) as error:
        StoreSpec.model_validate(
            {"url": "s3://my-backups", "access_key": "AKIA", "secret_key": secret}
        )

    assert "is empty, or has a space" in words_of(error)


def test_a_store_never_shows_its_keys() -> None:
    store = StoreSpec.model_validate(
        {"url": "s3://my-backups", "access_key": "AKIA", "secret_key": "s3cr3t"}
    )

    assert "s3cr3t" not in f"{store!r} {store} {store.model_dump()} {store.model_dump_json()}"


def test_a_kms_key_needs_kms() -> None:
    with pytest.raises(ValidationError) as error:
        StoreSpec.model_validate({"url": "s3://my-backups", "sse": "AES256", "sse_kms_key": "k"})

    assert "needs 'sse: aws:kms'" in words_of(error)


@pytest.mark.parametrize("name", ["GLACIER", "DEEP_ARCHIVE"])
def test_a_class_that_cannot_be_read_at_once_is_refused(name: str) -> None:
    with pytest.raises(ValidationError) as error:
        StoreSpec(url="s3://my-backups", storage_class=name)

    assert "cannot be read back at once" in words_of(error)


@pytest.mark.parametrize(
    ("written", "size_bytes"),
    [("16MiB", 16 << 20), ("16M", 16 << 20), (16777216, 16 << 20), ("1 GiB", 1 << 30)],
)
def test_a_part_has_a_size_in_bytes_or_with_a_unit(written: object, size_bytes: int) -> None:
    store = StoreSpec.model_validate({"url": "s3://my-backups", "part_size": written})

    assert size_bytes == store.part_size


@pytest.mark.parametrize("written", ["16MB", "16 mb", "x", "1.5GiB", "", True, -1, "4MiB", "6GiB"])
def test_a_part_cannot_have_any_other_size(written: object) -> None:
    with pytest.raises(ValidationError):
        StoreSpec.model_validate({"url": "s3://my-backups", "part_size": written})


@pytest.mark.parametrize("uploads", [0, 17, "3", True, 1.0])
def test_uploads_in_parallel_are_a_whole_number_from_1_to_16(uploads: object) -> None:
    with pytest.raises(ValidationError):
        StoreSpec.model_validate({"url": "s3://my-backups", "uploads": uploads})


LOCK = {"mode": "governance", "days": 30}


def bucket_with(**section: object) -> StoreSpec:
    return StoreSpec.model_validate({"url": "s3://my-backups", **section})


def test_a_lock_has_a_mode_and_days() -> None:
    lock = bucket_with(object_lock=LOCK).object_lock

    assert lock is not None
    assert ("governance", timedelta(days=30)) == (lock.mode, lock.span)


@pytest.mark.parametrize(
    ("lock", "words"),
    [
        ({**LOCK, "days": 0}, "greater than or equal to 1"),
        ({**LOCK, "days": 3651}, "less than or equal to 3650"),
        ({**LOCK, "days": "30d"}, "valid integer"),
        ({**LOCK, "mode": "strict"}, "'governance' or 'compliance'"),
        ({"mode": "governance"}, "Field required"),
    ],
)
def test_a_lock_that_says_not_how_long_or_how_is_refused(lock: object, words: str) -> None:
    with pytest.raises(ValidationError) as error:
        bucket_with(object_lock=lock)

    assert words in words_of(error)


@pytest.mark.parametrize(
    "section", [{"object_lock": LOCK}, {"expires_after": {"backups": "30d", "archives": "40d"}}]
)
def test_a_directory_neither_locks_nor_expires(section: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="only for a bucket"):
        StoreSpec.model_validate({"url": "file:///srv/backups", **section})


@pytest.mark.parametrize(
    ("expiry", "words"),
    [
        ({"backups": "30d", "archives": "30d"}, "write archives: 33d or more"),
        ({"backups": "30d", "archives": "32d"}, "write archives: 33d or more"),
        ({"backups": "36h", "archives": "32d"}, "whole days"),
        ({"backups": "0", "archives": "32d"}, "longer than nothing"),
        ({"backups": "30d"}, "Field required"),
    ],
)
def test_an_expiry_that_would_leave_manifests_without_archives_is_refused(
    expiry: object, words: str
) -> None:
    with pytest.raises(ValidationError) as error:
        bucket_with(expires_after=expiry)

    assert words in words_of(error)


@pytest.mark.parametrize(("archives", "days"), [("33d", 0), ("40d", 7), ("1000d", 30)])
def test_an_archive_is_reused_only_while_it_outlives_the_new_manifest(
    archives: str, days: int
) -> None:
    store = {"url": "s3://my-backups", "expires_after": {"backups": "30d", "archives": archives}}
    policy = Policy.model_validate({"store": store, "jobs": {"nightly": {"images": ["app:1"]}}})

    assert timedelta(days=days) == policy.reusable_for
