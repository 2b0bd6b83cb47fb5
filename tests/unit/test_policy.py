"""The policy's models: what they take, what they make of it, and what they refuse."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from backupd.duration import Duration
from backupd.policy import (
    Compression,
    DockerSpec,
    Job,
    Method,
    Policy,
    Retention,
    StoreSpec,
)
from backupd.retention import ALL, Rules

JOB: dict[str, Any] = {"images": ["nginx"]}


def words_of(error: pytest.ExceptionInfo[ValidationError]) -> str:
    return "; ".join(one["msg"] for one in error.value.errors())


def test_a_policy_of_one_job_has_the_documented_defaults() -> None:
    policy = Policy.model_validate({"jobs": {"nightly": JOB}})

    expected = (
        "UTC",
        None,
        "file:///var/lib/backupd/store",
        Compression(method=Method.ZSTD, level=2),
        timedelta(days=30),
        timedelta(minutes=5),
        timedelta(hours=4),
    )
    assert expected == (
        policy.timezone,
        policy.host,
        policy.store.url,
        policy.compression,
        policy.reuse_max_age,
        policy.docker.stall_timeout,
        policy.docker.save_timeout,
    )


def test_a_policy_cannot_be_changed() -> None:
    policy = Policy.model_validate({"jobs": {"nightly": JOB}})

    with pytest.raises(ValidationError, match="frozen"):
        policy.host = "other"


def test_what_a_job_leaves_out_comes_from_the_policy() -> None:
    policy = Policy.model_validate(
        {
            "timezone": "Europe/Berlin",
            "compression": "gzip",
            "defaults": {"retention": {"keep_daily": 7}},
            "jobs": {"nightly": {**JOB, "schedule": "@daily"}},
        }
    )
    job = policy.jobs["nightly"]
    schedule = policy.schedule_of(job)
    assert schedule is not None

    assert ("Europe/Berlin", Method.GZIP, Retention(keep_daily=7)) == (
        schedule.zone.key,
        policy.compression_of(job).method,
        policy.retention_of(job),
    )


def test_what_a_job_says_goes_before_the_policy() -> None:
    policy = Policy.model_validate(
        {
            "defaults": {"retention": {"keep_daily": 7}},
            "jobs": {
                "nightly": {
                    **JOB,
                    "timezone": "Asia/Tokyo",
                    "compression": "none",
                    "retention": {"keep_last": 1},
                }
            },
        }
    )
    job = policy.jobs["nightly"]

    assert ("Asia/Tokyo", Method.NONE, Retention(keep_last=1)) == (
        policy.zone_of(job),
        policy.compression_of(job).method,
        policy.retention_of(job),
    )


def test_a_job_without_a_schedule_runs_by_hand_only() -> None:
    policy = Policy.model_validate({"jobs": {"nightly": JOB}})

    assert policy.schedule_of(policy.jobs["nightly"]) is None


@pytest.mark.parametrize(
    ("written", "method", "level"),
    [
        ({"zstd": 22}, Method.ZSTD, 22),
        ({"gzip": 9}, Method.GZIP, 9),
        ("zstd", Method.ZSTD, 2),
        ("gzip", Method.GZIP, 6),
        ("none", Method.NONE, 0),
    ],
)
def test_a_compression_has_short_forms(written: object, method: Method, level: int) -> None:
    assert Compression(method=method, level=level) == Compression.model_validate(written)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({"zstd": 23}, "write 1 to 22"),
        ({"zstd": 0}, "write 1 to 22"),
        ({"zstd": True}, "write 1 to 22"),
        ({"gzip": 10}, "write 1 to 9"),
        ({"none": 1}, "write only none"),
        ({"zstd": 3, "gzip": 6}, "is not a compression"),
        ({"method": "zstd", "level": 3}, "is not a compression"),
        ("xz", "is not a compression"),
        (["zstd"], "is not a compression"),
    ],
)
def test_a_compression_that_is_none_says_what_to_write(written: object, words: str) -> None:
    with pytest.raises(ValidationError) as error:
        Compression.model_validate(written)

    assert words in words_of(error)


@pytest.mark.parametrize(
    ("written", "span"),
    [
        ("30s", timedelta(seconds=30)),
        ("5m", timedelta(minutes=5)),
        ("2h", timedelta(hours=2)),
        ("30d", timedelta(days=30)),
        ("2w", timedelta(weeks=2)),
        ("1h30m", timedelta(minutes=90)),
        ("0", timedelta(0)),
        (0, timedelta(0)),
    ],
)
def test_a_time_span_is_a_number_with_its_unit(written: object, span: timedelta) -> None:
    policy = Policy.model_validate({"reuse_max_age": written, "jobs": {"nightly": JOB}})

    assert span == policy.reuse_max_age


@pytest.mark.parametrize(
    "written", ["30", 30, "m", "1m1h", "1h1h", "-1h", "1.5h", "", True, "9" * 9]
)
def test_a_time_span_without_a_clear_meaning_is_refused(written: object) -> None:
    with pytest.raises(ValidationError) as error:
        Policy.model_validate({"reuse_max_age": written, "jobs": {"nightly": JOB}})

    assert "is not a time span" in words_of(error)


def test_a_timeout_of_nothing_is_refused() -> None:
    with pytest.raises(ValidationError) as error:
        DockerSpec.model_validate({"stall_timeout": "0"})

    assert "must be longer than nothing" in words_of(error)


@pytest.mark.parametrize(
    "host",
    [
        "unix:///var/run/docker.sock",
        "tcp://10.0.0.1:2376",
        "tcp://[::1]:2375",
        "ssh://root@web01",
        "ssh://web01:2222",
    ],
)
def test_an_engine_has_an_address_on_a_socket_a_port_or_over_ssh(host: str) -> None:
    assert host == DockerSpec(host=host).host


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("http://10.0.0.1:2375", "write tcp://host:port"),
        ("https://10.0.0.1:2376", "write tcp://host:port"),
        ("/var/run/docker.sock", "write unix:///var/run/docker.sock"),
        ("unix://var/run/docker.sock", "three slashes"),
        ("tcp://10.0.0.1", "needs a port"),
        ("tcp://10.0.0.1:x", "not a number"),
        ("tcp://:2375", "names no machine"),
        ("tcp://10.0.0.1:2375/v1", "after the machine's name"),
        ("ssh://root:pass@web01", "holds a password"),
        ("npipe:////./pipe/docker_engine", "is not an engine's address"),
    ],
)
def test_an_engine_cannot_have_other_addresses(host: str, words: str) -> None:
    with pytest.raises(ValidationError) as error:
        DockerSpec(host=host)

    assert words in words_of(error)
    assert "pass@" not in words_of(error)


def test_tls_needs_an_engine_that_speaks_it() -> None:
    files = {"ca": "/a", "cert": "/b", "key": "/c"}

    with pytest.raises(ValidationError) as error:
        DockerSpec.model_validate({"host": "unix:///run/docker.sock", "tls": files})

    assert "needs 'host: tcp://…'" in words_of(error)


def test_a_path_must_be_a_full_one() -> None:
    with pytest.raises(ValidationError) as error:
        Policy.model_validate({"state_dir": "state", "jobs": {"nightly": JOB}})

    assert "begin it with /" in words_of(error)


def test_a_policy_needs_a_job() -> None:
    with pytest.raises(ValidationError) as error:
        Policy.model_validate({"jobs": {}})

    assert "is empty; name at least one" in words_of(error)


@pytest.mark.parametrize("name", ["nightly", "a", "9.x_y-z", "a" * 100])
def test_a_job_may_have_this_name(name: str) -> None:
    assert [name] == list(Policy.model_validate({"jobs": {name: JOB}}).jobs)


@pytest.mark.parametrize("name", ["", ".a", "-a", "a b", "a/b", "ä", "a" * 101, "a\n"])
def test_a_job_may_not_have_this_name(name: str) -> None:
    with pytest.raises(ValidationError) as error:
        Policy.model_validate({"jobs": {name: JOB}})

    assert "is not a name" in words_of(error)


@pytest.mark.parametrize("host", ["a/b", " a", "", "a\tb", "x" * 201])
def test_a_host_may_not_have_this_name(host: str) -> None:
    with pytest.raises(ValidationError):
        Policy.model_validate({"host": host, "jobs": {"nightly": JOB}})


def test_a_job_must_select_something() -> None:
    with pytest.raises(ValidationError) as error:
        Job.model_validate({"schedule": "@daily"})

    assert "selects nothing" in words_of(error)


def test_a_job_that_never_fires_is_refused() -> None:
    with pytest.raises(ValidationError) as error:
        Job.model_validate({**JOB, "schedule": "0 0 31 2 *"})

    assert "is not a schedule" in words_of(error)


def test_retention_becomes_the_rules_that_decide() -> None:
    retention = Retention.model_validate(
        {
            "keep_last": 3,
            "keep_hourly": 0,
            "keep_daily": 7,
            "keep_yearly": "all",
            "keep_within": "14d",
            "keep_within_monthly": "1y6m",
            "minimum": 2,
            "gone_after": "90d",
            "group": "repository",
        }
    )

    expected = Rules(
        keep_last=3,
        keep_hourly=0,
        keep_daily=7,
        keep_yearly=ALL,
        keep_within=Duration(days=14),
        keep_within_monthly=Duration(years=1, months=6),
        minimum=2,
        gone_after=Duration(days=90),
        group="repository",
    )
    assert expected == retention.rules()


def test_every_rule_of_retention_reaches_the_decision() -> None:
    written = {
        name: "3d" if "within" in name or name == "gone_after" else 5
        for name in Retention.model_fields
        if name != "group"
    }

    rules = Retention.model_validate(written).rules()

    expected = {
        name: Duration(days=3) if value == "3d" else value for name, value in written.items()
    }
    assert expected == {name: getattr(rules, name) for name in written}


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("keep_last", -1, "is not a count"),
        ("keep_last", "every", "is not a count"),
        ("keep_last", 1.5, "is not a count"),
        ("keep_last", True, "is not a count"),
        ("keep_within", "14", "is not a duration"),
        ("keep_within", "1d1d", "is not a duration"),
        ("gone_after", "0d", "is not a duration"),
        ("minimum", 0, "greater than or equal to 1"),
    ],
)
def test_a_rule_that_means_nothing_is_refused(key: str, value: object, words: str) -> None:
    with pytest.raises(ValidationError) as error:
        Retention.model_validate({key: value})

    assert words in words_of(error)


def test_the_store_of_a_directory_has_a_path() -> None:
    store = StoreSpec(url="file:///srv/my%20backups/")

    assert ("file", Path("/srv/my backups"), "", "") == (
        store.scheme,
        store.path,
        store.bucket,
        store.prefix,
    )
