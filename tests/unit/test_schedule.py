"""When jobs are due, on ordinary days and on those when clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backupd.schedule import Schedule


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("expression", "after", "due"),
    [
        ("0 3 * * *", "2026-05-01T03:00:00Z", "2026-05-02T03:00:00Z"),
        ("0 3 * * *", "2026-05-01T02:59:59.5Z", "2026-05-01T03:00:00Z"),
        ("*/5 * * * *", "2026-05-01T03:01:00Z", "2026-05-01T03:05:00Z"),
        ("0 0 * * 0", "2026-05-01T00:00:00Z", "2026-05-03T00:00:00Z"),
        ("0 0 * * 7", "2026-05-01T00:00:00Z", "2026-05-03T00:00:00Z"),
        ("0 0 * * MON", "2026-05-01T00:00:00Z", "2026-05-04T00:00:00Z"),
        ("0 0 * * 1-5", "2026-05-01T00:00:00Z", "2026-05-04T00:00:00Z"),
        ("0 0 * * 5-7", "2026-05-02T00:00:00Z", "2026-05-03T00:00:00Z"),
        ("0 0 * * sun", "2026-05-01T00:00:00Z", "2026-05-03T00:00:00Z"),
        ("0 0 * * Mon,Wed", "2026-05-04T00:00:00Z", "2026-05-06T00:00:00Z"),
        ("0 0 1 jan,JUL *", "2026-05-01T00:00:00Z", "2026-07-01T00:00:00Z"),
        ("0 0 1 6-8 *", "2026-06-01T00:00:00Z", "2026-07-01T00:00:00Z"),
        ("5,50 3 * * *", "2026-05-01T03:05:00Z", "2026-05-01T03:50:00Z"),
        ("10-40/15 3 * * *", "2026-05-01T03:26:00Z", "2026-05-01T03:40:00Z"),
        ("7/20 * * * *", "2026-05-01T03:08:00Z", "2026-05-01T03:27:00Z"),
        ("0 */7 * * *", "2026-05-01T21:00:00Z", "2026-05-02T00:00:00Z"),
        ("0 0 */10 * *", "2026-05-01T00:00:00Z", "2026-05-11T00:00:00Z"),
        ("0 0 */10 * 1", "2026-05-01T00:00:00Z", "2026-05-11T00:00:00Z"),
        ("0 0 31 * *", "2026-05-31T00:00:00Z", "2026-07-31T00:00:00Z"),
        ("0 0 L * *", "2026-02-01T00:00:00Z", "2026-02-28T00:00:00Z"),
        ("0 0 * * 5#2", "2026-05-01T00:00:00Z", "2026-05-08T00:00:00Z"),
        ("0 0 * * 5L", "2026-05-01T00:00:00Z", "2026-05-29T00:00:00Z"),
        ("  0   3  *  *  *  ", "2026-05-01T00:00:00Z", "2026-05-01T03:00:00Z"),
        ("0 0 29 2 *", "2026-05-01T00:00:00Z", "2028-02-29T00:00:00Z"),
        ("@Daily", "2026-05-01T03:01:00Z", "2026-05-02T00:00:00Z"),
        ("@hourly", "2026-05-01T03:01:00Z", "2026-05-01T04:00:00Z"),
        ("@daily", "2026-05-01T03:01:00Z", "2026-05-02T00:00:00Z"),
        ("@midnight", "2026-05-01T03:01:00Z", "2026-05-02T00:00:00Z"),
        ("@weekly", "2026-05-01T03:01:00Z", "2026-05-03T00:00:00Z"),
        ("@monthly", "2026-05-01T03:01:00Z", "2026-06-01T00:00:00Z"),
        ("@yearly", "2026-05-01T03:01:00Z", "2027-01-01T00:00:00Z"),
        ("@annually", "2026-05-01T03:01:00Z", "2027-01-01T00:00:00Z"),
    ],
)
def test_the_next_moment_follows_cron(expression: str, after: str, due: str) -> None:
    found = Schedule.parse(expression, "UTC").next_after(moment(after))

    assert moment(due) == found


def test_either_day_field_suffices_when_both_are_restricted() -> None:
    schedule = Schedule.parse("0 0 13 * 5", "UTC")

    first = schedule.next_after(moment("2026-05-07T12:00:00Z"))
    second = schedule.next_after(first)

    assert [moment("2026-05-08T00:00:00Z"), moment("2026-05-13T00:00:00Z")] == [first, second]


def test_a_time_that_spring_skips_is_due_once_after_the_gap() -> None:
    schedule = Schedule.parse("30 2 * * *", "Europe/Berlin")

    first = schedule.next_after(moment("2026-03-28T12:00:00Z"))
    second = schedule.next_after(first)

    assert [moment("2026-03-29T03:00:00+02:00"), moment("2026-03-30T02:30:00+02:00")] == [
        first,
        second,
    ]


def test_a_time_that_autumn_repeats_is_due_once() -> None:
    schedule = Schedule.parse("30 2 * * *", "Europe/Berlin")

    first = schedule.next_after(moment("2026-10-24T12:00:00Z"))
    second = schedule.next_after(first)

    assert [moment("2026-10-25T02:30:00+02:00"), moment("2026-10-26T02:30:00+01:00")] == [
        first,
        second,
    ]


def test_a_moment_inside_the_repeated_hour_is_not_answered_with_the_past() -> None:
    schedule = Schedule.parse("30 2 * * *", "Europe/Berlin")

    found = schedule.next_after(moment("2026-10-25T02:10:00+01:00"))

    assert moment("2026-10-26T02:30:00+01:00") == found


def test_the_answer_is_in_utc_whatever_zone_the_question_has() -> None:
    asked = datetime(2026, 5, 1, 12, 0, tzinfo=timezone(timedelta(hours=-7)))

    found = Schedule.parse("0 3 * * *", "Europe/Berlin").next_after(asked)

    assert (datetime(2026, 5, 2, 1, 0, tzinfo=UTC), UTC) == (found, found.tzinfo)


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="needs its time zone"):
        Schedule.parse("@daily", "UTC").next_after(datetime(2026, 5, 1))  # noqa: DTZ001  # the point


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("0 0 0 3 * *", "has six fields"),
        ("0 0 31 2 *", "day of the month"),
        ("60 3 * * *", "minute .* 0 to 59"),
        ("0 24 * * *", "hour .* 0 to 23"),
        ("0 3 0 * *", "day of the month"),
        ("0 3 * 13 *", "month .* 1 to 12"),
        ("0 3 * * 8", "day of the week"),
        ("0 3 * *", "has 4 fields"),
        ("0 0 30 2 *", "day of the month"),
        ("0 0 31 4,6,9,11 *", "day of the month"),
        ("0 3 * * mon-sun", "day of the week"),
        ("0 3 * * 1#6", "day of the week"),
        ("5-1 3 * * *", "minute"),
        ("*/0 3 * * *", "minute"),
        ("-1 3 * * *", "minute"),
        ("1,,2 3 * * *", "minute"),
        ("1.5 3 * * *", "minute"),
        ("٣ 3 * * *", "minute"),
        ("0 3 * 0 *", "month"),
        (f"{'0,' * 300}0 3 * * *", "longer than 500"),
        ("", "has 0 fields"),
        ("@reboot", "not run jobs at boot"),
        ("@dayly", "known are @annually, @daily"),
        ("nightly", "write five fields"),
    ],
)
def test_a_schedule_that_never_fires_is_refused_with_what_to_write(
    expression: str, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Schedule.parse(expression, "UTC")


def test_where_the_calendar_ends_there_is_no_next_moment() -> None:
    last = datetime(9999, 12, 31, 23, 59, tzinfo=UTC)

    for expression in ("0 3 * * *", "*/5 * * * *"):
        with pytest.raises(OverflowError):
            Schedule.parse(expression, "UTC").next_after(last)


@pytest.mark.parametrize("zone", ["Europe/Berln", "Europe", "../etc/passwd", "", "\0", "x" * 5000])
def test_an_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises(ValueError, match="is not a time zone"):
        Schedule.parse("@daily", zone)


def test_a_misspelt_zone_gets_the_nearest_one() -> None:
    with pytest.raises(ValueError, match=r"did you mean Europe/Berlin\?"):
        Schedule.parse("@daily", "Europe/Berln")


def test_a_schedule_is_put_in_words() -> None:
    found = Schedule.parse("0 3 * * *", "Europe/Berlin").explain()

    assert found == "at 03:00 every day, Europe/Berlin time"


@given(st.text(alphabet="0123456789*/,-#LW@ MONSUJAd²", max_size=25))
def test_any_text_is_a_schedule_or_a_plain_refusal(text: str) -> None:
    try:
        schedule = Schedule.parse(text, "Europe/Berlin")
    except ValueError:
        return
    now = moment("2026-10-25T00:30:00Z")

    assert schedule.next_after(now) > now
