"""`python -m tests.integration.quick` is `backupd` with short waits; all else is the same."""

from __future__ import annotations

from backupd.cli.main import main
from backupd.stores import s3_client, s3_patience

SILENCE_SECONDS = 2
"""A real server under load may be slower now and then: it is asked again."""

if __name__ == "__main__":
    s3_client.READ_TIMEOUT_SECONDS = SILENCE_SECONDS
    s3_client.CONNECT_TIMEOUT_SECONDS = SILENCE_SECONDS
    s3_patience.FIRST_PAUSE_SECONDS = 0.05
    main()
