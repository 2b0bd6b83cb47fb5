from __future__ import annotations

import errno

import botocore.exceptions
import requests
import urllib3

from backupd.shortage import remedy, shortage


def test_what_is_short_is_found_wherever_a_library_has_put_it() -> None:
    cause = OSError(errno.EMFILE, "Too many open files")
    raised = ValueError("x")
    raised.__cause__ = cause
    aborted = urllib3.exceptions.ProtocolError("Connection aborted.", cause)
    wrapped = (
        raised,
        requests.exceptions.ConnectionError(aborted),
        botocore.exceptions.EndpointConnectionError(endpoint_url="http://x", error=cause),
    )

    assert [cause, cause, cause] == [shortage(error) for error in wrapped]


def test_an_error_that_circles_back_to_itself_comes_to_an_end() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one

    assert shortage(one) is None


def test_each_shortage_has_its_own_next_step_and_other_errors_have_none() -> None:
    numbers = (errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.EROFS)
    steps = {remedy(OSError(number, "…")) for number in numbers}

    assert 5 == len(steps - {None})
    assert remedy(OSError(errno.EACCES, "Permission denied")) is None
