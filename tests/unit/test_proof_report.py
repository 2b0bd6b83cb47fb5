"""How `backupd status` tells of proofs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from backupd.cli.status_proofs import SHOWN, print_fleet_proofs, print_proofs
from backupd.verbs.proofs import SourceProof
from backupd.verbs.status import HostStatus

NOW = datetime(2026, 3, 5, 12, tzinfo=UTC)
NEVER = SourceProof("nightly", "volume", "pgdata")


def proven(days: int, name: str = "web") -> SourceProof:
    at = NOW - timedelta(days=days)
    return SourceProof("nightly", "container", name, at, "drilled", "0123456789ab")


def printed(capsys: pytest.CaptureFixture[str], *proofs: SourceProof) -> list[list[str]]:
    print_proofs(proofs, NOW, ZoneInfo("UTC"))
    return [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]


def test_each_source_is_told_with_the_age_of_its_last_proof(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert [
        ["JOB", "KIND", "NAME", "LAST", "PROOF", "AGE", "HOW"],
        ["nightly", "volume", "pgdata", "never", "-", "-"],
        *[["nightly", "container", "web", "2026-03-02", "12:00:00", "UTC", "3", "d", "0", "h"]],
    ] == [row[:10] for row in printed(capsys, NEVER, proven(3))]


def test_where_nothing_was_proven_one_line_says_how_to(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = printed(capsys, NEVER, NEVER)

    assert "no backup was proven yet" in " ".join(line)


def test_of_many_sources_only_those_that_wait_for_longest_are_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = printed(capsys, *(proven(9, f"web-{number}") for number in range(SHOWN + 2)))

    assert (SHOWN + 2, ["and", "2", "more"]) == (len(rows), rows[-1][:3])


def test_a_host_without_backups_is_told_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert [] == printed(capsys)


def test_of_a_fleet_each_source_is_told_with_its_host(capsys: pytest.CaptureFixture[str]) -> None:
    hosts = [
        HostStatus("ant", NOW, proofs=(proven(9), proven(1, "db"))),
        HostStatus("bee", NOW, proofs=(NEVER, proven(3))),
        HostStatus("cat", None, problem="no daemon has ever told of it"),
    ]
    print_fleet_proofs(hosts, NOW, ZoneInfo("UTC"))
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]

    assert [
        ["HOST", "JOB", "KIND", "NAME"],
        ["bee", "nightly", "volume", "pgdata"],
        ["ant", "nightly", "container", "web"],
        ["bee", "nightly", "container", "web"],
        ["ant", "nightly", "container", "db"],
    ] == [row[:4] for row in rows]


def test_a_fleet_of_which_no_backup_is_known_is_told_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_fleet_proofs([HostStatus("cat", None)], NOW, ZoneInfo("UTC"))

    assert "" == capsys.readouterr().out
