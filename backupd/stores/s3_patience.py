"""How long a request is tried again: botocore judges what may pass, the pauses are ours.

Where nothing answers, the pauses of botocore 1.44's standard mode come to three seconds over eight
attempts, and its quota, which all requests of a client share, ends them sooner while several parts
are on their way. A server that restarts takes longer than that.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, local
from typing import TYPE_CHECKING, Any

from botocore.retries.standard import RetryEventAdapter, StandardRetryConditions

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 20.0

_SPOILED_ON_THE_WAY = frozenset({"BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody"})
"""What botocore does not try again: the bytes that arrived were not those that were sent."""


class Patience:
    """The pauses between the attempts of one client's requests; safe to use from several threads.

    Each is drawn from between nothing and twice the most of the one before, as in standard mode:
    about half a minute over eight attempts.
    """

    def __init__(self, attempts: int, *, first_attempts: int | None = None) -> None:
        """`first_attempts` are those at reaching a server that has not answered anything yet.

        Such an endpoint is rather mistyped than away for a moment, and a person may be waiting.
        """
        self._attempts = attempts
        self._first_attempts = attempts if first_attempts is None else first_attempts
        self._has_answered = False
        self._conditions = StandardRetryConditions(attempts)
        self._adapter = RetryEventAdapter()
        self._thread = local()

    def guide(self, client: S3Client) -> None:
        """Let the requests of `client` be tried again like this."""
        # First, since the first answer counts: botocore's own handler is asked all the same.
        register: Any = client.meta.events.register_first  # typed as if no answer were wanted
        register("needs-retry.s3", self._pause)

    @contextmanager
    def until(self, given_up: Event) -> Iterator[None]:
        """Inside the block, requests of this thread are not tried again once that is set."""
        self._thread.given_up = given_up
        try:
            yield
        finally:
            del self._thread.given_up

    def _pause(self, **event: Any) -> float | bool | None:
        """Wait, and tell botocore to try again at once, or False; None where that cannot help."""
        context = self._adapter.create_retry_context(**event)
        if self._is_over(context):
            return False  # none at all would leave it to botocore, which knows `attempts` alone
        if not self._may_help(context):
            return None
        most = FIRST_PAUSE_SECONDS * 2 ** (context.attempt_number - 1)
        seconds = random.random() * min(most, LONGEST_PAUSE_SECONDS)  # noqa: S311 (no secret)
        given_up: Event = getattr(self._thread, "given_up", _NEVER)
        # No answer at all would leave it to botocore, which would try again.
        return False if given_up.wait(seconds) else 0.0

    def _is_over(self, context: Any) -> bool:
        self._has_answered = self._has_answered or context.http_response is not None
        attempts = self._attempts if self._has_answered else self._first_attempts
        return bool(context.attempt_number >= attempts)

    def _may_help(self, context: Any) -> bool:
        is_spoiled = context.get_error_code() in _SPOILED_ON_THE_WAY
        return bool(is_spoiled or self._conditions.is_retryable(context))


_NEVER = Event()
