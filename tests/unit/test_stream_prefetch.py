"""Reading ahead: order, errors, silence, cancel, and no thread left behind.

Sources here block on events, not on time; where a limit has to pass, it is a few milliseconds, and
where one must not pass, it is far beyond the test.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from backupd.errors import Cancelled, EngineStalled
from backupd.stream import Cancel, Prefetched

FAR_SECONDS = 60.0
NEAR_SECONDS = 0.02


class Source:
    """A stream that yields what it has, then blocks until it is aborted."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = chunks
        self.given = 0
        self.aborted = threading.Event()
        self.has_closed = threading.Event()
        self.is_blocked = threading.Event()

    def __call__(self) -> Iterator[bytes]:
        try:
            for chunk in self.chunks:
                self.given += 1
                yield chunk
            self.is_blocked.set()
            assert self.aborted.wait(FAR_SECONDS)
            raise OSError("the socket was closed")
        finally:
            self.has_closed.set()


class WatchedCancel(Cancel):
    """Tells when somebody asked, and so is about to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()

    def is_set(self) -> bool:
        is_set = super().is_set()
        self.asked.set()
        return is_set


def prefetched(
    chunks: Iterator[bytes],
    *,
    first_timeout_seconds: float = FAR_SECONDS,
    stall_timeout_seconds: float = FAR_SECONDS,
    on_abort: Callable[[], None] = lambda: None,
    cancel: Cancel | None = None,
    depth: int = 4,
) -> Prefetched:
    return Prefetched(
        chunks,
        first_timeout_seconds=first_timeout_seconds,
        stall_timeout_seconds=stall_timeout_seconds,
        on_abort=on_abort,
        cancel=cancel or Cancel(),
        depth=depth,
    )


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "read-ahead"]


@pytest.fixture(autouse=True)
def _no_thread_outlives_a_test() -> Iterator[None]:
    yield
    assert [] == readers()


def test_all_chunks_come_in_their_order() -> None:
    chunks = [bytes([number]) for number in range(100)]

    with prefetched(iter(chunks), depth=3) as ready:
        assert chunks == list(ready)


def test_an_ended_source_is_not_aborted_and_stays_ended() -> None:
    aborted: list[int] = []

    with prefetched(iter([b"a"]), on_abort=lambda: aborted.append(1)) as ready:
        assert [b"a"] == list(ready)
        assert [] == list(ready)

    assert [] == aborted


def test_an_error_of_the_source_comes_out_as_itself_after_what_came_before() -> None:
    error = ConnectionError("reset")

    def breaking() -> Iterator[bytes]:
        yield b"a"
        raise error

    with prefetched(breaking()) as ready:
        assert b"a" == next(ready)
        with pytest.raises(ConnectionError) as caught:
            next(ready)
        with pytest.raises(ConnectionError):
            next(ready)

    assert caught.value is error


def test_a_source_that_never_begins_is_a_stall() -> None:
    source = Source()
    with prefetched(
        source(), first_timeout_seconds=NEAR_SECONDS, on_abort=source.aborted.set
    ) as ready:
        with pytest.raises(EngineStalled, match=r"the engine sent nothing for 0\.02s"):
            next(ready)

        assert source.aborted.is_set()


def test_a_source_that_falls_silent_is_a_stall_after_what_it_sent() -> None:
    source = Source(b"a", b"b")
    with prefetched(
        source(), stall_timeout_seconds=NEAR_SECONDS, on_abort=source.aborted.set
    ) as ready:
        assert [b"a", b"b"] == [next(ready), next(ready)]
        with pytest.raises(EngineStalled):
            next(ready)
        with pytest.raises(EngineStalled):
            next(ready)


def test_the_first_chunk_may_take_longer_than_a_later_one() -> None:
    let_go = threading.Event()

    def slow_to_begin() -> Iterator[bytes]:
        assert let_go.wait(FAR_SECONDS)
        yield b"a"

    timer = threading.Timer(10 * NEAR_SECONDS, let_go.set)
    with prefetched(slow_to_begin(), stall_timeout_seconds=NEAR_SECONDS) as ready:
        timer.start()
        assert b"a" == next(ready)
    timer.join()


def test_a_slow_consumer_is_not_a_stalled_source() -> None:
    source = Source(*[b"a"] * 10)
    with prefetched(
        source(),
        first_timeout_seconds=NEAR_SECONDS,
        stall_timeout_seconds=NEAR_SECONDS,
        on_abort=source.aborted.set,
        depth=11,
    ) as ready:
        assert source.is_blocked.wait(FAR_SECONDS)
        for _ in range(10):
            threading.Event().wait(2 * NEAR_SECONDS)  # busy elsewhere for longer than the limit
            assert b"a" == next(ready)


def test_no_more_is_read_ahead_than_the_queue_holds() -> None:
    source = Source(*[b"a"] * 100)
    with prefetched(source(), on_abort=source.aborted.set, depth=3) as ready:
        for _ in range(20):
            next(ready)

        assert source.given <= 20 + 3 + 1


def test_leaving_early_ends_a_blocked_source() -> None:
    source = Source(b"a")
    with prefetched(source(), on_abort=source.aborted.set) as ready:
        next(ready)
        assert source.is_blocked.wait(FAR_SECONDS)

    assert source.has_closed.is_set()


def test_leaving_early_ends_a_source_that_waits_for_room() -> None:
    source = Source(*[b"a"] * 100)
    with prefetched(source(), on_abort=source.aborted.set, depth=1) as ready:
        next(ready)

    assert source.has_closed.is_set()


def test_an_error_of_the_consumer_comes_out_and_the_source_is_closed() -> None:
    source = Source(b"a")

    def upload() -> None:
        with prefetched(source(), on_abort=source.aborted.set) as ready:
            next(ready)
            raise KeyError("upload")

    with pytest.raises(KeyError):
        upload()

    assert source.has_closed.is_set()


def test_an_abort_that_fails_is_a_note_on_the_error_that_matters() -> None:
    source = Source()

    def fail() -> None:
        source.aborted.set()
        raise OSError("already closed")

    with (
        pytest.raises(EngineStalled) as stalled,
        prefetched(source(), first_timeout_seconds=NEAR_SECONDS, on_abort=fail) as ready,
    ):
        next(ready)

    assert "already closed" in stalled.value.__notes__[0]


def test_a_cancel_wakes_the_waiting_consumer() -> None:
    cancel, source = WatchedCancel(), Source()
    caught: list[BaseException] = []

    def consume() -> None:
        with prefetched(source(), on_abort=source.aborted.set, cancel=cancel) as ready:
            try:
                next(ready)
            except Cancelled as error:
                caught.append(error)

    consumer = threading.Thread(target=consume)
    consumer.start()
    assert cancel.asked.wait(FAR_SECONDS)
    cancel.set()
    consumer.join(FAR_SECONDS / 2)

    assert not consumer.is_alive()
    assert 1 == len(caught)


def test_after_a_cancel_what_was_read_ahead_is_not_given_out() -> None:
    cancel, source = Cancel(), Source(b"a", b"b")
    with prefetched(source(), on_abort=source.aborted.set, cancel=cancel) as ready:
        next(ready)
        cancel.set()

        with pytest.raises(Cancelled):
            next(ready)


def test_a_cancel_calls_the_closers_of_open_blocks_only() -> None:
    cancel = Cancel()
    called: list[str] = []
    with cancel.closing(lambda: called.append("left")):
        pass
    with cancel.closing(lambda: called.append("open")):
        cancel.set()

    assert ["open"] == called


def test_a_closer_that_comes_after_the_cancel_is_called_at_once() -> None:
    cancel = Cancel()
    called: list[str] = []
    cancel.set()

    with cancel.closing(lambda: called.append("late")):
        assert ["late"] == called


def test_a_failing_closer_does_not_keep_the_others_open() -> None:
    cancel = Cancel()
    called: list[str] = []

    def fail() -> None:
        raise OSError("already closed")

    with cancel.closing(fail), cancel.closing(lambda: called.append("other")):
        cancel.set()

    assert ["other"] == called


def test_a_cancel_stays_set_and_raises() -> None:
    cancel = Cancel()
    cancel.raise_if_set()
    cancel.set()

    assert cancel.is_set()
    with pytest.raises(Cancelled):
        cancel.raise_if_set()
