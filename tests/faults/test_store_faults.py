"""A store that fails in the middle: what may pass is tried again, the rest is told and sweepable.

Each row is a misfortune on the way of a paused container's archive; an image is backed up beside
it, and must not suffer where the store fails for one archive only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.faults.counts import CountedCommand
from tests.faults.scene import IMAGE, JOB, MIB, PAUSED, Scene, policy_of
from tests.faults.sweeping import backups_in, settle
from tests.integration.aftermath import journal, refuse_secrets
from tests.integration.command import QUICK, Result
from tests.integration.conftest import WritePolicy
from tests.servers import faulty_store
from tests.servers.faulty_store import (
    ANY,
    LIST,
    MANIFEST,
    OWNER,
    Fault,
    FaultyStore,
    Then,
    part,
    refusal,
)
from tests.servers.seaweedfs import SeaweedFS

ALWAYS = 1 << 30


def of_container(request: str) -> str:
    """The request, where it is about the archive of a container."""
    return request.replace("/archives/", "/archives/container/")


BEGIN, PART, COMPLETE, ABORT, HEAD = (
    of_container(request)
    for request in (
        faulty_store.BEGIN,
        faulty_store.PART,
        faulty_store.COMPLETE,
        faulty_store.ABORT,
        faulty_store.HEAD,
    )
)
RECORD = of_container(faulty_store.RECORD)
FIRST, SECOND = of_container(part(1)), of_container(part(2))
ITS_MANIFEST = MANIFEST.replace("/backups/", "/backups/nightly/container/")

INTERNAL, SLOW = refusal("InternalError"), refusal("SlowDown")
UNAVAILABLE = refusal("ServiceUnavailable")


@pytest.fixture
def backupd(tmp_path: Path) -> CountedCommand:
    """The command with short waits."""
    return CountedCommand(tmp_path, module=QUICK)


@pytest.fixture(autouse=True)
def _policy(policy: WritePolicy, bucket: dict[str, Any], to_store: FaultyStore) -> None:
    policy(
        policy_of([IMAGE], [PAUSED]),
        store={**bucket, "endpoint": to_store.address, "part_size": "5MiB"},
        compression="none",
    )


@pytest.fixture(autouse=True)
def _all_well(
    _policy: None,
    scene: Scene,
    backupd: CountedCommand,
    to_store: FaultyStore,
    s3: SeaweedFS,
    bucket: dict[str, Any],
) -> Iterator[None]:
    """What must hold after each of these tests."""
    yield
    to_store.heal()
    assert ({PAUSED: "running"}, []) == (scene.states(PAUSED), journal(backupd))
    settle(scene, backupd, s3, bucket)


PASSES: dict[str, Fault | tuple[Fault, ...]] = {
    "a burst of 500 at a part": Fault(FIRST, answer=(500, INTERNAL), times=4),
    "a burst of 503 at a part": Fault(SECOND, answer=(503, UNAVAILABLE), times=4),
    "a burst of 503 at everything": Fault(ANY, answer=(503, UNAVAILABLE), times=6),
    "SlowDown": Fault(PART, answer=(503, SLOW), times=6),
    "429 without a word": Fault(PART, answer=(429, b""), times=2),
    "bytes that change on the way": Fault(FIRST, answer=(400, refusal("BadDigest")), times=2),
    "a reset before the first part": Fault(FIRST, Then.BREAK, times=2),
    "a reset in the first part": Fault(FIRST, Then.BREAK, at_sent_byte=MIB, times=2),
    "a reset in the second part": Fault(SECOND, Then.BREAK, at_sent_byte=64 << 10),
    "a reset at the begin": Fault(BEGIN, Then.BREAK),
    "a reset at the end": Fault(COMPLETE, Then.BREAK),
    "a reset at the look after it": Fault(HEAD, Then.BREAK),
    "a reset at the record": Fault(RECORD, Then.BREAK),
    "a reset at the manifest": Fault(ITS_MANIFEST, Then.BREAK),
    "a reset in a listing": Fault(LIST, Then.BREAK, at_byte=50),
    "a begin whose answer got lost": Fault(BEGIN, Then.BREAK, is_done=True),
    "a part whose answer got lost": Fault(FIRST, Then.BREAK, is_done=True),
    "an end whose answer got lost": Fault(COMPLETE, Then.BREAK, is_done=True),
    "an end whose answer never comes": Fault(COMPLETE, Then.STALL, is_done=True),
    "an end that worked and says 500": Fault(COMPLETE, answer=(500, INTERNAL), is_done=True),
    "an end that worked and says 504": Fault(COMPLETE, answer=(504, b""), is_done=True),
    "an end with an error under 200": Fault(COMPLETE, answer=(200, INTERNAL)),
    "an end that worked with an error under 200": Fault(
        COMPLETE, answer=(200, INTERNAL), is_done=True
    ),
    "an end whose answer got lost, and no such upload then": (
        Fault(COMPLETE, Then.BREAK, is_done=True),
        Fault(COMPLETE, answer=(404, refusal("NoSuchUpload"))),
    ),
    "an end that says 500, and no such key then": (
        Fault(COMPLETE, answer=(500, INTERNAL), is_done=True),
        Fault(COMPLETE, answer=(404, refusal("NoSuchKey"))),
    ),
    "a manifest whose answer got lost": Fault(ITS_MANIFEST, Then.BREAK, is_done=True),
    "an owner whose answer got lost": Fault(OWNER, Then.BREAK, is_done=True, times=2),
    "a half-open connection": Fault(FIRST, Then.STALL),
    "a stall in the middle of a part": Fault(SECOND, Then.STALL, at_sent_byte=64 << 10),
    "a stall in a listing": Fault(LIST, Then.STALL, at_byte=50),
}


@pytest.mark.parametrize("fault", PASSES)
def test_what_may_pass_is_tried_again_and_passes(
    fault: str,
    backupd: CountedCommand,
    to_store: FaultyStore,
    s3: SeaweedFS,
    bucket: dict[str, Any],
) -> None:
    faults = PASSES[fault]
    to_store.add(*map(replace, faults if isinstance(faults, tuple) else (faults,)))
    result = backupd("backup", JOB)

    assert (0, "") == (result.code, result.stderr)
    assert to_store.struck
    assert 2 == backups_in(s3, bucket)


@dataclass(frozen=True)
class Row:
    """A misfortune that lasts, and what is said of it."""

    fault: Fault
    sentence: str


def refused(request: str, status: int, code: str, sentence: str) -> Row:
    """The store refuses with this code each time."""
    return Row(Fault(request, answer=(status, refusal(code)), times=ALWAYS), sentence)


SKEWED = "this machine's clock is wrong: it differs from the server's .* set the clock"
EXPIRED = "the session token is not valid or has expired; renew the store's 'session_token'"
UNKNOWN = "does not know the access key; check the store's 'access_key'"

LASTS = {
    "500": refused(PART, 500, "InternalError", "failed inside, after several attempts"),
    "503": refused(PART, 503, "ServiceUnavailable", "is too busy, after several attempts"),
    "SlowDown": refused(PART, 503, "SlowDown", "lower the store's 'uploads'"),
    "507": refused(PART, 507, "InsufficientStorage", "the server has no space left for it"),
    "a full disk behind a 500": refused(
        COMPLETE, 500, "InternalError", "failed inside, after several attempts"
    ),
    "a wrong clock": refused(PART, 403, "RequestTimeTooSkewed", SKEWED),
    "an expired token": refused(SECOND, 400, "ExpiredToken", EXPIRED),
    "keys that were replaced": refused(SECOND, 403, "InvalidAccessKeyId", UNKNOWN),
    "rights that were taken": refused(COMPLETE, 403, "AccessDenied", "these keys s3:PutObject"),
    "parts that are too small": refused(
        COMPLETE, 400, "EntityTooSmall", "smaller than .* accepts; raise the store's 'part_size'"
    ),
    "a part that is too large": refused(FIRST, 400, "EntityTooLarge", "lower the store's 'part_si"),
    "a part that the server forgot": Row(
        Fault(FIRST, headers={"etag": '"00000000000000000000000000000000"'}, times=ALWAYS),
        "holds are not those that it acknowledged",
    ),
    "an error under 200": Row(
        Fault(COMPLETE, answer=(200, refusal("AccessDenied")), times=ALWAYS),
        "does not allow these keys s3:PutObject",
    ),
    "an upload that is gone": refused(
        COMPLETE, 404, "NoSuchUpload", "its unfinished upload is gone: someone aborted it"
    ),
    "a reset at each part": Row(Fault(PART, Then.BREAK, times=ALWAYS), "closed the connection"),
    "silence at each part": Row(
        Fault(PART, Then.STALL, times=ALWAYS), "fell silent|closed the connection"
    ),
    "silence at each end that worked": Row(
        Fault(COMPLETE, Then.STALL, is_done=True, times=ALWAYS), "fell silent, after several"
    ),
    "another size": Row(
        Fault(HEAD, headers={"content-length": "17"}, times=ALWAYS),
        r"bytes were sent and the store holds 17",
    ),
    "an object that is not there": Row(
        Fault(HEAD, answer=(404, b""), times=ALWAYS), "the server took it, and now says that it is"
    ),
    "a manifest that is refused": refused(ITS_MANIFEST, 403, "AccessDenied", "s3:PutObject"),
    "a record that is refused": refused(RECORD, 403, "AccessDenied", "s3:PutObject"),
    "an abort that is refused too": Row(
        Fault(f"{SECOND}|{ABORT}", answer=(403, refusal("AccessDenied")), times=ALWAYS),
        "these keys s3:PutObject",
    ),
}


@pytest.mark.parametrize("row", LASTS)
def test_what_lasts_fails_one_source_in_one_sentence(
    row: str,
    backupd: CountedCommand,
    to_store: FaultyStore,
    s3: SeaweedFS,
    bucket: dict[str, Any],
) -> None:
    to_store.add(replace(LASTS[row].fault))
    result = backupd("backup", JOB)

    assert 1 == result.code
    assert re.search(LASTS[row].sentence, the_sentence_of(PAUSED, result))
    assert 1 == backups_in(s3, bucket)


AT_ONCE = {
    "a wrong clock": refused(ANY, 403, "RequestTimeTooSkewed", SKEWED),
    "an expired token": refused(ANY, 400, "ExpiredToken", EXPIRED),
    "no bucket": refused(ANY, 404, "NoSuchBucket", "has no bucket '.*'; create it"),
    "a store that hangs up": Row(
        Fault(ANY, Then.BREAK, times=ALWAYS), "closed the connection, after several attempts"
    ),
    "a store that is silent": Row(
        Fault(ANY, Then.STALL, times=ALWAYS), "fell silent, after several attempts"
    ),
    "a store that is broken": refused(ANY, 500, "InternalError", "failed inside, after several"),
}


@pytest.mark.parametrize("row", AT_ONCE)
def test_what_is_wrong_from_the_start_ends_the_run_with_exit_code_4(
    row: str, backupd: CountedCommand, to_store: FaultyStore
) -> None:
    to_store.add(replace(AT_ONCE[row].fault))
    result = backupd("backup", JOB)

    assert 4 == result.code
    refuse_secrets(result)
    (line,) = result.stderr.splitlines()
    assert re.search(AT_ONCE[row].sentence, line)


def the_sentence_of(container: str, result: Result) -> str:
    """The one line about this container; a note that an abort failed may follow it."""
    refuse_secrets(result)
    first, *notes = result.stderr.splitlines()
    assert first.startswith(f"backupd: container {container}: cannot "), result.stderr
    for note in notes:
        assert "could not be aborted; it costs space until it is cleaned up" in note, result.stderr
    return first
