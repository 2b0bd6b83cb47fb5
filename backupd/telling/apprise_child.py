"""Sends one message by apprise, as a program of its own: `python apprise_child.py`.

Apart from the daemon because apprise costs 20 MiB and half a second to import, because a service
that feeds it one byte at a time can only be ended by a kill, and because apprise logs addresses,
which are secrets: here nothing of its logs leaves. Standard input holds one JSON object (urls,
title, body, tone, timeout_seconds), so that no address stands in the list of processes. Standard
output gets a line of JSON for each address once its fate is known: its number, and null or why
not. It imports nothing of backupd.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import sys
import threading
from typing import Any

_CONNECT_SECONDS = 10.0
_GRACE_SECONDS = 30
_ANSWER = re.compile(r"error=([1-5][0-9]{2})\b")
"""How apprise's services log an answer of HTTP that is no success."""


def main() -> None:
    """Send to all addresses at once; leave without waiting for what hangs."""
    # A service manager that stops the daemon tells us too, but a last word shall still go out.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    # Disabling the logs would also hide what `_cause` reads.
    logging.lastResort = None
    order = json.load(sys.stdin)
    # Should the daemon be gone by then, nobody else would end what hangs.
    signal.alarm(int(order["timeout_seconds"]) + _GRACE_SECONDS)
    threads = [
        threading.Thread(target=_tell, args=(number, url, order))
        for number, url in order["urls"].items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.stdout.flush()
    # Apprise's own pools would be waited for.
    os._exit(0)


def _tell(number: str, url: str, order: dict[str, Any]) -> None:
    try:
        cause = _send(url, order)
    except Exception as error:
        # Only the kind: its words may hold the address.
        cause = f"apprise failed ({type(error).__name__})"
    sys.stdout.write(json.dumps([int(number), cause]) + "\n")
    sys.stdout.flush()


def _send(url: str, order: dict[str, Any]) -> str | None:
    """Why the message could not be sent, or None if it was."""
    import apprise

    timeout_seconds = float(order["timeout_seconds"])
    asset = apprise.AppriseAsset(
        app_id="backupd",
        app_desc="backups of Docker images and containers",
        service_timeout=timeout_seconds,
    )
    service = apprise.Apprise.instantiate(url, asset=asset)
    if service is None:
        return "apprise does not take this address; its wiki shows the form"
    # Apprise's own 4 seconds are short for a mail server that checks for spam.
    service.socket_connect_timeout = min(_CONNECT_SECONDS, timeout_seconds)
    service.socket_read_timeout = timeout_seconds
    result = apprise.Apprise(service, asset=asset).notify(
        title=order["title"],
        body=order["body"],
        notify_type=apprise.NotifyType(order["tone"]),
        body_format=apprise.NotifyFormat.TEXT,
    )
    return None if result else _cause(" ".join(entry.message for entry in result.logs()))


def _cause(log: str) -> str:
    """The one harmless fact in what apprise logged, which may hold the address."""
    answer = _ANSWER.search(log)
    if answer is not None:
        return f"the service answered {answer[1]}"
    if "onnection error" in log:
        return "the service cannot be reached, or did not answer in time"
    return "the service did not take it"


if __name__ == "__main__":
    main()
