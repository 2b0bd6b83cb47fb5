"""What the log says, in each format; and what it must never say."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backupd.errors import EngineError
from backupd.layout import Kind
from backupd.log import LogFormat, LogReport, configure, format_for
from backupd.manifest import Manifest
from backupd.policy import Compression
from backupd.redaction import redacted
from backupd.sources.image import ImageSource
from backupd.verbs.task import Outcome, Task

FIXTURE = Path(__file__).parent / "manifests/v1-image.json"
LOGGER = logging.getLogger("backupd.test")


@pytest.fixture(autouse=True)
def python_logging_as_it_was() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("backupd")
    before = (root.handlers, root.level, ours.level)
    yield
    root.handlers, ours.level = before[0], before[2]
    root.setLevel(before[1])
    logging.captureWarnings(capture=False)


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def manifest(**changes: Any) -> Manifest:
    """A backup of 12 MB as 4 MB."""
    found = Manifest.model_validate_json(FIXTURE.read_bytes())
    sizes = {"size_bytes": 12_000_000, "stored_bytes": 4_000_000}
    archive = found.archive.model_copy(update=sizes)
    return found.model_copy(update={"archive": archive, "warnings": (), **changes})


def outcome(made: Manifest | None = None, error: EngineError | None = None) -> Outcome:
    if made is None:
        return Outcome("nightly", Kind.IMAGE, "web:1", timedelta(seconds=2), error=error)
    return Outcome(made.job, made.kind, made.name, timedelta(seconds=2), manifest=made)


def test_a_source_that_begins_is_told_with_its_job(stream: io.StringIO) -> None:
    configure(LogFormat.JOURNAL, stream)

    LogReport().begin(Task("nightly", ImageSource("web:1"), Compression(), "name"))(1_000_000)

    assert "<6>begin image web:1, job nightly\n" == stream.getvalue()


def test_a_saved_source_has_sizes_ratio_speed_duration_and_id(stream: io.StringIO) -> None:
    configure(LogFormat.JOURNAL, stream)
    made = manifest()

    LogReport().end(outcome(made))

    assert (
        f"<6>saved image {made.name}, job {made.job}: backup {made.id}, "
        "12.0 MB → 4.0 MB (3.0x) in 2.0 s, 6.0 MB/s\n"
    ) == stream.getvalue()


def test_an_unchanged_source_has_no_speed(stream: io.StringIO) -> None:
    configure(LogFormat.JOURNAL, stream)
    made = manifest(reused=True)

    LogReport().end(outcome(made))

    said = f"<6>unchanged image {made.name}, job {made.job}: backup {made.id}, in 2.0 s\n"
    assert said == stream.getvalue()


def test_a_failed_source_is_one_error_with_its_notes(stream: io.StringIO) -> None:
    configure(LogFormat.JOURNAL, stream)
    error = EngineError("cannot save web:1: the engine went away")
    error.add_note("container db could not be unpaused")

    LogReport().end(outcome(error=error))

    assert (
        "<3>FAILED image web:1, job nightly, in 2.0 s: cannot save web:1: the engine went away; "
        "container db could not be unpaused\n"
    ) == stream.getvalue()


def test_a_backup_with_a_doubt_warns_of_it(stream: io.StringIO) -> None:
    configure(LogFormat.JOURNAL, stream)
    made = manifest(warnings=("volumes are not in it",))

    LogReport().end(outcome(made))

    assert f"<4>image {made.name}: volumes are not in it" == stream.getvalue().splitlines()[1]


@pytest.mark.parametrize(
    ("note", "line"),
    [
        ("warning: no image matches", "<4>no image matches"),
        ("cannot back up image 'a'", "<3>cannot back up image 'a'"),
        ("pruned 3 old backups of job a", "<6>pruned 3 old backups of job a"),
    ],
)
def test_a_note_is_as_loud_as_its_first_word(stream: io.StringIO, note: str, line: str) -> None:
    configure(LogFormat.JOURNAL, stream)

    LogReport().note(note)

    assert f"{line}\n" == stream.getvalue()


def test_json_has_the_same_as_fields(stream: io.StringIO) -> None:
    configure(LogFormat.JSON, stream)
    made = manifest()

    LogReport().end(outcome(made))

    row = json.loads(stream.getvalue())
    datetime.fromisoformat(row.pop("time")).astimezone(UTC)
    assert row.pop("message").startswith("saved image")
    assert {
        "level": "info",
        "logger": "backupd",
        "job": made.job,
        "kind": "image",
        "name": made.name,
        "state": "saved",
        "backup_id": made.id,
        "size_bytes": 12_000_000,
        "stored_bytes": 4_000_000,
        "ratio": 3.0,
        "bytes_per_second": 6_000_000,
        "duration_seconds": 2.0,
    } == row


def test_text_begins_with_the_time_and_says_what_is_wrong(stream: io.StringIO) -> None:
    configure(LogFormat.TEXT, stream)

    LOGGER.warning("the store is slow")

    when, rest = stream.getvalue().split(" ", 1)
    assert datetime.fromisoformat(when).tzinfo is not None
    assert "warning: the store is slow\n" == rest


def test_every_line_of_a_traceback_has_its_priority(stream: io.StringIO) -> None:
    configure(LogFormat.JOURNAL, stream)

    try:
        raise ValueError("first\nsecond")
    except ValueError:
        LOGGER.exception("a fault")

    lines = stream.getvalue().splitlines()
    assert len(lines) > 3
    assert all(line.startswith("<3>") for line in lines)


@pytest.mark.parametrize("log_format", [LogFormat.TEXT, LogFormat.JOURNAL])
def test_no_name_forges_a_line(stream: io.StringIO, log_format: LogFormat) -> None:
    configure(log_format, stream)

    LOGGER.info("begin %s", "web\n<0>the machine burns\x1b[31m")

    assert 1 == stream.getvalue().count("\n")
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (
            "GET https://s3.example.com/b/k?X-Amz-Signature=abc&X-Amz-Credential=AKIA failed",
            "GET https://s3.example.com/b/k failed",
        ),
        ("Retrying: /bucket/key?uploadId=abc: timed out", "Retrying: /bucket/key timed out"),
        ("https://user:hunter2@hooks.example.com/x failed", "https://hooks.example.com/x failed"),
        ("what? a=b", "what? a=b"),
        ("image registry.example.com/app@sha256:12", "image registry.example.com/app@sha256:12"),
    ],
)
def test_addresses_lose_their_query_and_their_user(said: str, kept: str) -> None:
    assert kept == redacted(said)


@pytest.mark.parametrize("log_format", LogFormat)
def test_a_library_never_tells_a_signature(stream: io.StringIO, log_format: LogFormat) -> None:
    configure(log_format, stream)

    try:
        raise OSError("https://s3.example.com/k?X-Amz-Signature=topsecret")
    except OSError:
        logging.getLogger("urllib3.connectionpool").warning(
            "Retrying %s", "/k?X-Amz-Signature=topsecret", exc_info=True
        )

    assert "Retrying /k" in stream.getvalue()
    assert "topsecret" not in stream.getvalue()


@pytest.mark.parametrize("name", ["botocore.auth", "urllib3", "apscheduler.scheduler", "docker"])
def test_libraries_are_heard_from_warnings_on(stream: io.StringIO, name: str) -> None:
    logging.getLogger(name.partition(".")[0]).setLevel(logging.DEBUG)
    configure(LogFormat.TEXT, stream)

    logging.getLogger(name).info("every request")

    assert "" == stream.getvalue()


def test_output_that_leads_to_the_journal_is_for_the_journal(tmp_path: Path) -> None:
    with (tmp_path / "stream").open("w") as stream:
        found = os.fstat(stream.fileno())

        told = format_for(stream, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"})

    assert LogFormat.JOURNAL == told


def test_output_that_leads_elsewhere_is_text_under_systemd_too(tmp_path: Path) -> None:
    with (tmp_path / "stream").open("w") as stream:
        told = format_for(stream, {"JOURNAL_STREAM": "8:12345", "INVOCATION_ID": "abc"})

    assert LogFormat.TEXT == told


def test_output_that_is_no_file_is_text(stream: io.StringIO) -> None:
    assert LogFormat.TEXT == format_for(stream, {"JOURNAL_STREAM": "8:12345"})
