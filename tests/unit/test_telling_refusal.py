"""Who hears that the daemon does not start by its policy: whom the broken file still names."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path

import pytest

from backupd.config.salvage import Voices, salvaged_voices
from backupd.policy import Policy
from backupd.state import StateDir
from backupd.telling.refusal import FILE_NAME, tell_refusal
from tests.servers.receiver import HANG, Receiver
from tests.unit.runs import START, VOICE

WHOLE = """
host: web01
notify:
  # to the people on duty
  urls:
  - ${env:TOPIC}

  - json://127.0.0.1:2/
  when: [failure]
ping: https://example.com/uuid
jobs:
  nightly: {images: [nginx]}
"""
SENTENCE = "config.yaml:3: jobs: is missing"
NO_TIME = timedelta(seconds=0.1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    return StateDir(tmp_path / "state")


def urls(voices: Voices) -> list[str]:
    """The addresses of notifications."""
    return [url.get_secret_value() for url in voices.notify.urls] if voices.notify else []


@pytest.mark.parametrize(
    "fault",
    ["nonsense: 1\n", "x: [\n", "\tx: 1\n", "x: *nobody\n", "jobs: twice\n", "store: {url: 5}\n"],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_whatever_else_is_wrong_the_file_says_whom_to_tell(
    fault: str, path: Path, *, is_first: bool
) -> None:
    path.write_text(fault + WHOLE if is_first else WHOLE + fault)

    voices = salvaged_voices(path, {"TOPIC": "json://127.0.0.1:1/"})

    assert ("web01", ["json://127.0.0.1:1/", "json://127.0.0.1:2/"]) == (voices.host, urls(voices))
    assert voices.ping is not None
    assert voices.ping.fail is not None
    assert "https://example.com/uuid/fail" == voices.ping.fail.get_secret_value()


def test_of_several_addresses_those_that_are_right_are_told(path: Path) -> None:
    path.write_text(WHOLE.replace("[failure]", "[nonsense]"))

    assert ["json://127.0.0.1:2/"] == urls(salvaged_voices(path, {}))


@pytest.mark.parametrize(
    "text", ["", "notify: 5", "notify: {urls: []}\nping: ftp://x", "[", "notify: [", "\0\ufffd"]
)
def test_a_file_that_names_nobody_has_nobody_told(text: str, path: Path) -> None:
    path.write_text(text)

    assert Voices() == salvaged_voices(path, {})


def test_without_a_file_nobody_is_told(path: Path) -> None:
    assert Voices() == salvaged_voices(path, {})


def voices(*addresses: str, ping: str | None = None) -> Voices:
    notified = {"notify": {"urls": addresses}} if addresses else {}
    pinged = {"ping": {"fail": ping}} if ping else {}
    policy = Policy.model_validate({"jobs": {"any": {"images": ["any"]}}, **notified, **pinged})
    return Voices(None, policy.notify, policy.ping)


def test_the_same_sentence_is_told_once_a_day(state: StateDir) -> None:
    with Receiver() as receiver:
        named = voices(ping=f"http://{receiver.address}/no")
        moments = [START, START + timedelta(hours=23, minutes=59), START + timedelta(days=1)]
        told = [tell_refusal(named, VOICE, SENTENCE, state, at) for at in moments]
        other = tell_refusal(named, VOICE, "another fault", state, START)
        bodies = [receiver.next().body for _ in range(3)]

    assert ([True, False, True], True) == (told, other)
    assert VOICE.refused(SENTENCE).body == bodies[0]
    assert receiver.requests.empty()


def test_what_nobody_took_is_told_by_the_next_start(
    state: StateDir, caplog: pytest.LogCaptureFixture
) -> None:
    with Receiver(503, 200) as receiver:
        named = voices(ping=f"http://{receiver.address}/no")
        told = [tell_refusal(named, VOICE, SENTENCE, state, START) for _ in range(3)]

    assert [False, True, False] == told
    assert ["cannot ping 'fail' about the policy: the server answered 503"] == caplog.messages


def test_a_service_that_hangs_holds_the_end_up_only_so_long(state: StateDir) -> None:
    with Receiver() as good, Receiver(HANG) as bad:
        named = voices(f"json://{bad.address}/", ping=f"http://{good.address}/no")
        is_told = tell_refusal(named, VOICE, SENTENCE, state, START, longest=NO_TIME)

        assert ("/no", []) == (good.next().path, bad.hung)
    assert is_told


def test_where_it_cannot_be_remembered_nobody_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "file").touch()
    with Receiver() as receiver:
        named = voices(ping=f"http://{receiver.address}/no")

        assert not tell_refusal(named, VOICE, SENTENCE, StateDir(tmp_path / "file"), START)
        assert receiver.requests.empty()
    assert 1 == len(caplog.messages)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"a": 5}', b"[" * 100_000, b'{"a": "2026-01-02"}']
)
def test_a_damaged_memory_is_begun_anew(content: bytes, state: StateDir) -> None:
    state.write(FILE_NAME, content)
    with Receiver() as receiver:
        named = voices(ping=f"http://{receiver.address}/no")

        assert tell_refusal(named, VOICE, SENTENCE, state, START)


def test_who_wants_to_hear_of_recoveries_only_is_not_told(state: StateDir) -> None:
    policy = {"notify": {"urls": ["json://127.0.0.1:1/"], "when": ["recovery"]}}
    given = Policy.model_validate({"jobs": {"any": {"images": ["any"]}}, **policy})

    assert not tell_refusal(Voices(notify=given.notify), VOICE, SENTENCE, state, START)
    assert not state.path.exists()
