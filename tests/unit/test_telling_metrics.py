"""The numbers, read back as Prometheus reads them."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from backupd import __version__
from backupd.run_record import PRUNE, Past
from backupd.telling.metrics import Numbers, exposition
from backupd.telling.view import Outlook
from backupd.verbs.proofs import SourceProof
from tests.unit.runs import FAILED, MISSING, SAVED, START, UNCHANGED, run

HAND = {"nightly": Outlook()}
HOUR = timedelta(hours=1)
OVERDUE = Outlook(START, HOUR, is_fresh=False, outstanding_since=START - HOUR)
DOCS = Path(__file__).parents[2] / "docs" / "telling.md"


def text_of(
    numbers: Numbers, outlooks: dict[str, Outlook] | None = None, *proofs: SourceProof
) -> str:
    body, _ = exposition(numbers, lambda: outlooks or HAND, "", lambda: proofs)
    return body.decode()


def scraped(
    numbers: Numbers, outlooks: dict[str, Outlook] | None = None, *proofs: SourceProof
) -> dict[str, float]:
    """`name{label,label}` → value, without the prefix."""
    found = {}
    for family in text_string_to_metric_families(text_of(numbers, outlooks, *proofs)):
        for sample in family.samples:
            name = sample.name.removeprefix("backupd_")
            found[f"{name}{{{','.join(sample.labels.values())}}}"] = sample.value
    return found


@pytest.fixture
def numbers() -> Numbers:
    return Numbers({})


def test_the_build_is_named(numbers: Numbers) -> None:
    assert 1.0 == scraped(numbers)[f"build_info{{{__version__}}}"]


def test_a_job_that_never_ran_has_promises_and_zeros_but_no_times(numbers: Numbers) -> None:
    found = scraped(numbers, {"nightly": OVERDUE})

    del found[f"build_info{{{__version__}}}"]
    assert {
        "job_next_due_timestamp_seconds{nightly}": START.timestamp(),
        "job_expected_interval_seconds{nightly}": 3600.0,
        "job_fresh{nightly}": 0.0,
        "job_outstanding_since_timestamp_seconds{nightly}": (START - HOUR).timestamp(),
        "job_running{nightly}": 0.0,
        "job_failures_total{nightly}": 0.0,
        "job_skipped_total{nightly}": 0.0,
    } == found


def test_a_job_runs_until_it_ended(numbers: Numbers) -> None:
    numbers.started("nightly")
    during = scraped(numbers)["job_running{nightly}"]
    numbers.ended(run("good", SAVED))

    assert (1.0, 0.0) == (during, scraped(numbers)["job_running{nightly}"])


def test_a_skipped_run_is_counted_and_nothing_else(numbers: Numbers) -> None:
    numbers.started("nightly")
    numbers.ended(run("skipped"))

    found = scraped(numbers)
    assert 1.0 == found["job_skipped_total{nightly}"]
    assert 1.0 == found["job_running{nightly}"]
    assert "job_last_run_timestamp_seconds{nightly}" not in found


def test_a_run_that_found_its_sources_busy_runs_no_longer(numbers: Numbers) -> None:
    numbers.started("nightly")
    numbers.ended(run("skipped", FAILED))

    found = scraped(numbers)
    assert (0.0, 1.0) == (found["job_running{nightly}"], found["job_skipped_total{nightly}"])
    assert "job_last_run_timestamp_seconds{nightly}" not in found


def test_a_good_run_gives_times_and_bytes(numbers: Numbers) -> None:
    numbers.ended(run("good", SAVED, UNCHANGED))

    ended = (START + timedelta(seconds=10)).timestamp()
    expected = {
        "job_last_run_timestamp_seconds{nightly}": ended,
        "job_last_run_state{nightly,good}": 1.0,
        "job_last_run_state{nightly,failed}": 0.0,
        "job_last_run_state{nightly,interrupted}": 0.0,
        "job_last_run_duration_seconds{nightly}": 10.0,
        "job_last_success_timestamp_seconds{nightly}": ended,
        "job_failures_total{nightly}": 0.0,
        "source_last_success_timestamp_seconds{nightly,image}": ended,
        "source_last_duration_seconds{nightly,image}": 2.5,
        "source_last_size_bytes{nightly,image}": 3500.0,
        "source_last_stored_bytes{nightly,image}": 1200.0,
        "source_read_bytes_total{nightly,image}": 3000.0,
        "source_stored_bytes_total{nightly,image}": 1000.0,
        "source_failures_total{nightly,image}": 0.0,
    }
    found = scraped(numbers)
    assert expected == {name: found[name] for name in expected}


def test_a_failure_of_one_kind_leaves_the_others_success(numbers: Numbers) -> None:
    numbers.ended(run("failed", SAVED, FAILED, MISSING))

    found = scraped(numbers)
    assert "job_last_success_timestamp_seconds{nightly}" not in found
    assert "source_last_success_timestamp_seconds{nightly,container}" not in found
    assert "source_last_success_timestamp_seconds{nightly,image}" in found
    assert (1.0, 2.0) == (
        found["job_failures_total{nightly}"],
        found["source_failures_total{nightly,container}"],
    )


def test_a_later_failure_keeps_the_time_of_the_last_success(numbers: Numbers) -> None:
    numbers.ended(run("good", SAVED))
    numbers.ended(run("failed", FAILED, minutes=60))

    found = scraped(numbers)
    assert 3600.0 == (
        found["job_last_run_timestamp_seconds{nightly}"]
        - found["job_last_success_timestamp_seconds{nightly}"]
    )


def test_a_run_that_selected_nothing_is_no_success(numbers: Numbers) -> None:
    numbers.ended(run("good"))

    found = scraped(numbers)
    assert "job_last_success_timestamp_seconds{nightly}" not in found
    assert (0.0, 1.0, 1.0) == (
        found["job_last_run_state{nightly,good}"],
        found["job_last_run_state{nightly,failed}"],
        found["job_failures_total{nightly}"],
    )


def test_a_job_that_keeps_its_promise_is_fresh(numbers: Numbers) -> None:
    found = scraped(numbers, {"nightly": Outlook(START, HOUR, is_fresh=True)})

    assert 1.0 == found["job_fresh{nightly}"]
    assert "job_outstanding_since_timestamp_seconds{nightly}" not in found


def test_the_documented_alerts_see_a_job_that_never_succeeded(numbers: Numbers) -> None:
    alerts = re.findall(r"^ +expr: .*", DOCS.read_text(), re.MULTILINE)
    asked = set(re.findall(r"\bbackupd_(\w+)", "".join(alerts)))

    seen = {name.partition("{")[0] for name in scraped(numbers, {"nightly": OVERDUE}, proven(1))}

    assert {"job_fresh", "job_outstanding_since_timestamp_seconds", "build_info"} <= asked <= seen


def proven(days_ago: int | None, kind: str = "image", job: str = "nightly") -> SourceProof:
    at = None if days_ago is None else START - days_ago * 24 * HOUR
    return SourceProof(job, kind, f"one of {days_ago} days", at)


def test_the_oldest_proof_of_each_kind_is_shown_and_how_many_have_none(numbers: Numbers) -> None:
    proofs = (proven(3), proven(9), proven(None), proven(None, "volume"), proven(1, job="gone"))
    found = scraped(numbers, None, *proofs)

    shown = {name: value for name, value in found.items() if "proven" in name}
    assert {
        "source_last_proven_timestamp_seconds{nightly,image}": (START - 9 * 24 * HOUR).timestamp(),
        "source_unproven{nightly,image}": 1.0,
        "source_unproven{nightly,volume}": 1.0,
    } == shown


def test_the_history_gives_the_times_of_earlier_lives_but_no_counts() -> None:
    good, bad = run("good", SAVED), run("failed", FAILED, minutes=60)

    found = scraped(Numbers({"nightly": Past(last=bad, last_good=good)}))

    assert good.ended_at is not None
    assert good.ended_at.timestamp() == found["job_last_success_timestamp_seconds{nightly}"]
    assert 1.0 == found["job_last_run_state{nightly,failed}"]
    assert 0.0 == found["job_failures_total{nightly}"]
    assert 0.0 == found["source_read_bytes_total{nightly,image}"]


def test_a_job_that_left_the_policy_leaves_the_metrics(numbers: Numbers) -> None:
    numbers.ended(run("good", SAVED, job="old"))

    assert "old" not in text_of(numbers)


def test_the_prune_by_schedule_is_shown_as_a_job(numbers: Numbers) -> None:
    numbers.ended(run("good", job=PRUNE))

    assert f"job_last_success_timestamp_seconds{{{PRUNE}}}" in scraped(numbers)


def test_names_of_jobs_are_escaped(numbers: Numbers) -> None:
    found = scraped(numbers, {'a"b\\c': Outlook()})

    assert 0.0 == found['job_running{a"b\\c}']


def test_the_format_follows_what_the_client_accepts(numbers: Numbers) -> None:
    accept = "application/openmetrics-text; version=1.0.0"

    body, content_type = exposition(numbers, lambda: HAND, accept)

    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_every_metric_is_documented_and_nothing_else(numbers: Numbers) -> None:
    numbers.ended(run("failed", SAVED, FAILED))
    numbers.ended(run("good", SAVED))
    text = text_of(numbers, {"nightly": OVERDUE}, proven(1))
    kinds = dict(re.findall(r"# TYPE (\S+) (\S+)", text))
    labels = {
        sample.name: ", ".join(f"`{label}`" for label in sample.labels)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }

    rows = re.findall(r"^\| `(backupd_\w+)` \| (\w+) \| (.*?) \|", DOCS.read_text(), re.MULTILINE)

    assert sorted((name, kinds[name], labels[name]) for name in labels) == sorted(rows)
