"""What holds for any rules and any backups."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from backupd.duration import Duration
from backupd.prune_guard import review
from backupd.retention import ALL, Rules, decide
from tests.unit.retention_cases import (
    Backup,
    groups,
    kept_ids,
    moments,
    more_generous,
    some_rules,
    zones,
)

thoroughly = settings(max_examples=400)
LATER = datetime(2040, 1, 1, tzinfo=UTC)


@thoroughly
@given(groups(), some_rules(), zones)
def test_no_rules_ever_empty_a_source(backups: list[Backup], rules: Rules, zone: ZoneInfo) -> None:
    verdicts = decide(backups, rules, zone)

    assert verdicts[0].keep
    objection = review(verdicts, now=LATER, prune_limit_percent=100)
    assert objection is None


@thoroughly
@given(groups(), some_rules(), zones)
def test_the_newest_good_backups_always_stay(
    backups: list[Backup], rules: Rules, zone: ZoneInfo
) -> None:
    verdicts = decide(backups, rules, zone)

    good = [verdict for verdict in verdicts if verdict.backup.good]
    assert all(verdict.keep for verdict in good[: rules.minimum])


@thoroughly
@given(groups(), some_rules(), zones)
def test_pinned_and_held_backups_always_stay(
    backups: list[Backup], rules: Rules, zone: ZoneInfo
) -> None:
    kept = kept_ids(backups, rules, zone)

    assert {backup.id for backup in backups if backup.pinned or backup.held} <= kept


@thoroughly
@given(groups(), some_rules(), zones, st.data())
def test_more_generous_rules_never_remove_more(
    backups: list[Backup], rules: Rules, zone: ZoneInfo, data: st.DataObject
) -> None:
    wider = data.draw(more_generous(rules))

    assert kept_ids(backups, rules, zone) <= kept_ids(backups, wider, zone)


@thoroughly
@given(groups(), some_rules(), zones)
def test_pruning_twice_is_pruning_once(backups: list[Backup], rules: Rules, zone: ZoneInfo) -> None:
    kept = kept_ids(backups, rules, zone)
    left = [backup for backup in backups if backup.id in kept]

    assert kept == kept_ids(left, rules, zone)


@thoroughly
@given(groups(), some_rules(), zones, st.data())
def test_the_order_of_the_input_does_not_matter(
    backups: list[Backup], rules: Rules, zone: ZoneInfo, data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(backups))

    assert decide(backups, rules, zone) == decide(shuffled, rules, zone)


@thoroughly
@given(groups(), some_rules(), zones)
def test_every_backup_gets_one_verdict_and_every_one_that_stays_a_reason(
    backups: list[Backup], rules: Rules, zone: ZoneInfo
) -> None:
    verdicts = decide(backups, rules, zone)

    assert {backup.id: backup for backup in backups} == {v.backup.id: v.backup for v in verdicts}
    assert len(backups) == len(verdicts)
    assert all(verdict.keep == bool(verdict.reasons) for verdict in verdicts)
    assert all(len(verdict.rules) == len(verdict.reasons) for verdict in verdicts)


@thoroughly
@given(groups(), some_rules(), zones)
def test_a_source_that_is_gone_keeps_no_more_than_one_that_is_there(
    backups: list[Backup], rules: Rules, zone: ZoneInfo
) -> None:
    there = kept_ids(backups, rules, zone)
    gone = decide(
        backups,
        replace(rules, gone_after=Duration(days=1)),
        zone,
        gone_since=LATER - timedelta(days=2),
        now=LATER,
    )

    assert {verdict.backup.id for verdict in gone if verdict.keep} <= there


LABELS = {
    "keep_hourly": "%Y-%m-%d %H",
    "keep_daily": "%Y-%m-%d",
    "keep_weekly": "%G-W%V",
    "keep_monthly": "%Y-%m",
    "keep_yearly": "%Y",
}


@settings(max_examples=200)
@given(
    st.sampled_from(sorted(LABELS)),
    st.integers(1, 4),
    moments(max_size=40),
    zones,
)
def test_the_survivor_of_an_ended_period_stays_until_newer_periods_use_up_the_count(
    rule: str, count: int, taken: list[datetime], zone: ZoneInfo
) -> None:
    rules = Rules(**{rule: count})  # type: ignore[arg-type]  # the names are all counted rules
    left: list[Backup] = []
    newest_of_period: dict[str, Backup] = {}

    for moment in sorted(set(taken)):
        backup = Backup(moment)
        newest_of_period[moment.astimezone(zone).strftime(LABELS[rule])] = backup
        kept = kept_ids([*left, backup], rules, zone)
        left = [candidate for candidate in [*left, backup] if candidate.id in kept]

        promised = list(newest_of_period.values())[-count:]
        assert {backup.id for backup in promised} <= kept


@given(moments(max_size=60), zones)
def test_keeping_all_hours_thins_out_within_hours_only(
    taken: list[datetime], zone: ZoneInfo
) -> None:
    backups = [Backup(moment) for moment in sorted(set(taken))]

    left = decide(backups, Rules(keep_hourly=ALL), zone)

    hours = {f"{moment.astimezone(zone):{LABELS['keep_hourly']}}" for moment in taken}
    kept = [verdict.backup.taken_at for verdict in left if verdict.keep]
    assert hours == {f"{moment.astimezone(zone):{LABELS['keep_hourly']}}" for moment in kept}
    assert len(kept) - len(hours) in (0, 1)  # one more: the oldest
