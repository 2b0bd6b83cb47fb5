"""Stores around a real store: who watches each call may look, act in between, or end it all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from backupd.stores import ClosableReader, Entry, Reader, Refusal, Store


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a store, about to be made."""

    act: str
    key: str


class Killed(BaseException):
    """The end of a process, as far as it can be had without one: nothing of ours catches it."""


class Watched:
    """A store whose calls are told first; deletions one key at a time, as a crash may cut them."""

    def __init__(self, store: Store, before: Callable[[Call], None]) -> None:
        self._store = store
        self._before = before

    @property
    def url(self) -> str:
        return self._store.url

    def full_key(self, key: str) -> str:
        return self._store.full_key(key)

    def put(self, key: str, reader: Reader, *, estimate_bytes: int) -> int:
        self._before(Call("put", key))
        return self._store.put(key, reader, estimate_bytes=estimate_bytes)

    def give_up(self, key: str) -> None:
        self._store.give_up(key)

    def put_bytes(self, key: str, data: bytes) -> None:
        self._before(Call("put_bytes", key))
        self._store.put_bytes(key, data)

    @property
    def locked_for(self) -> timedelta:
        return self._store.locked_for

    def extend_lock(self, key: str) -> Refusal | None:
        self._before(Call("extend_lock", key))
        return self._store.extend_lock(key)

    def get_bytes(self, key: str, *, limit_bytes: int) -> bytes:
        self._before(Call("get_bytes", key))
        return self._store.get_bytes(key, limit_bytes=limit_bytes)

    def open(self, key: str) -> ClosableReader:
        self._before(Call("open", key))
        return self._store.open(key)

    def size(self, key: str) -> int | None:
        self._before(Call("size", key))
        return self._store.size(key)

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[Entry]:
        self._before(Call("list", prefix))
        return self._store.list(prefix, start_after=start_after)

    def folders(self, prefix: str) -> Sequence[str]:
        self._before(Call("folders", prefix))
        return self._store.folders(prefix)

    def delete(self, keys: Iterable[str]) -> Sequence[Refusal]:
        refused: list[Refusal] = []
        for key in keys:
            self._before(Call("delete", key))
            refused += self._store.delete([key])
        return refused

    def abort_uploads(
        self,
        prefix: str,
        *,
        started_before: datetime,
        spare: Callable[[str], bool] = lambda key: False,
    ) -> int:
        self._before(Call("abort_uploads", prefix))
        return self._store.abort_uploads(prefix, started_before=started_before, spare=spare)

    def now(self) -> datetime:
        return self._store.now()


class Stubborn(Watched):
    """A store that does not delete some keys: it refuses, or says that it did."""

    def __init__(
        self, store: Store, stays: Callable[[str], bool], *, cause: str | None = None
    ) -> None:
        super().__init__(store, lambda call: None)
        self._stays = stays
        self._cause = cause

    def delete(self, keys: Iterable[str]) -> Sequence[Refusal]:
        wanted = list(keys)
        stay = [key for key in wanted if self._stays(key)]
        refused = list(super().delete(key for key in wanted if not self._stays(key)))
        return refused + [Refusal(key, self._cause) for key in stay if self._cause is not None]


class Lagging(Watched):
    """A store whose listings do not show some objects yet."""

    def __init__(self, store: Store, *hidden: str) -> None:
        super().__init__(store, lambda call: None)
        self._hidden = hidden

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[Entry]:
        found = super().list(prefix, start_after=start_after)
        return (entry for entry in found if entry.key not in self._hidden)


class Countdown:
    """Calls `act` before the call with this number, counted from 1; keeps all calls."""

    def __init__(self, number: int, act: Callable[[], None]) -> None:
        self.calls: list[Call] = []
        self._number = number
        self._act = act

    def __call__(self, call: Call) -> None:
        self.calls.append(call)
        if len(self.calls) == self._number:
            self._act()
