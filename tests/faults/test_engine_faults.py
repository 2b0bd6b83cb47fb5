"""An engine that fails at every kind of boundary of its answer, and sources that change meanwhile.

The neighbours in tests/integration look at single misfortunes closely; here every boundary of a
tar and of HTTP is cut, through a store that is a real bucket, with an engine of any age.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import docker
import pytest

from backupd.config import load
from backupd.errors import ArchiveBroken, EngineError
from backupd.verbs.backup import Outcome, Task, run
from backupd.verbs.job import plan_job
from backupd.verbs.transfer import Progress
from tests.faults.counts import DONE, CountedCommand
from tests.faults.scene import IMAGE, JOB, MIB, PAUSED, STOPPED, Scene, policy_of
from tests.faults.sweeping import at_site, backups_in, settle
from tests.integration.aftermath import images, journal, refuse_secrets
from tests.integration.conftest import WritePolicy
from tests.integration.trees import exported, saved, succeeded
from tests.servers.dockerd import Engine
from tests.servers.faulty_engine import (
    AT_END,
    EXPORT,
    PAUSE,
    SAVE,
    START,
    STOP,
    UNPAUSE,
    Fault,
    FaultyEngine,
    Then,
    error_json,
    refusal,
)
from tests.servers.seaweedfs import SeaweedFS

ALWAYS = 1 << 30
SILENT = "sent nothing for 2s|did not answer in time"
"""Two clocks run out at once: that of the connection, and that of the reader behind it."""
BLOCK = 512
READ = {IMAGE: SAVE, PAUSED: EXPORT}
MOVED, OTHER_NAME = "backupd-test-faults:moved", "backupd-test-faults-renamed"
INSPECT = r"GET /v[\d.]+/containers/[^/]+/json.*"

Write = Callable[..., Path]


@pytest.fixture
def write_engine(policy: WritePolicy, bucket: dict[str, Any], to_engine: FaultyEngine) -> Write:
    """Writes a policy of images and containers, read by way of the faulty engine."""

    def write(*names: str, host: str = "") -> Path:
        patience = {"stall_timeout": "2s", "save_timeout": "2s"}
        return policy(
            policy_of([n for n in names if ":" in n], [n for n in names if ":" not in n]),
            store={**bucket, "part_size": "5MiB"},
            docker={"host": host or to_engine.host, **patience},
            compression="none",
        )

    return write


@pytest.fixture
def kept(s3: SeaweedFS, bucket: dict[str, Any]) -> Callable[[], int]:
    """How many backups there are by now."""
    return lambda: backups_in(s3, bucket)


@pytest.fixture(autouse=True)
def _all_well(
    scene: Scene,
    backupd: CountedCommand,
    to_engine: FaultyEngine,
    s3: SeaweedFS,
    bucket: dict[str, Any],
) -> Iterator[None]:
    """What must hold after each of these tests."""
    before = images(scene.api)
    yield
    to_engine.heal()
    running = {PAUSED: "running", STOPPED: "running"}
    assert (running, []) == (scene.states(*running), journal(backupd))
    assert before == images(scene.api)
    settle(scene, backupd, s3, bucket)


def boundaries(tar_bytes: bytes) -> dict[str, int]:
    """Every kind of place in a tar at which a stream may end, and one offset of that kind."""
    with tarfile.open(fileobj=io.BytesIO(tar_bytes)) as tar:
        members = tar.getmembers()
    largest = max(members, key=lambda member: member.size)
    later = [member for member in members if member.offset > largest.offset]
    end = -(-(largest.offset_data + largest.size) // BLOCK) * BLOCK
    return {
        "before the first byte": 0,
        "in the first header": 100,
        "behind the first header": members[0].offset_data,
        "between two members": later[0].offset if later else end,
        "in a later header": (later[0].offset if later else end) + 257,
        "behind a header": largest.offset_data,
        "in a member, on a block": largest.offset_data + 3 * MIB // BLOCK * BLOCK,
        "in a member, in a block": largest.offset_data + 3 * MIB + 77,
        "behind a member's content": largest.offset_data + largest.size,
        "before the closing blocks": _closing(tar_bytes),
        "between the closing blocks": _closing(tar_bytes) + BLOCK,
    }


def _closing(tar_bytes: bytes) -> int:
    """Where the two zero blocks begin that end a tar."""
    return -(-len(tar_bytes.rstrip(b"\0")) // BLOCK) * BLOCK


@dataclass(frozen=True)
class Cut:
    """One way in which an answer ends too soon."""

    then: Then
    in_chunks: bool = False
    extra: bytes = b""


CUTS = {
    "cleanly": Cut(Then.END),
    "broken between chunks": Cut(Then.BREAK),
    "broken in a chunk": Cut(Then.BREAK, in_chunks=True),
    "with an error in JSON": Cut(Then.END, extra=error_json("unexpected digest sha256:77af")),
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", READ, ids=["save", "export"])
def test_an_answer_that_ends_too_soon_becomes_no_backup(
    name: str,
    cut: str,
    scene: Scene,
    backupd: CountedCommand,
    to_engine: FaultyEngine,
    write_engine: Write,
    kept: Callable[[], int],
) -> None:
    write_engine(name)
    whole = saved(scene.api, name) if name == IMAGE else exported(scene.api, name)
    how = CUTS[cut]
    for kind, offset in boundaries(whole).items():
        fault = Fault(
            READ[name], how.then, at_byte=offset, in_chunks=how.in_chunks, extra=how.extra, times=2
        )
        to_engine.heal()
        to_engine.add(fault)
        outcome = run_here(backupd)

        assert outcome.manifest is None, kind
        assert isinstance(outcome.error, ArchiveBroken | EngineError), kind
        assert (how.extra != b"") <= ("unexpected digest" in str(outcome.error)), kind
        assert fault.times < 2, kind
    assert 0 == kept()


def run_here(backupd: CountedCommand) -> Outcome:
    """What becomes of the one source of the policy, backed up in this process: it is quicker."""
    DONE.runs += 1
    with at_site(backupd) as site:
        policy = load(backupd.config, environ={}).policy
        (outcome,) = run(site, plan_job(site, policy, JOB).tasks, Silent())
    return outcome


class Silent:
    """A report that nobody reads."""

    def begin(self, task: Task) -> Progress:
        return lambda done: None

    def end(self, outcome: Outcome) -> None:
        pass

    def note(self, text: str) -> None:
        pass


def lasting(request: str, **fault: Any) -> Fault:
    """It happens each time."""
    return Fault(request, times=ALWAYS, **fault)


@dataclass(frozen=True)
class Row:
    """A misfortune of the engine, and what is said of it."""

    name: str
    fault: Fault
    code: int = 1
    sentence: str = ""


TABLE = {
    "refuses to list": Row(
        PAUSED,
        lasting(r"GET .*/containers/json.*", answer=(500, refusal("no"))),
        3,
        "the engine says: no",
    ),
    "refuses to inspect": Row(PAUSED, lasting(INSPECT, answer=(500, refusal("no"))), 1, "inspect"),
    "refuses to pause": Row(PAUSED, lasting(PAUSE, answer=(500, refusal("frozen"))), 1, "frozen"),
    "pauses and says no": Row(
        PAUSED, Fault(PAUSE, answer=(500, refusal("too late")), is_done=True), 1, "too late"
    ),
    "pauses and hangs up": Row(PAUSED, Fault(PAUSE, Then.BREAK, is_done=True), 1, "broke off"),
    "stops and hangs up": Row(STOPPED, Fault(STOP, Then.BREAK, is_done=True), 1, "broke off"),
    "goes on and hangs up": Row(PAUSED, Fault(UNPAUSE, Then.BREAK, is_done=True)),
    "starts and hangs up": Row(STOPPED, Fault(START, Then.BREAK, is_done=True)),
    "refuses to export": Row(PAUSED, lasting(EXPORT, answer=(500, refusal("no"))), 1, "says: no"),
    "refuses to save": Row(IMAGE, lasting(SAVE, answer=(500, refusal("no"))), 1, "says: no"),
    "is silent before an export": Row(PAUSED, lasting(EXPORT, then=Then.STALL), 1, SILENT),
    "is silent before a save": Row(IMAGE, lasting(SAVE, then=Then.STALL), 1, SILENT),
    "is silent in an export": Row(PAUSED, lasting(EXPORT, then=Then.STALL, at_byte=MIB), 1, SILENT),
    "is silent in a save": Row(IMAGE, lasting(SAVE, then=Then.STALL, at_byte=MIB), 1, SILENT),
    "is silent at the end": Row(
        PAUSED, lasting(EXPORT, then=Then.STALL, at_byte=AT_END), 1, SILENT
    ),
    "is behind a gateway": Row(
        PAUSED, lasting(EXPORT, answer=(502, b"<html>Bad Gateway</html>")), 1, "Bad Gateway"
    ),
}


@pytest.mark.parametrize("row", TABLE)
def test_an_engine_that_fails_is_quoted_and_leaves_everything_running(
    row: str,
    backupd: CountedCommand,
    to_engine: FaultyEngine,
    write_engine: Write,
    kept: Callable[[], int],
) -> None:
    case = TABLE[row]
    write_engine(case.name)
    to_engine.add(replace(case.fault))
    result = backupd("backup", JOB)
    kept_first = kept()
    to_engine.heal()
    again = backupd("backup", JOB)

    if result.code or case.sentence:
        assert (case.code, 0) == (result.code, kept_first), result.stderr
        assert re.search(case.sentence, the_first_line(result.stderr))
    refuse_secrets(result)
    assert 0 == again.code, again.stderr
    assert kept_first + 1 == kept()


def the_first_line(stderr: str) -> str:
    """What was said first; notes on what could not be undone may follow."""
    return stderr.splitlines()[0]


Act = Callable[[docker.APIClient], object]

MOVES: dict[str, tuple[str, Act, Act]] = {
    "renamed": (
        PAUSED,
        lambda api: api.rename(PAUSED, OTHER_NAME),
        lambda api: api.rename(OTHER_NAME, PAUSED),
    ),
    "unpaused by somebody": (PAUSED, lambda api: api.unpause(PAUSED), lambda api: None),
    "started by somebody": (STOPPED, lambda api: api.start(STOPPED), lambda api: None),
    "restarted": (STOPPED, lambda api: api.restart(STOPPED, timeout=0), lambda api: None),
    "killed": (PAUSED, lambda api: api.kill(PAUSED), lambda api: api.start(PAUSED)),
}


@pytest.mark.parametrize("move", MOVES)
def test_a_container_that_is_moved_while_it_is_exported_is_backed_up_as_it_was(
    move: str,
    scene: Scene,
    backupd: CountedCommand,
    to_engine: FaultyEngine,
    write_engine: Write,
    kept: Callable[[], int],
) -> None:
    name, act, undo = MOVES[move]
    write_engine(name)
    to_engine.add(Fault(EXPORT, at_byte=MIB, act=lambda: act(scene.api)))
    result = backupd("backup", JOB)
    undo(scene.api)

    assert 0 == result.code, result.stderr
    refuse_secrets(result)
    assert 1 == kept()


@pytest.mark.parametrize("at_byte", [0, MIB, AT_END])
def test_an_image_that_is_retagged_while_it_is_saved_is_backed_up_as_one_of_both(
    at_byte: int,
    scene: Scene,
    backupd: CountedCommand,
    to_engine: FaultyEngine,
    write_engine: Write,
    kept: Callable[[], int],
) -> None:
    scene.api.tag(IMAGE, MOVED)
    scene.contents["image", MOVED] = scene.contents["image", IMAGE]
    write_engine(MOVED)
    to_engine.add(Fault(SAVE, at_byte=at_byte, act=lambda: scene.api.remove_image(MOVED)))
    result = backupd("backup", JOB)

    # The engine had read the whole image before its first byte: what came is what was there.
    assert (0, 1) == (result.code, kept()), result.stderr


@pytest.mark.parametrize("claims", ["1.41", "1.44", "1.99"])
def test_an_engine_of_another_age_is_backed_up_and_restored(
    claims: str,
    engine: Engine,
    backupd: CountedCommand,
    write_engine: Write,
    kept: Callable[[], int],
) -> None:
    with FaultyEngine(engine.host, claims=claims) as aged:
        write_engine(IMAGE, PAUSED, host=aged.host)
        result = succeeded(backupd("backup", JOB))
        restored = succeeded(backupd("restore", "image", IMAGE))

        assert ("", 2) == (result.stderr, kept())
        assert any(f"/v{claims}/" in request for request in aged.requests)
        assert "" == restored.stderr
