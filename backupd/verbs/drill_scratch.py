"""The things that a drill makes, under names of their own, and their removal.

Containers, networks, volumes and images made of exports carry the labels of helpers (see
`backupd.volume_access`): no job selects them, and what a dead process left is swept by the next
run. An image that is brought back as it was takes no label; its name says the same. Things that
are to be kept belong to nobody, so that nothing sweeps them.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from backupd.errors import BackupdError, Cancelled, NotFound
from backupd.leftovers import SCRATCH_REPOSITORY
from backupd.site import Site
from backupd.volume_access import LEASE_LABEL, OWNER_LABEL, owner

_KEPT = "kept"

Act = Callable[[], object]


@dataclass
class Scratch:
    """One drill's names, and what it owes to the engine."""

    owner: str
    lease: str
    is_kept: bool
    say: Callable[[str], None]
    made: list[str] = field(default_factory=list)
    """What was made, in words, in its order."""
    _undo: list[Act] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Of the container, and of its network."""
        return f"backupd-drill-{self.lease}"

    def volume(self, number: int) -> str:
        """Name of one of its volumes."""
        return f"{self.name}-{number}"

    def image(self, number: int = 1) -> str:
        """Name of one of its images."""
        return f"{SCRATCH_REPOSITORY}/{self.owner}/{self.lease}:{number}"

    @property
    def labels(self) -> dict[str, str]:
        """What everything that can have labels carries, and no other label."""
        return {OWNER_LABEL: self.owner, LEASE_LABEL: self.lease}

    def owes(self, what: str, undo: Act) -> None:
        """Note what is about to be made, and what removes it again."""
        self.made.append(what)
        self._undo.append(undo)

    def clear(self) -> None:
        """Remove everything, the last first; what the engine refuses is told, and swept later."""
        while not self.is_kept and self._undo:
            try:
                with suppress(NotFound):
                    self._undo.pop()()
            except BackupdError as error:
                self.say(f"warning: {error}; the next run sees to it")


@contextmanager
def scratch(site: Site, say: Callable[[str], None], *, keep: bool) -> Iterator[Scratch]:
    """Names for one drill; what was made under them is gone after the block, unless it is kept.

    Raises UsageError without a usable state directory.
    """
    lease = site.state.lease()
    try:
        whose = _KEPT if keep else owner(site.state)
        # A token of its own: a process of many drills makes each under another name.
        token = secrets.token_hex(6) if keep else lease.token
        things = Scratch(whose, token, keep, say)
        try:
            yield things
        except BaseException as error:
            # Who broke it off never learns the names, so nothing is kept for him.
            things.is_kept &= isinstance(error, BackupdError) and not isinstance(error, Cancelled)
            raise
        finally:
            things.clear()
    finally:
        lease.close()
